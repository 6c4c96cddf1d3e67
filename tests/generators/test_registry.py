"""Generators are found by name or folder; files that are not right are refused, each with its reason."""

from __future__ import annotations

import json

import biggan_models
import pytest
import torch

from directions.errors import UserError
from directions.generators.registry import list_generators, load_generator

NAMES = ("cube", "sphere", "cylinder")


@pytest.fixture
def folder(tmp_path):
    """A generator's folder, whole."""
    biggan_models.write_generator(biggan_models.random_model().float(), tmp_path, NAMES)
    return tmp_path


def test_generators_of_the_package_load_and_are_listed():
    """They give images in range, the same ones each time."""
    for name, label, sizes in (("builtin", "sphere", (12, 3, 64)), ("letters", "Q", (20, 26, 64))):
        generator = load_generator(name)
        z = generator.sample_z(2, seed=0)
        images = generator(z, label)
        assert images.shape == (2, 3, 64, 64)
        assert images.abs().max() <= 1
        assert torch.equal(images, generator(z, generator.class_names.index(label)))
        (status,) = [entry for entry in list_generators() if entry.name == name]
        assert (status.state, status.dim_z, status.num_classes, status.resolution) == ("ready", *sizes)
        assert status.detail == f"sha256 {generator.digest}"


def test_unknown_name_and_missing_device_are_refused():
    """A typing error is told what was meant."""
    with pytest.raises(UserError, match=r"no generator 'biultin'\. Did you mean 'builtin'"):
        load_generator("biultin")
    if not torch.cuda.is_available():
        with pytest.raises(UserError, match="sees no CUDA GPU"):
            load_generator("builtin", device="cuda")


def flip_a_byte(folder):
    path = folder / "weights.safetensors"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def configured(**changes):
    def change(folder):
        path = folder / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    return change


NAMES_MESSAGE = "class_names must be a list of 3 different names, one for each of its num_classes, got .* Correct it"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (flip_a_byte, "damaged or from another training"),
        (configured(channel_width=16), "does not fit .*have other shapes, such as .* is needed, got"),
        (configured(attention_layer_position=1), "tensors are missing, such as .* have other shapes"),
        (configured(class_names=["a", "b", "b"]), NAMES_MESSAGE),
        (lambda folder: (folder / "config.json").write_text("{}"), "no BigGAN-deep configuration: KeyError"),
        (lambda folder: (folder / "config.json").write_text("<!doctype html>"), "is not JSON"),
        (lambda folder: (folder / "weights.safetensors").unlink(), "Cannot read .*weights.safetensors"),
    ],
)
def test_folder_that_is_not_right_is_refused(folder, change, message):
    """The file, and the first thing that differs, are named."""
    change(folder)
    with pytest.raises(UserError, match=message):
        load_generator(str(folder))
