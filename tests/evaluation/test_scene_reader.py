"""The scene reader that comes with the package, on renders that it was not trained on."""

from __future__ import annotations

import csv
import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from directions.errors import UserError
from directions.evaluation.scene_reader import (
    FACTORS,
    READER_FOLDER,
    SHAPES,
    SceneReader,
    load_scene_reader,
    unwrap_hue,
)

SCENES = Path(__file__).parents[1] / "data" / "scenes"


@pytest.fixture(scope="module")
def reader() -> SceneReader:
    return load_scene_reader()


@pytest.fixture(scope="module")
def truth() -> list[dict[str, str]]:
    with (SCENES / "factors.csv").open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def images(truth: list[dict[str, str]]) -> Tensor:
    pixels = [np.asarray(Image.open(SCENES / f"{int(row['index']):06d}.png").convert("RGB")) for row in truth]
    return torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2).float() / 127.5 - 1


def test_reader_reads_renders_it_has_not_seen(reader: SceneReader, truth: list[dict[str, str]], images: Tensor):
    """Every shape is right and every factor within a fraction of its spread."""
    reading = reader.read(images)
    assert [SHAPES[index] for index in reading.shape] == [row["shape"] for row in truth]
    assert reading.shape_probabilities.amax(dim=1).min() > 0.9
    for name, tolerance in {"hue": 0.03, "x": 0.1, "y": 0.12, "size": 0.03}.items():
        expected = torch.tensor([float(row[name]) for row in truth])
        torch.testing.assert_close(getattr(reading, name), expected, rtol=0, atol=tolerance)


def test_packaged_reader_reached_its_targets():
    """The configuration carries the held-out figures that the issue asks for, and the card shows them."""
    held_out = json.loads((READER_FOLDER / "config.json").read_text())["held_out"]["clean"]
    assert held_out["images"] == 1000
    assert held_out["shape_accuracy"] >= 0.99
    assert min(held_out["r2"][name] for name in FACTORS) >= 0.95
    card = (READER_FOLDER / "card.md").read_text()
    assert all(f"{held_out['r2'][name]:.4f}" in card for name in FACTORS)


def test_packaged_weights_are_small():
    """The reader travels with the package."""
    assert (READER_FOLDER / "weights.safetensors").stat().st_size <= 1.5e6


def test_reader_is_frozen_and_in_evaluation_mode(reader: SceneReader):
    """Judging must not change the judge."""
    assert not reader.training
    assert not any(parameter.requires_grad for parameter in reader.parameters())


@pytest.mark.parametrize("batch", [1, 5, 12])
def test_read_does_not_depend_on_the_batch(reader: SceneReader, images: Tensor, batch: int):
    """Batches are an implementation detail, up to rounding."""
    expected, got = reader.read(images), reader.read(images, batch=batch)
    for name in ("shape_logits", *FACTORS):
        torch.testing.assert_close(getattr(got, name), getattr(expected, name), rtol=1e-4, atol=1e-4)


def test_reader_passes_gradients_to_the_images(reader: SceneReader, images: Tensor):
    """Called and not read, it can be differentiated: each factor depends on the picture."""
    for name in FACTORS:
        leaf = images[:1].clone().requires_grad_()
        getattr(reader(leaf), name).sum().backward()
        assert leaf.grad is not None
        assert leaf.grad.abs().sum() > 0


def test_mirrored_image_has_the_opposite_x(reader: SceneReader, images: Tensor):
    """x points to the right: pins the sign against a mirrored axis (the shadow, which falls right, is wrong then)."""
    x, mirrored = reader.read(images).x, reader.read(images.flip(-1)).x
    assert torch.corrcoef(torch.stack([x, mirrored]))[0, 1] < -0.95


@pytest.mark.parametrize(
    ("turns", "expected"),
    [(0.0, 0.0), (0.5, 0.5), (0.75, 0.75), (-0.1, -0.1), (0.95, -0.05), (-0.25, 0.75), (3.5, 0.5)],
)
def test_unwrap_hue_brings_hues_to_the_scale(turns: float, expected: float):
    """Whole turns are taken off so that the result is in [-0.125, 0.875)."""
    got = unwrap_hue(torch.tensor([turns], dtype=torch.float64))
    torch.testing.assert_close(got, torch.tensor([expected], dtype=torch.float64), rtol=0, atol=1e-12)


def test_unwrap_hue_stays_in_range_at_the_cut():
    """Rounding does not push a hue out of the half-open interval, in float32 either."""
    cut = torch.tensor([0.875, -0.125])
    near = torch.cat([cut, torch.nextafter(cut, torch.tensor(-math.inf)), torch.nextafter(cut, torch.tensor(1.0))])
    got = unwrap_hue(near)
    assert got.amin() >= -0.125
    assert got.amax() < 0.875


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (torch.zeros(2, 3, 128, 128), r"\(n, 3, 64, 64\).*got \(2, 3, 128, 128\)"),
        (torch.zeros(3, 64, 64), r"got \(3, 64, 64\)"),
        (torch.zeros(0, 3, 64, 64), "n at least 1"),
        (torch.zeros(1, 3, 64, 64, dtype=torch.uint8), r"floating-point in \[-1, 1\], got torch.uint8"),
        (torch.full((1, 3, 64, 64), 255.0), r"must lie in \[-1, 1\], got values from 255 to 255"),
        (torch.full((1, 3, 64, 64), math.nan), r"must lie in \[-1, 1\], got values from nan"),
    ],
)
def test_read_refuses_images_it_was_not_made_for(reader: SceneReader, images: Tensor, message: str):
    """A wrong reading would look like a right one, so the input is checked."""
    with pytest.raises(UserError, match=message):
        reader.read(images)


def test_read_refuses_an_empty_batch(reader: SceneReader, images: Tensor):
    """A batch is at least one image."""
    with pytest.raises(UserError, match="batch must be at least 1, got 0"):
        reader.read(images, batch=0)


def _damage_weights(folder: Path) -> None:
    data = bytearray((folder / "weights.safetensors").read_bytes())
    data[-1] ^= 1
    (folder / "weights.safetensors").write_bytes(bytes(data))


def _edit_config(**changes: object) -> object:
    def edit(folder: Path) -> None:
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps({**config, **changes}))

    return edit


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_damage_weights, "has SHA-256 .* but config.json says"),
        (_edit_config(sha256="0" * 64), "config.json says '0000"),
        (_edit_config(hidden=7), "does not describe its weights"),
        (_edit_config(channels=None), "does not describe its weights"),
        (_edit_config(format_version=2), "has format version 2; this version reads 1"),
        (lambda folder: (folder / "config.json").write_text("{"), "is not valid JSON"),
        (lambda folder: (folder / "config.json").write_text("[]"), "has format version None"),
        (lambda folder: (folder / "weights.safetensors").unlink(), "cannot be read"),
    ],
)
def test_load_scene_reader_refuses_a_damaged_folder(tmp_path: Path, damage: object, message: str):
    """Each kind of damage has its message, and every message says what to do."""
    folder = tmp_path / "reader"
    shutil.copytree(READER_FOLDER, folder)
    damage(folder)
    with pytest.raises(UserError, match=message) as caught:
        load_scene_reader(folder)
    assert "Install the package again" in str(caught.value)
