"""The gallery's folder: what is in it, that it is whole or not there, that no text of a file gets out of hand."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
from fakes import BlobGenerator, blob_directions
from markupsafe import escape
from pictures import shown
from PIL import Image

from directions.direction_file import Directions
from directions.errors import UserError
from directions.rendering.gallery import make_curve
from directions.rendering.render import render
from directions.settings.render import RenderSettings

HOSTILE = "<script>alert(1)</script>\"'&{{7*7}}</title>"


@pytest.fixture
def generator():
    return BlobGenerator(resolution=16)


def make(generator, out, *, indices=None, **settings):
    header = blob_directions(generator, names=[HOSTILE, "up-down", "size", "hue", "light", "d5"]).header
    header["directions"][0] |= {"note": HOSTILE, "starred": True}
    directions = Directions(blob_directions(generator).matrix, header)
    settings = RenderSettings(format="gallery", **({"frames": 5, "samples": 4, "scale": 1} | settings))
    return render(directions, generator, settings, out=out, indices=indices)


def data_of(page):
    """What the page's script is given."""
    return json.loads(re.search(r'<script id="data"[^>]*>(.*?)</script>', page, re.DOTALL)[1])


def test_gallery_holds_what_is_listed(generator, tmp_path):
    """A page, and for each direction a thumbnail, a still and a frame for each place; names and notes stay text."""
    written = make(generator, tmp_path / "g", indices=[0, "hue"])
    assert written[0] == tmp_path / "g" / "index.html"
    assert sorted(written) == sorted(path for path in (tmp_path / "g").rglob("*") if path.is_file())
    assert len(written) == 1 + 2 * (1 + 1 + 5)
    assert "http" not in written[0].read_text(encoding="utf-8").replace("http-equiv", "")
    page = written[0].read_text(encoding="utf-8")
    assert HOSTILE not in page
    assert page.count(f"<bdi>{escape(HOSTILE)}</bdi>") == 2
    assert page.count("</script>") == 2
    assert all((tmp_path / "g" / path).is_file() for path in re.findall(r' src(?:set)?="([^"]*)"', page))
    (policy,) = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]*)"', page)
    assert policy.startswith("default-src 'none'; img-src 'self' file: data:; style-src 'sha256-")
    assert "unsafe" not in policy
    assert not re.search(r"<[^>]*\s(style|on[a-z]+)=", page)
    z = generator.sample_z(4, seed=0)
    for place, amount in enumerate([-5.0, -2.5, 0.0, 2.5, 5.0]):
        images = generator(blob_directions(generator).move(z, "hue", amount), 0)
        expected = ((images + 1) * 127.5).numpy().transpose(0, 2, 3, 1)
        ((frame,), _) = shown(tmp_path / "g" / "frames" / "003" / f"{place:03d}.webp")
        assert np.abs(frame - np.concatenate(expected, axis=1)).mean() < 8


@pytest.mark.parametrize(("motion", "even"), [("linear", True), ("smooth", False)])
def test_gallery_thumbnails_go_there_and_back(generator, tmp_path, motion, even):
    """Each place twice but the ends, which they rest at; in the time that the frames take at the rate."""
    make(generator, tmp_path / "g", indices=["hue"], motion=motion, fps=10)
    with Image.open(tmp_path / "g" / "thumbs" / "003.webp") as thumb:
        assert thumb.info["loop"] == 0
    frames, times = shown(tmp_path / "g" / "thumbs" / "003.webp")
    assert frames.shape == (8, 32, 32, 3)
    for there, back in ((1, 7), (2, 6), (3, 5)):
        assert np.abs(frames[there] - frames[back]).mean() < 6
    assert sum(times) == pytest.approx(800, abs=8)
    assert (max(times) - min(times) <= 1) == even


def test_gallery_orders_by_activeness_and_shows_the_numbers(generator, tmp_path):
    """The most active first, whatever the file's order; a bar as a share of the largest."""
    directions = blob_directions(generator, activeness=[0.1, 0.5, None, 0.25, 0.0, 0.3], penalty_shares=[0.125] * 6)
    written = render(
        directions, generator, RenderSettings(format="gallery", frames=2, samples=1, scale=1), out=tmp_path / "g"
    )
    page = written[0].read_text(encoding="utf-8")
    assert re.findall(r' data-index="(\d+)"', page) == ["1", "5", "3", "0", "2", "4"]
    assert re.findall(r'class="fill" width="([^"]+)"', page) == ["100.0", "60.0", "50.0", "20.0", "0.0"]
    for number in (">0.25<", ">±2.5<", ">12%<", "adam", "num_probes", "b10bb10b"):
        assert number in page


def test_curve_is_drawn_to_scale():
    """Dots are where axes say, the last of several at one step; a level that others reach has its own line."""
    scores, noise = {0: 12.0, 100: 9.0}, {step: 14.0 + step % 3 for step in range(1, 100)}
    stats = [{"step": 0, "held_out": 15.0}, *({"step": step, "held_out": score} for step, score in scores.items())]
    curve = make_curve([*stats, *({"step": step, "penalty": value} for step, value in noise.items())], {"random": 14.0})
    (x0, y0), (x1, y1) = curve["held_out"]
    columns, rows = ({text: at for at, text in curve[axis]} for axis in ("columns", "rows"))
    assert (x0, x1) == (columns["0"], columns["100"])
    per_unit = (rows["10"] - rows["14"]) / 4
    assert y0 == pytest.approx(rows["10"] - 2 * per_unit, abs=0.2)
    assert y1 == pytest.approx(rows["10"] + per_unit, abs=0.2)
    assert curve["levels"][0][0] == pytest.approx(rows["14"], abs=0.2)
    assert len(curve["noisy"]) <= 50
    assert make_curve(stats[:2], {}) is None


def test_gallery_replaces_a_gallery_and_nothing_else(generator, tmp_path):
    """An older gallery goes wholly; a folder with other files, or a file, is refused before anything is made."""
    out = tmp_path / "g"
    make(generator, out, indices=[0, 1], frames=2)
    make(generator, out, indices=[2], frames=2)
    assert sorted(path.name for path in (out / "thumbs").iterdir()) == ["002.webp"]
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "index.html").write_text("my page")
    (tmp_path / "file").touch()
    generator.batch_sizes.clear()
    for name, message in (("mine", "it holds other files"), ("file", "there is a file of this name")):
        with pytest.raises(UserError, match=message):
            make(generator, tmp_path / name, frames=2)
    assert generator.batch_sizes == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "g", "mine"]


def test_gallery_against_random_shows_both(generator, tmp_path):
    """Each thumbnail and frame has the found samples, then the random ones; the slider's captions tell which."""
    page = make(generator, tmp_path / "g", indices=["hue"], against="random")[0].read_text(encoding="utf-8")
    assert data_of(page)["samples"] == [f"{group} ball" for group in ("found", "random") for _ in range(4)]
    for name, size in (("thumbs/003", (64, 32)), ("stills/003", (64, 32)), ("frames/003/004", (8 * 16, 16))):
        with Image.open(tmp_path / "g" / f"{name}.webp") as image:
            assert image.size == size
