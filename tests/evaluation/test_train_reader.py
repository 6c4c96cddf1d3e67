"""The script that trains the scene reader, on a handful of drawn images."""

from __future__ import annotations

import colorsys
import csv
import importlib.util
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from directions.evaluation.scene_reader import FACTORS, SHAPES, load_scene_reader


@pytest.fixture(scope="module")
def script() -> Iterator[ModuleType]:
    path = Path(__file__).parents[2] / "scripts" / "train_reader.py"
    spec = importlib.util.spec_from_file_location("train_reader", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # Dataclasses look their module up by name.
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "train_reader", module)
        spec.loader.exec_module(module)
        yield module


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder like that of ``render_scenes.py``: 40 images of noise with random factors."""
    folder = tmp_path_factory.mktemp("scenes")
    rng = np.random.default_rng(0)
    np.save(folder / "images.npy", rng.integers(0, 256, (40, 64, 64, 3), dtype=np.uint8))
    with (folder / "factors.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["index", "shape", *FACTORS])
        for index in range(40):
            writer.writerow([index, SHAPES[index % 3], *rng.uniform(0, 0.75, 4).round(6)])
    (folder / "dataset.json").write_text(json.dumps({"sha256": "0" * 64}))
    return folder


def arguments(data: Path, folder: Path, epochs: int = 2) -> list[str]:
    settings = ["--epochs", str(epochs), "--batch", "8", "--held-out", "16"]
    return ["--data", str(data), "--out", str(folder / "out"), "--checkpoint", str(folder / "a" / "c.pt"), *settings]


def test_degrade_leaves_the_hue_of_every_pixel(script: ModuleType, monkeypatch: pytest.MonkeyPatch):
    """Without noise, a flat image of one colour keeps its hue through blur, grid, saturation, contrast, brightness."""
    monkeypatch.setattr(torch, "randn", lambda shape, generator: torch.zeros(shape))
    hues = np.linspace(0.0, 0.75, 16)
    colours = torch.tensor([colorsys.hsv_to_rgb(hue, 0.5, 0.7) for hue in hues])
    images = (2 * colours - 1)[:, :, None, None].expand(-1, -1, 8, 8).float()
    degraded = (script.degrade(images, torch.Generator().manual_seed(0)) + 1) / 2
    assert (degraded - (images + 1) / 2).abs().amax() > 0.03
    for hue, image in zip(hues, degraded, strict=True):
        for pixel in image.flatten(1).T.tolist():
            assert abs((colorsys.rgb_to_hsv(*pixel)[0] - hue + 0.5) % 1 - 0.5) < 1e-4


def test_training_resumes_to_the_same_weights(script: ModuleType, data: Path, tmp_path: Path):
    """Stopped after the first epoch and run again, training ends bit-identical to an unbroken run."""
    scenes = script.load_scenes(data)
    settings = script.Settings(scenes.digest, epochs=2, batch=8, held_out=16, seed=3)
    unbroken, _ = script.train(scenes, settings, tmp_path / "unbroken.pt")

    class StopError(Exception):
        pass

    def stop_in_second_epoch(step: int, steps: int) -> float:
        if step == 4:
            raise StopError
        return rate(step, steps)

    rate = script.learning_rate
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(script, "learning_rate", stop_in_second_epoch)
        with pytest.raises(StopError):
            script.train(scenes, settings, tmp_path / "broken.pt")
    resumed, _ = script.train(scenes, settings, tmp_path / "broken.pt")
    for name, tensor in unbroken.state_dict().items():
        torch.testing.assert_close(resumed.state_dict()[name], tensor, rtol=0, atol=0)


def test_export_writes_a_reader_that_reads_the_same(script: ModuleType, data: Path, tmp_path: Path):
    """Weights, configuration and card go through the loader unchanged."""
    scenes = script.load_scenes(data)
    settings = script.Settings(scenes.digest, epochs=1, batch=8, held_out=16, seed=0)
    reader, seconds = script.train(scenes, settings, tmp_path / "c.pt")
    held_out = torch.arange(24, 40)
    figures = {name: script.score(reader, scenes, held_out, degraded=name != "clean") for name in ("clean", "degraded")}
    script.export(reader, scenes, settings, figures, seconds, tmp_path / "out")
    loaded = load_scene_reader(tmp_path / "out")
    images = scenes.batch(held_out)
    torch.testing.assert_close(loaded.read(images).x, reader.read(images).x, rtol=0, atol=0)
    card = (tmp_path / "out" / "card.md").read_text()
    assert json.loads((tmp_path / "out" / "config.json").read_text())["sha256"] in card
    assert "| degraded | " in card


def test_score_of_a_perfect_and_of_a_constant_reader(script: ModuleType, data: Path):
    """R² is 1 for the truth and 0 for the mean."""
    scenes = script.load_scenes(data)
    index = torch.arange(40)

    class Oracle:
        def read(self, images: torch.Tensor) -> object:
            columns = dict(zip(FACTORS, scenes.factors.T, strict=True))
            columns["x"] = scenes.factors[:, 1].mean().expand(40)
            return type("Reading", (), {"shape": scenes.shape, **columns})

    figures = script.score(Oracle(), scenes, index, degraded=False)
    assert figures["shape_accuracy"] == 1.0
    assert figures["r2"] == pytest.approx({"hue": 1.0, "x": 0.0, "y": 1.0, "size": 1.0})
    assert figures["rmse"]["x"] == pytest.approx(scenes.factors[:, 1].std(correction=0).item())


def test_main_writes_nothing_when_the_reader_is_not_good_enough(
    script: ModuleType, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    """Noise cannot be read: exit status 1, and the package's reader stays as it was."""
    assert script.main(arguments(data, tmp_path)) == 1
    assert "nothing was written" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_main_names_missing_scenes_and_how_to_render_them(
    script: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    """Without the data the message says which file and which command."""
    assert script.main(arguments(tmp_path, tmp_path)) == 2
    error = capsys.readouterr().err
    assert "images.npy does not exist" in error
    assert "make scenes" in error
