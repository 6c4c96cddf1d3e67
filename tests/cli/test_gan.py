"""``directions gan``: trainings, sheets of images and swept components, numbers in a file and on stdout."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from closed import ClosedFormGenerator
from fakes import Pixels
from pictures import shown, write_noise
from PIL import Image

from directions.evaluation import image_metrics
from directions.evaluation.metrics import METRICS, Measuring
from directions.generators.registry import load_generator as real_load_generator
from directions.rendering import render as module
from directions.rendering.frames import to_uint8


@pytest.fixture
def measured(monkeypatch):
    """The metric and the classes of each measurement that is made."""
    made, measure = [], Measuring.measure
    note = lambda self, metric: made.append((metric.name, self.classes)) or measure(self, metric)  # noqa: E731
    monkeypatch.setattr(Measuring, "measure", note)
    return made


def lines(path):
    return [json.loads(line) for line in Path(path).read_text().splitlines()]


def test_train_makes_a_generator(train, tmp_path):
    """A run folder that loads by its path; the result on stdout, progress on stderr."""
    result = train("--penalty", "hessian")
    assert result.code == 0, result.err
    assert "Trained for 0.02 kimg: outputs/00000-pictures/weights.safetensors" in result.out
    assert "directions discover --generator outputs/00000-pictures" in result.out
    assert "Run folder: outputs/00000-pictures" in result.err
    assert float(torch.tensor([1e-310], dtype=torch.float64) * 1) > 0  # denormals are flushed while it trains only
    generator = real_load_generator(str(tmp_path / "outputs/00000-pictures"))
    assert generator(generator.sample_z(2, seed=0)).shape == (2, 3, 8, 8)
    config = json.loads((tmp_path / "outputs/00000-pictures/config.json").read_text())
    assert config["arch"] == "progan"
    assert config["training"]["penalty"] == "hessian"


def test_resume_goes_on_and_may_add_kimg(train, command):
    """Other settings must be what they were."""
    resume = ("gan", "train", "--resume", "outputs/00000-pictures")
    dry = train("--dry-run", "--learning-rate", "0.003").json
    assert dry["config"]["discriminator_rate"] == 0.003
    assert (dry["resolved"]["images"], dry["resolved"]["growth_kimg"]) == (6, 0.008)
    assert not Path("outputs").exists()
    train()
    assert command(*resume, "--kimg", "0.03", "--json").json["last"]["kimg"] == 0.032
    assert [line["step"] for line in lines("outputs/00000-pictures/stats.jsonl")] == list(range(1, 9))
    assert command(*resume, "--dim-z", "4").refuses("--dim-z is 3, got 4")
    assert command(*resume, "--name", "x").refuses("--name cannot be given with --resume")
    assert command(*resume, "--kimg", "0.04", "--dry-run").json["resolved"]["first_kimg"] == 0.032
    assert train("--decay-from", "0.5", "--name", "decaying").code == 0
    refused = command("gan", "train", "--resume", "outputs/00001-decaying", "--kimg", "0.04")
    assert refused.refuses("--kimg cannot change when rates decay")


def test_run_and_images_can_be_moved(train, command, tmp_path, monkeypatch):
    """From any folder; --data says where the same images are now, and others are refused."""
    assert "Images: 6 of" in train().err
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    resume = ("gan", "train", "--resume", "../outputs/00000-pictures", "--kimg")
    assert command(*resume, "0.024").code == 0
    (tmp_path / "pictures").rename(tmp_path / "moved")
    assert command(*resume, "0.028").refuses("Say where the images are with --data")
    assert command(*resume, "0.028", "--data", "../moved").code == 0
    assert command(*resume, "0.032").code == 0  # it is known from then on
    (tmp_path / "moved" / "0.png").unlink()
    assert command(*resume, "0.036").refuses("The checkpoint was trained on other images")


def test_fine_tune_takes_the_sizes_over(train, command):
    """And says so when they are asked to differ."""
    train()
    options = "--data pictures --cache cache --fine-tune outputs/00000-pictures --batch-size 4 --kimg 0.012"
    tune = ("gan", "train", *options.split(), "--stats-every", "1")
    result = command(*tune, "--penalty", "hessian", "--penalty-ramp-kimg", "0.008", "--name", "tuned")
    assert result.code == 0, result.err
    stats = lines("outputs/00001-tuned/stats.jsonl")
    assert [line.get("penalty_weight") for line in stats] == [None, 0.025, 0.05]
    assert {line["resolution"] for line in stats} == {8}
    assert command(*tune, "--dim-z", "5").refuses("--fine-tune must name a run with networks of the same sizes")


def pixels(path):
    return shown(path)[0][0]


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


def test_sample_sweeps_components(command):
    """A strip and a GIF of one, which is set, not added to; the plane of two: the first across, the second upwards."""
    sample = ("gan", "sample", "builtin", "--steps", "3", "--scale", "1", "--out", "x", "--json")
    assert command(*sample, "--sweep", "z2", "--samples", "2").json == ["x/002-z2.png", "x/002-z2.gif"]
    generator = ClosedFormGenerator(4, 8)
    z = generator.sample_z(2, seed=0)
    z[:, 2] = -2.0  # the left end of the strip
    first = to_uint8(generator(z, torch.tensor([0, 1])))
    assert all(len(places(pixels("x/002-z2.png"), image)) for image in first)
    with Image.open("x/002-z2.gif") as gif:
        assert gif.n_frames == 60
    assert command(*sample, "--sweep", "3", "--sweep", "0", "--extent", "1.5").json == ["x/plane-3-0.png"]
    z = generator.sample_z(1, seed=0)
    z[:, 3], z[:, 0] = -1.5, 1.5
    plane = pixels("x/plane-3-0.png")
    ((row, _),) = places(plane, to_uint8(generator(z, 0))[0])
    assert row < plane.shape[0] / 2


def test_sample_all_goes_through_the_components_most_active_first(evaluate, command, measured, monkeypatch):
    """A strip and a GIF for each, an overview; the order is measured once, for the same classes and truncation."""
    asked, render = [], module.render

    def rendered(*positional, indices, **named):
        asked.append(indices)
        return render(*positional, indices=indices, **named) if len(asked) <= 2 else []

    monkeypatch.setattr(module, "render", rendered)
    Path("run").mkdir()
    assert evaluate("run", "-m", "activeness", "--no-plots", "-q").code == 0
    order = json.loads(Path("run/metrics.jsonl").read_text())["results"]["order"]
    arguments = ["gan", "sample", "run", "--sweep", "all", "--samples", "1", "--scale", "1", "--steps", "2", "-q"]
    assert command(*arguments, "--out", "x").code == 0
    assert (measured, asked) == ([("activeness", (0, 1, 2))], [order] * 2)
    names = {path.name for path in Path("x").iterdir()}
    assert names >= {f"00{i}-z{i}.{end}" for i in range(4) for end in ("png", "gif")} | {"overview.gif"}
    assert command(*arguments, "-y", "1").code == 0
    assert command(*arguments, "--truncation", "0.5").code == 0
    assert [classes for _, classes in measured[1:]] == [(1,), (0, 1, 2)]


SMALL = {
    "activeness": {"samples": 2},
    "diagonalness": {"samples": 1},
    "ppl_zend_effnetlite0_10k": {"pairs": 3},
    "fd_effnetlite0_5k": {"images": 6},
    "factor_effects": {"num_points": 2},
}


@pytest.fixture
def evaluate(command, monkeypatch):
    """Run ``directions gan evaluate`` with metrics that take no time."""
    monkeypatch.setattr(image_metrics, "load_network", lambda name, device: Pixels())
    for name, settings in SMALL.items():
        metric = METRICS[name]
        monkeypatch.setitem(METRICS, name, dataclasses.replace(metric, settings=metric.settings | settings))
    return lambda *arguments: command("gan", "evaluate", *arguments)


def test_evaluate_writes_and_prints_a_line_a_metric(evaluate, pictures):
    """The default group, for a generator by name; pictures of what can be drawn; images that are none."""
    result = evaluate("builtin", "--data", pictures, "--json")
    assert result.code == 0, result.err
    printed = [json.loads(line) for line in result.out.splitlines()]
    wanted = ["activeness", "diagonalness", "ppl_zend_effnetlite0_10k", "fd_effnetlite0_5k"]
    assert [line["metric"] for line in printed] == wanted
    assert lines("outputs/evaluations/builtin/metrics.jsonl") == printed
    assert printed[-1]["results"]["real"] == 6
    assert printed[0]["classes"] == [0, 1, 2]
    assert [path.name for path in Path("outputs/evaluations/builtin/metrics").iterdir()] == ["activeness.png"]
    assert "activeness" in result.err  # the progress
    (pictures / "2.png").write_text("no image")
    again = ("builtin", "-m", "fd_effnetlite0_5k", "--data", pictures, "-q")
    assert evaluate(*again).refuses("leave such files out with --on-broken skip")
    assert evaluate(*again, "--on-broken", "skip").code == 0
    assert lines("outputs/evaluations/builtin/metrics.jsonl")[-1]["results"]["real"] == 5
    assert evaluate("builtin", "-m", "factor_effects", "--out", "y", "--no-plots").code == 0
    assert not Path("y/metrics").exists()


def test_evaluate_goes_on_where_it_stopped(evaluate, measured):
    """What is there is printed and not measured; --again measures it; several runs share a plot."""
    assert evaluate("builtin", "-m", "activeness", "--out", "x").code == 0
    result = evaluate("builtin", "-m", "activeness,diagonalness", "--out", "x", "-q")
    assert [name for name, _ in measured] == ["activeness", "diagonalness"]
    printed = [line.split()[0] for line in result.out.splitlines()]
    assert printed == ["builtin:", "activeness", "diagonalness", "x/metrics/activeness.png"]
    assert result.err == ""
    evaluate("builtin", "-m", "activeness", "--out", "x", "--again")
    assert [name for name, _ in measured[2:]] == ["activeness"]
    assert len(lines("x/metrics.jsonl")) == 3
    result = evaluate("builtin", "other", "-m", "activeness")
    assert result.out.splitlines()[-1] == "outputs/evaluations/other/metrics/activeness_compared.png"
    for name in ("builtin", "other"):
        assert len(lines(f"outputs/evaluations/{name}/metrics.jsonl")) == 1


def test_evaluate_a_training_run_knows_its_images(evaluate, train, command, monkeypatch):
    """Without --data: those that it was trained on, at its size; everything goes into the run folder."""
    assert train("--name", "a").code == 0
    monkeypatch.setattr("directions.generators.registry.load_generator", real_load_generator)
    result = evaluate("outputs/00000-a", "-m", "quick")
    assert result.code == 0, result.err
    last = lines("outputs/00000-a/metrics.jsonl")[-1]
    assert (last["metric"], last["results"]["real"]) == ("fd_effnetlite0_5k", 6)
    evaluate("outputs/00000-a", "-m", "fd_effnetlite0_5k", "--data", "pictures", "-q")
    assert len(lines("outputs/00000-a/metrics.jsonl")) == 4  # the same images: not measured again
    assert command("gan", "sample", "outputs/00000-a", "--sweep", "1", "--samples", "1").code == 0
    assert {path.name for path in Path("outputs/00000-a/pictures").iterdir()} == {"001-z1.gif", "001-z1.png"}


def test_evaluate_reads_other_images_as_pairs_where_the_training_did(evaluate, train, monkeypatch, tmp_path, pictures):
    """Those of the training however they are spelled, and once; another layout can be asked for."""
    for seed, folder in enumerate(("pairs", "val")):  # two images in each of three files
        write_noise(tmp_path / folder, 3, 8, 16, seed)
    assert train("--data", "pairs", "--data-format", "pairs", "--name", "a", "--kimg", "0.008").code == 0
    monkeypatch.setattr("directions.generators.registry.load_generator", real_load_generator)

    def measure(*arguments):
        return evaluate("outputs/00000-a", "-m", "fd_effnetlite0_5k", "-q", *arguments)

    for folder in ("val/../pairs", "val"):
        assert measure("--data", folder).code == 0
        assert measure("--data", folder, "--data-format", "folder").code == 0
    (tmp_path / "pairs").rename(tmp_path / "moved")
    assert measure("--data", "moved").code == 0
    found = [line["results"]["real"] for line in lines("outputs/00000-a/metrics.jsonl")]
    assert found == [6, 3, 6, 3]  # those that were moved are the ones measured first
    assert measure("--data", pictures).refuses("Images that are not in pairs are read with --data-format folder.")
    assert measure().refuses("which compares with real images. Give them with --data")
