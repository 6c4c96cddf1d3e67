"""The scene reader that comes with the package, on renders that it was not trained on."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from directions.errors import UserError
from directions.evaluation.scene_reader import FACTORS, READER_FOLDER, SHAPES, load_scene_reader

SCENES = Path(__file__).parents[1] / "data" / "scenes"


@pytest.fixture(scope="module")
def reader():
    return load_scene_reader()


@pytest.fixture(scope="module")
def truth():
    with (SCENES / "factors.csv").open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def images(truth):
    pixels = [np.asarray(Image.open(SCENES / f"{int(row['index']):06d}.png").convert("RGB")) for row in truth]
    return torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2).float() / 127.5 - 1


def test_reader_reads_renders_it_has_not_seen(reader, truth, images):
    """Every shape is right and every factor within a fraction of its spread."""
    reading = reader.read(images)
    probabilities = reading[:, 4:]
    assert [SHAPES[index] for index in probabilities.argmax(dim=1)] == [row["shape"] for row in truth]
    assert probabilities.amax(dim=1).min() > 0.9
    for column, (name, tolerance) in enumerate({"hue": 0.03, "x": 0.1, "y": 0.12, "size": 0.03}.items()):
        expected = torch.tensor([float(row[name]) for row in truth])
        torch.testing.assert_close(reading[:, column], expected, rtol=0, atol=tolerance)


def test_load_scene_reader_refuses_a_damaged_folder(tmp_path):
    """Every message says what to do."""
    for name, change, message in (
        ("weights.safetensors", lambda data: data[:-1] + bytes([data[-1] ^ 1]), "has another SHA-256"),
        ("config.json", lambda data: data.replace(b'"hidden": 96', b'"hidden": 7'), "cannot be used"),
    ):
        folder = shutil.copytree(READER_FOLDER, tmp_path / message)
        (folder / name).write_bytes(change((folder / name).read_bytes()))
        with pytest.raises(UserError, match=message + "(?s:.)*Install the package again"):
            load_scene_reader(folder)


def test_reader_is_a_judge_of_scenes_of_any_size(reader, images):
    """A column a factor, three for the shape; variances over the data."""
    factors = reader.read(images, None)
    assert reader.names == ("hue", "x", "y", "size", "shape", "shape", "shape")
    assert reader.spread == {name: reader.deviations[name] ** 2 for name in FACTORS} | {"shape": pytest.approx(2 / 3)}
    small = reader.read(torch.nn.functional.avg_pool2d(images, 2), None)
    torch.testing.assert_close(small[:, 1:3], factors[:, 1:3], rtol=0, atol=0.2)
