"""Networks whose weights are not here: the messages that say what belongs where, and what is done with the files."""

from __future__ import annotations

import hashlib
import importlib.util
import os

import pytest
import torch

from directions.errors import UserError
from directions.evaluation import published_networks
from directions.evaluation.published_networks import (
    INCEPTION,
    VGG16,
    Inception,
    VGG16Distance,
    WeightFile,
    load_inception,
    load_vgg16_distance,
)


@pytest.fixture
def home(tmp_path, monkeypatch):
    """An empty TORCH_HOME."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    return folder


@pytest.mark.parametrize(("load", "file"), [(load_inception, INCEPTION), (load_vgg16_distance, VGG16)])
def test_missing_weights_say_which_file_belongs_where(load, file, home):
    """Before any library is asked, and without a download."""
    with pytest.raises(UserError, match=f"Put {file.name} into {home}; it is published at https://.*{file.name}"):
        load()


def test_a_file_that_is_not_what_its_name_says_is_refused(home):
    """The name ends in the first digits of the digest."""
    content = b"weights"
    digest = hashlib.sha256(content).hexdigest()
    right = WeightFile(f"net-{digest[:8]}.pth", "https://example.org/x", "Net")
    (home / right.name).write_bytes(content)
    assert right.find() == digest
    (home / right.name).write_bytes(b"other")
    with pytest.raises(UserError, match=f"its SHA-256 should begin with {digest[:8]}, and is"):
        right.find()


@pytest.mark.skipif(importlib.util.find_spec("torchvision") is not None, reason="the libraries are there")
def test_missing_libraries_name_the_extra(home, monkeypatch):
    """The files are there, torchvision and torch-fidelity are not."""
    monkeypatch.setattr(WeightFile, "find", lambda self: "0" * 64)
    for load in (load_inception, load_vgg16_distance):
        with pytest.raises(UserError, match=r"pip install 'biggan-directions\[fid\]'"):
            load()


def test_inception_is_given_bytes():
    """Levels from 0 to 255, rounded as files are."""
    seen = []
    network = Inception(lambda images: seen.append(images) or torch.zeros(len(images), 2048), "0" * 64)
    network(torch.tensor([-1.0, 0.0, 1.0]).view(1, 3, 1, 1))
    assert seen[0].dtype == torch.uint8
    assert seen[0].flatten().tolist() == [0, 128, 255]


def test_vgg16_sees_images_of_256_pixels():
    """Small ones enlarged, as the paper does."""
    seen = []
    network = VGG16Distance(lambda a, b: seen.append((a, b)) or torch.ones(len(a), 1, 1, 1), "0" * 64)
    assert network.distances(torch.zeros(2, 3, 8, 8), torch.zeros(2, 3, 8, 8)).tolist() == [1.0, 1.0]
    assert [images.shape[-1] for images in seen[0]] == [256, 256]


def test_nothing_is_unpickled_while_libraries_load(tmp_path):
    """Even where a library asks torch.load for whatever is in the file."""
    path = tmp_path / "x.pth"
    torch.save({"a": object()}, path)
    name = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"
    with published_networks._nothing_unpickled(), pytest.raises(Exception, match=r"[Ww]eights.only"):
        torch.load(path, weights_only=False)
    assert name not in os.environ
