"""``directions gan sample``: sheets of images, and components swept."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from closed import ClosedFormGenerator
from PIL import Image

from directions.evaluation.metrics import METRICS, Measuring
from directions.rendering import render as module
from directions.rendering.frames import to_uint8


def pixels(path):
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB"))


def places(page, image):
    """Where an image stands in a page: rows and columns."""
    windows = np.lib.stride_tricks.sliding_window_view(page, image.shape)[:, :, 0]
    return np.argwhere((windows == image).all(axis=(2, 3, 4)))


def test_sample_writes_a_sheet_of_images(command):
    """Classes in turn; the images are the generator's, row by row."""
    result = command("gan", "sample", "builtin", "--samples", "5", "--seed", "3", "--separate", "-q")
    assert result.code == 0, result.err
    written = [Path(line) for line in result.out.splitlines()]
    assert [path.name for path in written] == ["samples.png", *(f"sample-0000{i}.png" for i in range(5))]
    assert written[0].parent == Path("outputs/samples/builtin")
    generator = ClosedFormGenerator(4, 8)
    images = to_uint8(generator(generator.sample_z(5, seed=3), torch.tensor([0, 1, 2, 0, 1])))
    for path, image in zip(written[1:], images, strict=True):
        np.testing.assert_array_equal(pixels(path), image)
    assert pixels(written[0]).shape == (2 * 10 + 2, 3 * 10 + 2, 3)
    np.testing.assert_array_equal(pixels(written[0])[12:20, 12:20], images[4])


def test_sample_sweeps_a_component(command):
    """A strip with a row a sample, and a GIF, each in one file; the component is set, not added to."""
    options = "--sweep z2 --samples 2 --steps 3 --scale 1 --out x --json"
    assert command("gan", "sample", "builtin", *options.split()).json == ["x/002-z2.png", "x/002-z2.gif"]
    generator = ClosedFormGenerator(4, 8)
    z = generator.sample_z(2, seed=0)
    z[:, 2] = -2.0
    first = to_uint8(generator(z, torch.tensor([0, 1])))
    strip = pixels("x/002-z2.png")
    assert all(len(places(strip, image)) for image in first), "the left end of the strip is at −2"
    with Image.open("x/002-z2.gif") as gif:
        assert gif.n_frames == 60


def test_sample_twice_is_the_plane_of_two_components(command):
    """One PNG: the first across, the second upwards."""
    options = "--sweep 3 --sweep 0 --steps 3 --scale 1 --extent 1.5 --out x --json"
    assert command("gan", "sample", "builtin", *options.split()).json == ["x/plane-3-0.png"]
    generator = ClosedFormGenerator(4, 8)
    z = generator.sample_z(1, seed=0)
    z[:, 3], z[:, 0] = -1.5, 1.5
    plane = pixels("x/plane-3-0.png")
    ((row, _),) = places(plane, to_uint8(generator(z, 0))[0])
    assert row < plane.shape[0] / 2, "the second component is largest at the top"


def test_sample_all_goes_through_the_components_most_active_first(command, monkeypatch):
    """A strip and a GIF for each, an overview; the order is measured once, for the same classes and truncation."""
    measured, asked = [], []
    settings = METRICS["activeness"].settings | {"samples": 1}
    monkeypatch.setitem(METRICS, "activeness", dataclasses.replace(METRICS["activeness"], settings=settings))
    measure, render = Measuring.measure, module.render

    def rendered(*positional, indices, **named):
        asked.append(indices)
        return render(*positional, indices=indices, **named) if len(asked) <= 2 else []

    note = lambda self, metric: measured.append(self.classes) or measure(self, metric)  # noqa: E731
    monkeypatch.setattr(Measuring, "measure", note)
    monkeypatch.setattr(module, "render", rendered)
    Path("run").mkdir()
    assert command("gan", "evaluate", "run", "-m", "activeness", "--no-plots", "-q").code == 0
    order = json.loads(Path("run/metrics.jsonl").read_text())["results"]["order"]
    arguments = ["gan", "sample", "run", "--sweep", "all", "--samples", "1", "--scale", "1", "--steps", "2", "-q"]
    assert command(*arguments, "--out", "x").code == 0
    assert (measured, asked) == ([(0, 1, 2)], [order] * 2)
    names = {path.name for path in Path("x").iterdir()}
    assert names >= {f"00{i}-z{i}.{end}" for i in range(4) for end in ("png", "gif")} | {"overview.gif"}
    assert command(*arguments, "-y", "1").code == 0
    assert command(*arguments, "--truncation", "0.5").code == 0
    assert measured[1:] == [(1,), (0, 1, 2)]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--sweep 4", "--sweep must be a component of z, from 0 to 3, or all; got '4'"),
        ("--sweep 1 --sweep 1", "must be two different directions"),
        ("--sweep 0 --sweep 1 --sweep 2", "--sweep must be given once, or twice"),
        ("--sweep all --sweep 1", "--sweep must be all, or one or two components"),
        ("--extent 0", "--extent must be a finite number above 0"),
        ("--separate --sweep 1", "--separate is for images without a sweep"),
        ("--steps 5", "--steps has no meaning without --sweep"),
    ],
)
def test_sample_refuses_and_leaves_nothing(command, arguments, message):
    """Exit status 2, one sentence, no folder."""
    assert command("gan", "sample", "builtin", *arguments.split(), "--out", "x").refuses(message)
    assert not Path("x").exists()
