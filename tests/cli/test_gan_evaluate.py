"""``directions gan evaluate``: numbers once, in a file and on stdout, and what it refuses."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from directions.evaluation import image_metrics
from directions.evaluation.image_metrics import load_network
from directions.evaluation.metrics import METRICS, Measuring
from directions.generators.registry import load_generator as real_load_generator

SMALL = {
    "activeness": {"samples": 2},
    "diagonalness": {"samples": 1},
    "ppl_zend_effnetlite0_10k": {"pairs": 3},
    "fd_effnetlite0_5k": {"images": 6},
    "factor_effects": {"num_points": 2},
    "dci_10k": {"samples": 60},
    "mig_10k": {"samples": 60},
}


class Pixels(torch.nn.Module):
    """A feature network of no cost."""

    name, num_features, digest = "effnetlite0", 2, "0" * 64

    def forward(self, images):
        return images.flatten(1)[:, :2]

    def distances(self, first, second):
        return (first - second).square().flatten(1).mean(dim=1)


@pytest.fixture
def evaluate(command, monkeypatch):
    """Run ``directions gan evaluate`` with metrics that take no time."""
    load = lambda name, device: Pixels() if name == "effnetlite0" else load_network(name, device)  # noqa: E731
    monkeypatch.setattr(image_metrics, "load_network", load)
    for name, settings in SMALL.items():
        metric = METRICS[name]
        monkeypatch.setitem(METRICS, name, dataclasses.replace(metric, settings=metric.settings | settings))
    return lambda *arguments: command("gan", "evaluate", *arguments)


def lines(path):
    return [json.loads(line) for line in Path(path).read_text().splitlines()]


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


def test_evaluate_goes_on_where_it_stopped(evaluate, monkeypatch):
    """What is there is printed and not measured; --again measures it; several runs share a plot."""
    measured = []
    measure = Measuring.measure
    note = lambda self, metric: measured.append(metric.name) or measure(self, metric)  # noqa: E731
    monkeypatch.setattr(Measuring, "measure", note)
    assert evaluate("builtin", "-m", "activeness", "--out", "x").code == 0
    result = evaluate("builtin", "-m", "activeness,diagonalness", "--out", "x", "-q")
    assert measured == ["activeness", "diagonalness"]
    printed = [line.split()[0] for line in result.out.splitlines()]
    assert printed == ["builtin:", "activeness", "diagonalness", "x/metrics/activeness.png"]
    assert result.err == ""
    evaluate("builtin", "-m", "activeness", "--out", "x", "--again")
    assert measured[2:] == ["activeness"]
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
    for folder in ("pairs", "val"):  # two images in each of three files
        (tmp_path / folder).mkdir()
        for number in range(3):
            pixels = np.random.default_rng(len(folder) + number).integers(0, 256, (8, 16, 3), np.uint8)
            Image.fromarray(pixels).save(tmp_path / folder / f"{number}.png")
    assert train("--data", "pairs", "--data-format", "pairs", "--name", "a", "--kimg", "0.008").code == 0
    monkeypatch.setattr("directions.generators.registry.load_generator", real_load_generator)

    def measure(*arguments):
        return evaluate("outputs/00000-a", "-m", "fd_effnetlite0_5k", "-q", *arguments)

    (tmp_path / "link").symlink_to(tmp_path / "pairs")
    for folder in ("val/../pairs", "link", "val"):
        assert measure("--data", folder).code == 0
    for folder in ("val", "pairs"):
        assert measure("--data", folder, "--data-format", "folder").code == 0
    (tmp_path / "pairs").rename(tmp_path / "moved")
    assert measure("--data", "moved").code == 0
    found = [line["results"]["real"] for line in lines("outputs/00000-a/metrics.jsonl")]
    assert found == [6, 6, 3, 3]  # those that were moved are the ones measured first
    assert measure("--data", pictures).refuses("Images that are not in pairs are read with --data-format folder.")
    assert measure().refuses("which compares with real images. Give them with --data")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("builtin -m activenes", "--metrics must be of activeness"),
        ("builtin -m fd_effnetlite0_5k", "--metrics has fd_effnetlite0_5k, which compares with real images"),
        ("builtin --data nowhere", "--data must be a folder of images, got 'nowhere'"),
        ("builtin --rows 0", "--rows must be a whole number, at least 1, got 0"),
        ("a b --out x", "--out is of one run only, got 2 runs"),
    ],
)
def test_evaluate_refuses_and_leaves_nothing(evaluate, arguments, message):
    """Exit status 2, the option by its name, no folder."""
    assert evaluate(*arguments.split()).refuses(message)
    assert not Path("outputs").exists()
    assert not Path("x").exists()
