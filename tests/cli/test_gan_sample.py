"""``directions gan sample``: sheets of images, and components swept."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from closed import ClosedFormGenerator, DoubleGenerator
from PIL import Image

from directions.cli.gan.sample import component_directions
from directions.evaluation.metrics import METRICS
from directions.rendering.frames import to_uint8


def pixels(path):
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB"))


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
    result = command("gan", "sample", "builtin", "--sweep", "z2", "--samples", "2", "--steps", "3", "--scale", "1",
                     "--out", "x", "--json")  # fmt: skip
    assert result.json == ["x/002-z2.png", "x/002-z2.gif"]
    generator = ClosedFormGenerator(4, 8)
    z = generator.sample_z(2, seed=0)
    z[:, 2] = -2.0
    first = to_uint8(generator(z, torch.tensor([0, 1])))
    strip = pixels("x/002-z2.png")
    for image in first:
        found = [
            (i, j)
            for i in range(strip.shape[0] - 7)
            for j in range(strip.shape[1] - 7)
            if (strip[i : i + 8, j : j + 8] == image).all()
        ]
        assert found, "the left end of the strip is at −2"
    with Image.open("x/002-z2.gif") as gif:
        assert gif.n_frames == 60


def test_sample_twice_is_the_plane_of_two_components(command):
    """One PNG: the first across, the second upwards."""
    result = command("gan", "sample", "builtin", "--sweep", "3", "--sweep", "0", "--steps", "3", "--scale", "1",
                     "--extent", "1.5", "--out", "x", "--json")  # fmt: skip
    assert result.json == ["x/plane-3-0.png"]
    generator = ClosedFormGenerator(4, 8)
    z = generator.sample_z(1, seed=0)
    z[:, 3], z[:, 0] = -1.5, 1.5
    corner = to_uint8(generator(z, 0))[0]
    plane = pixels("x/plane-3-0.png")
    places = [
        (i, j)
        for i in range(plane.shape[0] - 7)
        for j in range(plane.shape[1] - 7)
        if (plane[i : i + 8, j : j + 8] == corner).all()
    ]
    assert len(places) == 1
    assert places[0][0] < plane.shape[0] / 2, "the second component is largest at the top"


def test_sample_all_goes_through_the_components_most_active_first(command, monkeypatch):
    """A strip and a GIF for each, an overview in that order."""
    order = {"order": [1, 3, 2, 0]}
    monkeypatch.setattr("directions.evaluation.activeness.component_activeness", lambda *_, **settings: order)
    asked = []
    from directions.rendering import render as module

    real = module.render
    monkeypatch.setattr(
        module, "render", lambda *a, **settings: asked.append(settings["indices"]) or real(*a, **settings)
    )
    result = command("gan", "sample", "builtin", "--sweep", "all", "--samples", "1", "--scale", "1", "--out", "x")
    assert result.code == 0, result.err
    assert asked == [[1, 3, 2, 0]] * 2
    names = {path.name for path in Path("x").iterdir()}
    assert names == {f"00{i}-z{i}.{end}" for i in range(4) for end in ("png", "gif")} | {
        "overview.gif", "contact_sheet.png"
    }  # fmt: skip


def test_sample_all_takes_the_order_that_was_measured(command, monkeypatch, tmp_path):
    """From the run folder's metrics.jsonl, for the same generator and classes only."""
    measured = []

    def measure(*_, **settings):
        measured.append(settings["classes"])
        return {"order": [0, 1, 2, 3]}

    (tmp_path / "run").mkdir()
    monkeypatch.setitem(METRICS, "activeness", dataclasses.replace(METRICS["activeness"], settings={"samples": 1}))
    assert command("gan", "evaluate", "run", "-m", "activeness", "--no-plots", "-q").code == 0
    monkeypatch.setattr("directions.evaluation.activeness.component_activeness", measure)
    arguments = ["gan", "sample", "run", "--sweep", "all", "--samples", "1", "--scale", "1", "--steps", "2", "-q"]
    monkeypatch.setattr("directions.rendering.render.render", lambda *_, indices, **settings: indices)
    order = json.loads(Path("run/metrics.jsonl").read_text())["results"]["order"]
    assert sorted(order) == [0, 1, 2, 3]
    assert command(*arguments).code == 0
    assert measured == []
    assert command(*arguments, "-y", "1").code == 0
    assert command(*arguments, "--truncation", "0.5").code == 0
    assert measured == [(1,), (0, 1, 2)]


def test_component_directions_are_the_axes():
    """They move one component and belong to the generator."""
    generator = DoubleGenerator()
    axes = component_directions(generator, 2.0)
    axes.require_fits(generator)
    np.testing.assert_array_equal(axes.matrix, np.eye(4))
    assert list(axes.names) == ["z0", "z1", "z2", "z3"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--sweep", "4"], "--sweep must be a component of z, from 0 to 3, or all; got '4'"),
        (["--sweep", "hue"], "--sweep must be a component of z"),
        (["--sweep", "1", "--sweep", "1"], "must be two different directions"),
        (["--sweep", "0", "--sweep", "1", "--sweep", "2"], "--sweep must be given once, or twice"),
        (["--sweep", "all", "--sweep", "1"], "--sweep must be all, or one or two components"),
        (["--samples", "3000000000"], "--samples must be a whole number, between 1 and 10000, got 3000000000"),
        (["--seed", "9" * 23], "--seed must be a whole number, between 0 and 9223372036854775807, got 99"),
        (["--samples", "0"], "--samples must be a whole number, between 1 and 10000, got 0"),
        (["--extent", "0"], "--extent must be a finite number above 0"),
        (["--separate", "--sweep", "1"], "--separate is for images without a sweep"),
        (["--steps", "5"], "--steps has no meaning without --sweep"),
        (["--sweep", "1", "--steps", "1"], "between 2 and 512"),
        (["-y", "9"], "--classes must be classes of 'closed-form'"),
        (["--truncation", "2"], "--truncation must be"),
    ],
    ids=" ".join,
)
def test_sample_refuses_and_leaves_nothing(command, arguments, message):
    """Exit status 2, one sentence, no folder."""
    result = command("gan", "sample", "builtin", *arguments, "--out", "x")
    assert result.code == 2
    assert message in result.err
    assert not Path("x").exists()


@pytest.mark.parametrize("blocked", ["x", "x/samples.png"])
def test_sample_checks_its_files_before_the_generator_works(command, monkeypatch, blocked):
    """A file stands where the folder should be, or a folder where the picture should be."""
    if blocked == "x":
        Path("x").touch()
    else:
        Path(blocked).mkdir(parents=True)
    monkeypatch.setattr(ClosedFormGenerator, "forward", lambda *_, **__: pytest.fail("made images"))
    result = command("gan", "sample", "builtin", "--samples", "2", "--out", "x", "-q")
    assert result.code == 2
    assert f"{blocked}: " in result.err
