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
def evaluate(command, monkeypatch, tmp_path):
    """Run ``directions gan evaluate`` with metrics that take no time, and its own cache."""
    monkeypatch.setenv("DIRECTIONS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(
        image_metrics,
        "load_network",
        lambda name, device: Pixels() if name == "effnetlite0" else load_network(name, device),
    )
    for name, settings in SMALL.items():
        metric = METRICS[name]
        monkeypatch.setitem(METRICS, name, dataclasses.replace(metric, settings=metric.settings | settings))

    def run(*arguments):
        return command("gan", "evaluate", *arguments)

    return run


@pytest.fixture
def pictures(tmp_path):
    """A folder of images, larger than the generator's."""
    folder = tmp_path / "real"
    folder.mkdir()
    for number in range(5):
        pixels = np.random.default_rng(number).integers(0, 256, (20, 16, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    return folder


def lines(path):
    return [json.loads(line) for line in Path(path).read_text().splitlines()]


def test_evaluate_writes_and_prints_a_line_a_metric(evaluate, pictures):
    """The default group, for a generator by name; pictures of what can be drawn."""
    result = evaluate("builtin", "--data", pictures, "--json")
    assert result.code == 0, result.err
    printed = [json.loads(line) for line in result.out.splitlines()]
    assert [line["metric"] for line in printed] == [
        "activeness", "diagonalness", "ppl_zend_effnetlite0_10k", "fd_effnetlite0_5k"
    ]  # fmt: skip
    assert lines("outputs/evaluations/builtin/metrics.jsonl") == printed
    assert printed[-1]["results"]["real"] == 5
    assert printed[0]["classes"] == [0, 1, 2]
    assert [path.name for path in Path("outputs/evaluations/builtin/metrics").iterdir()] == ["activeness.png"]
    assert "activeness" in result.err  # the progress
    (pictures / "2.png").write_text("no image")
    again = ("builtin", "-m", "fd_effnetlite0_5k", "--data", pictures, "-q")
    refused = evaluate(*again)
    assert (refused.code, "leave such files out with --on-broken skip" in refused.err) == (2, True)
    assert evaluate(*again, "--on-broken", "skip").code == 0
    assert lines("outputs/evaluations/builtin/metrics.jsonl")[-1]["results"]["real"] == 4
    assert evaluate("builtin", "-m", "factor_effects", "--out", "y", "--no-plots").code == 0
    assert not Path("y/metrics").exists()


def test_evaluate_goes_on_where_it_stopped(evaluate, monkeypatch):
    """What is there is printed and not measured; --again measures it."""
    measured = []
    measure = Measuring.measure
    monkeypatch.setattr(
        Measuring, "measure", lambda self, metric: measured.append(metric.name) or measure(self, metric)
    )
    assert evaluate("builtin", "-m", "activeness", "--out", "x").code == 0
    result = evaluate("builtin", "-m", "activeness,diagonalness", "--out", "x", "-q")
    assert measured == ["activeness", "diagonalness"]
    assert [line.split()[0] for line in result.out.splitlines()] == [
        "builtin:", "activeness", "diagonalness", "x/metrics/activeness.png"
    ]  # fmt: skip
    assert result.err == ""
    evaluate("builtin", "-m", "activeness", "--out", "x", "--again")
    assert measured[2:] == ["activeness"]
    assert len(lines("x/metrics.jsonl")) == 3


def test_evaluate_several_runs_share_a_plot(evaluate):
    """Each has its own numbers; the comparison is beside the last one's."""
    result = evaluate("builtin", "other", "-m", "activeness")
    assert result.out.splitlines()[-1] == "outputs/evaluations/other/metrics/activeness_compared.png"
    assert len(lines("outputs/evaluations/builtin/metrics.jsonl")) == 1
    assert len(lines("outputs/evaluations/other/metrics.jsonl")) == 1


def test_evaluate_a_training_run_knows_its_images(evaluate, command, pictures, monkeypatch):
    """Without --data: those that it was trained on, at its size; everything goes into the run folder."""
    train = (
        "gan train --data real --name a --resolution 8 --channels 4,4 --dim-z 3 --batch-size 4 --kimg 0.02 "
        "--stable-kimg 0.004 --fade-kimg 0.004"
    )
    assert command(*train.split()).code == 0
    monkeypatch.setattr("directions.generators.registry.load_generator", real_load_generator)
    result = evaluate("outputs/00000-a", "-m", "quick")
    assert result.code == 0, result.err
    assert [line["metric"] for line in lines("outputs/00000-a/metrics.jsonl")][-1] == "fd_effnetlite0_5k"
    assert lines("outputs/00000-a/metrics.jsonl")[-1]["results"]["real"] == 5
    result = evaluate("outputs/00000-a", "-m", "fd_effnetlite0_5k", "--data", "real", "-q")
    assert len(lines("outputs/00000-a/metrics.jsonl")) == 4  # the same images: not measured again
    assert command("gan", "sample", "outputs/00000-a", "--sweep", "1", "--samples", "1").code == 0
    assert {path.name for path in Path("outputs/00000-a/pictures").iterdir()} == {"001-z1.gif", "001-z1.png"}


@pytest.fixture
def of_pairs(evaluate, command, tmp_path, monkeypatch):
    """Evaluate a run that was trained on pairs, two images in each of three files; there are more in val."""
    for folder in ("pairs", "val"):
        (tmp_path / folder).mkdir()
        for number in range(3):
            pixels = np.random.default_rng(len(folder) + number).integers(0, 256, (8, 16, 3), np.uint8)
            Image.fromarray(pixels).save(tmp_path / folder / f"{number}.png")
    train = (
        "gan train --data pairs --data-format pairs --name a --resolution 8 --channels 4,4 --dim-z 3 --batch-size 4 "
        "--kimg 0.008 --stable-kimg 0.004 --fade-kimg 0.004"
    )
    assert command(*train.split()).code == 0
    monkeypatch.setattr("directions.generators.registry.load_generator", real_load_generator)
    return lambda *arguments: evaluate("outputs/00000-a", "-m", "fd_effnetlite0_5k", "-q", *arguments)


def test_evaluate_reads_other_images_as_pairs_where_the_training_did(of_pairs, tmp_path, pictures):
    """Those of the training however they are spelled, and once; another layout can be asked for."""
    (tmp_path / "link").symlink_to(tmp_path / "pairs")
    for folder in ("pairs", "val/../pairs", "link"):
        assert of_pairs("--data", folder).code == 0
    assert of_pairs("--data", "val").code == 0
    assert of_pairs("--data", "val", "--data-format", "folder").code == 0
    assert of_pairs("--data", "pairs", "--data-format", "folder").code == 0
    (tmp_path / "pairs").rename(tmp_path / "moved")
    assert of_pairs("--data", "moved").code == 0
    found = [line["results"]["real"] for line in lines("outputs/00000-a/metrics.jsonl")]
    assert found == [6, 6, 3, 3]  # those that were moved are the ones measured first
    refused = of_pairs("--data", pictures)
    assert refused.code == 2
    assert "Images that are not in pairs are read with --data-format folder." in refused.err
    refused = of_pairs()
    assert (refused.code, "which compares with real images. Give them with --data" in refused.err) == (2, True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["builtin", "-m", "activenes"], "--metrics must be of activeness"),
        (["builtin", "-m", "fd_effnetlite0_5k"], "--metrics has fd_effnetlite0_5k, which compares with real images"),
        (["builtin", "--data", "nowhere"], "--data must be a folder of images, got 'nowhere'"),
        (["builtin", "--rows", "0"], "--rows must be a whole number, at least 1, got 0"),
        (["a", "b", "--out", "x"], "--out is of one run only, got 2 runs"),
    ],
    ids=" ".join,
)
def test_evaluate_refuses_and_leaves_nothing(evaluate, arguments, message):
    """Exit status 2, the option by its name, no folder."""
    result = evaluate(*arguments)
    assert result.code == 2
    assert message in result.err
    assert not Path("outputs").exists()
    assert not Path("x").exists()
