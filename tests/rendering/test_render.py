"""The whole of rendering on a small generator: the right files, the right pictures, and nothing by halves."""

from __future__ import annotations

import numpy as np
import pytest
from fakes import BlobGenerator, blob_directions
from pictures import shown

from directions.rendering import render as module
from directions.rendering import stills
from directions.rendering.frames import to_uint8
from directions.rendering.render import render
from directions.settings.render import RenderSettings

NAMES = ["000-left-right.gif", "003-hue.gif", "overview.gif", "contact_sheet.png"]


@pytest.fixture
def generator():
    return BlobGenerator(resolution=16)


def draw(generator, out, *, indices=(0, "hue"), y=0, progress=False, **settings):
    settings = RenderSettings(**({"samples": 2, "frames": 9, "scale": 1} | settings))
    return render(blob_directions(generator), generator, settings, out=out, indices=indices, y=y, progress=progress)


def still(path):
    return shown(path)[0][0]


def files(folder):
    return sorted(path.name for path in folder.iterdir())


def test_render_is_reproducible(generator, tmp_path):
    """A GIF for each direction, an overview of their pixels and a sheet; the same settings give the same bytes."""
    for folder, seed in (("new/a", 0), ("new/b", 0), ("new/c", 1)):
        written = draw(generator, tmp_path / folder, seed=seed, fps=30)
        assert [path.name for path in written] == NAMES
        assert files(tmp_path / folder) == sorted(NAMES)
    contents = [[(tmp_path / "new" / name / file).read_bytes() for file in NAMES] for name in "abc"]
    assert contents[0] == contents[1]
    assert not set(contents[0]) & set(contents[2])
    (first, times), (hue, _), (overview, _) = (shown(path) for path in written[:3])
    assert (len(overview), times) == (9, [30] * 9)
    rows = [gif[:, 8:24, -42:-8] for gif in (first, hue)]  # two images of 16 pixels, a gap of 2, margins of 8
    area = overview[:, :, -42:-8]
    tops = [[top for top in range(area.shape[1] - 15) if (area[:, top : top + 16] == row).all()] for row in rows]
    assert tops[0] < tops[1]


def test_render_file_names_are_safe(generator, tmp_path, monkeypatch):
    """A name may hold what a file name may not; more directions than a page holds: several overviews and stills."""
    monkeypatch.setattr(module, "ROWS_PER_PAGE", 2)
    directions = blob_directions(generator, names=["a/b: c?", "é ü", "../up", "…", "x", "y"])
    settings = RenderSettings(samples=1, frames=4, scale=1)
    written = render(directions, generator, settings, out=tmp_path, indices=range(4))
    names = ["000-a-b-c.gif", "001-é-ü.gif", "002-up.gif", "003-direction.gif"]
    pages = [["overview-1.gif", "contact_sheet-1.png"], ["overview-2.gif", "contact_sheet-2.png"]]
    assert [path.name for path in written] == [*names[:2], *pages[0], *names[2:], *pages[1]]
    assert files(tmp_path) == sorted(path.name for path in written)


def moved(generator, keys, amounts, sample, seed=0, y=0):
    """An image from the definition, as bytes."""
    z = generator.sample_z(2, seed=seed)[sample : sample + 1]
    return to_uint8(generator(blob_directions(generator).move(z, keys, amounts), y))[0]


def test_render_strip_has_a_row_a_sample_and_a_column_a_step(generator, tmp_path):
    """Without captions it is the images and nothing else; two directions are below one another in one file."""
    settings = {"format": "strip", "frames": 5, "captions": "none"}
    (path,) = draw(generator, tmp_path / "a.png", **settings)
    page = still(path).reshape(4, 16, 5, 16, 3).swapaxes(1, 2)
    for row, (key, size) in enumerate([(0, 3.0), (0, 3.0), (3, 5.0), (3, 5.0)]):
        for column, share in enumerate([-1, -0.5, 0, 0.5, 1]):
            image = moved(generator, [key], [share * size], row % 2)
            np.testing.assert_allclose(page[row, column], image, atol=1)
    separate = draw(generator, tmp_path / "folder", **settings)
    assert [path.name for path in separate] == ["000-left-right.png", "003-hue.png"]
    np.testing.assert_array_equal(np.concatenate([still(path) for path in separate]), still(path))


@pytest.mark.parametrize("remove_projection", [False, True])
def test_render_plane_grows_to_the_right_and_upwards(generator, tmp_path, remove_projection):
    """Each image is z moved along both."""
    settings = {"format": "plane", "plane": (3, 1), "samples": 2, "frames": 3, "captions": "none"}
    written = draw(generator, tmp_path, indices=None, remove_projection=remove_projection, **settings)
    assert [path.name for path in written] == ["plane-3-1-sample0.png", "plane-3-1-sample1.png"]
    for sample, path in enumerate(written):
        page = still(path).reshape(3, 16, 3, 16, 3).swapaxes(1, 2)
        for row, up in enumerate([2.5, 0.0, -2.5]):
            for column, across in enumerate([-5.0, 0.0, 5.0]):
                start = generator.sample_z(2, seed=0)[sample, [3, 1]].numpy() if remove_projection else np.zeros(2)
                image = moved(generator, [3, 1], [across - start[0], up - start[1]], sample)
                np.testing.assert_allclose(page[row, column], image, atol=1)


@pytest.mark.parametrize("kind", ["strip", "gif"])
def test_render_against_random_shows_both(generator, tmp_path, kind):
    """Found on the left, as without; on the right as much of orthonormal directions that the seed decides."""
    ending = "png" if kind == "strip" else "gif"
    settings = {"format": kind, "frames": 5, "captions": "none", "indices": [1, "hue"]}
    made = {}
    for name, more in (("alone", {}), ("both", {"against": "random"}), ("again", {"against": "random"})):
        made[name] = shown(draw(generator, tmp_path / f"{name}.{ending}", **settings, **more)[0])[0]
    width = made["alone"].shape[2]
    assert made["both"].shape[2] == 2 * width
    np.testing.assert_array_equal(made["both"], made["again"])
    found, random = np.split(made["both"], 2, axis=2)
    assert np.abs(found - made["alone"]).mean() <= (0 if kind == "strip" else 6)  # a GIF has another palette
    assert np.abs(found - random).mean() > 1


@pytest.mark.parametrize(("seconds", "rows"), [(1e9, 6), (-1, 1)])
def test_overview_shows_found_beside_random(generator, tmp_path, monkeypatch, seconds, rows):
    """Two classes of each direction, five steps, found and random; fewer directions where the generator is slow."""
    monkeypatch.setattr(stills, "_OVERVIEW_SECONDS", seconds)
    captions, page = [], stills.Page
    monkeypatch.setattr(stills, "Page", lambda rows, *more, **to: captions.append(rows) or page(rows, *more, **to))
    stills.write_overview(tmp_path / "overview.png", blob_directions(generator), generator)
    assert sum(generator.batch_sizes) == rows * 2 * 5 * 2
    assert [row.name for row in captions[0]][::2] == list(blob_directions(generator).names[:rows])
    assert "·" in captions[0][0].detail
    assert still(tmp_path / "overview.png").shape[1] > 10 * 128
