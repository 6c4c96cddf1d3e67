"""Generators are found by name or folder; files that are not right are refused, each with its reason."""

from __future__ import annotations

import json
from pathlib import Path

import biggan_models
import pytest
import torch
from networks import write_generator

from directions.errors import UserError
from directions.generators.registry import list_generators, load_generator

NAMES = ("cube", "sphere", "cylinder")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A generator's folder, whole."""
    write_generator(biggan_models.random_model().float(), tmp_path, NAMES)
    return tmp_path


def test_builtin_loads_and_makes_images() -> None:
    """The generator of the package is there and gives images in range, the same ones each time."""
    generator = load_generator("builtin")
    z = generator.sample_z(2, seed=0)
    images = generator(z, "sphere")
    assert images.shape == (2, 3, 64, 64)
    assert images.abs().max() <= 1
    assert torch.equal(images, generator(z, 1))
    (status,) = [entry for entry in list_generators() if entry.name == "builtin"]
    assert (status.state, status.dim_z, status.num_classes, status.resolution) == ("ready", 12, 3, 64)
    assert status.detail == f"sha256 {generator.digest}"


def test_folder_loads_as_the_model_that_was_written(folder: Path) -> None:
    """Weights survive the way through the files."""
    model = biggan_models.random_model()
    generator = load_generator(str(folder))
    z = generator.sample_z(2, seed=0)
    expected = model(z.double(), torch.eye(3, dtype=torch.float64)[[2, 2]], 1.0)
    torch.testing.assert_close(generator(z, "cylinder").double(), expected, rtol=0, atol=1e-4)


def test_identical_weights_give_identical_files(folder: Path, tmp_path: Path) -> None:
    """So that the digest says something."""
    other = tmp_path / "other"
    other.mkdir()
    write_generator(biggan_models.random_model().float(), other, NAMES)
    for name in ("weights.safetensors", "config.json"):
        assert (folder / name).read_bytes() == (other / name).read_bytes()


def test_unknown_name_is_refused_with_a_suggestion() -> None:
    """A typing error is told what was meant."""
    with pytest.raises(UserError, match=r"no generator 'biultin'\. Did you mean 'builtin'"):
        load_generator("biultin")


def test_missing_device_is_refused() -> None:
    """Before anything is read."""
    if torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    with pytest.raises(UserError, match="sees no CUDA GPU"):
        load_generator("builtin", device="cuda")


def test_flipped_byte_in_the_weights_is_noticed(folder: Path) -> None:
    """The digest does not fit any more."""
    path = folder / "weights.safetensors"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(UserError, match="damaged or from another training"):
        load_generator(str(folder))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda config: config.update(channel_width=16), "does not fit .*have other shapes, such as .* is needed, got"),
        (lambda config: config.pop("layers"), "lacks layers"),
        (lambda config: config.update(layers=[1, 2]), r"layers must be a list of .*, got \[1, 2\]"),
        *(
            (
                lambda config, names=names: config.update(class_names=names),
                "class_names must be a list of 3 different names, one for each of its num_classes, got .* Correct it",
            )
            for names in (
                5,
                [1, 2, 3],
                "abc",
                ["a", "b", "b"],
                ["a", "b", " "],
            )
        ),
        (lambda config: config.update(attention_layer_position=1), "tensors are missing, such as .* have other shapes"),
    ],
)
def test_configuration_that_does_not_fit_is_refused(folder: Path, change: object, message: str) -> None:
    """The first tensor that differs is named."""
    path = folder / "config.json"
    config = json.loads(path.read_text())
    change(config)
    path.write_text(json.dumps(config))
    with pytest.raises(UserError, match=message):
        load_generator(str(folder))


def test_configuration_that_is_no_json_is_refused(folder: Path) -> None:
    """With the place."""
    (folder / "config.json").write_text("<!doctype html>")
    with pytest.raises(UserError, match="is not JSON"):
        load_generator(str(folder))


@pytest.mark.parametrize("name", ["config.json", "weights.safetensors"])
def test_missing_file_is_named(folder: Path, name: str) -> None:
    """Whichever of the two it is."""
    (folder / name).unlink()
    with pytest.raises(UserError, match=f"Cannot read .*{name}"):
        load_generator(str(folder))
