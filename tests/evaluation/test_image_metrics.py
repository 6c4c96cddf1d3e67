"""Fréchet distance and path length against closed forms and naive references; the networks that they look with."""

from __future__ import annotations

import hashlib
import math
import sys

import numpy as np
import pytest
import scipy.linalg
import torch
from closed import DoubleGenerator
from naive import normal
from PIL import Image

from directions.errors import NonFiniteError, UserError
from directions.evaluation.image_metrics import (
    PUBLISHED,
    FrechetDistance,
    find_weights,
    load_network,
    perceptual_path_length,
)
from directions.generators import base


class Pixels:
    """Features that are a linear map of the pixels, or the first pixels themselves."""

    def __init__(self, num_features=3, matrix=None):
        self.num_features = num_features
        self.matrix = torch.eye(12, dtype=torch.float64)[:, :num_features] if matrix is None else matrix

    def __call__(self, images):
        return images.flatten(1).double() @ self.matrix


def random_images(n, seed, spread=0.3):
    return (spread * normal(n, 12, seed=seed) @ normal(12, 12, seed=seed + 1) / 4 + 0.1).unflatten(1, (3, 2, 2))


def naive_frechet(network, real, generated):
    """As it is written down, with scipy's matrix root."""

    def moments(images):
        rounded = np.clip(np.floor((images.numpy() + 1) * 127.5 + 0.5), 0, 255) / 127.5 - 1
        features = rounded.reshape(len(images), -1) @ network.matrix.numpy()
        return features.mean(axis=0), np.cov(features, rowvar=False)

    (m1, c1), (m2, c2) = moments(real), moments(generated)
    return float(((m1 - m2) ** 2).sum() + np.trace(c1 + c2 - 2 * scipy.linalg.sqrtm(c1 @ c2).real))


def test_distance_equals_naive_reference():
    """For covariances that do not commute, and a network that mixes pixels."""
    network = Pixels(5, normal(12, 5))
    real, generated = random_images(60, 0), random_images(40, 10, spread=0.5)
    distance = FrechetDistance(network)
    distance.add(real[:25], real=True)
    distance.add(real[25:], real=True)
    distance.add(generated, real=False)
    measured = distance.value()
    assert measured == pytest.approx(naive_frechet(network, real, generated), rel=1e-7)
    assert measured > 0.01


def test_nan_is_noticed_where_it_comes_in():
    """Not as a NaN at the end."""
    distance = FrechetDistance(Pixels())
    with pytest.raises(NonFiniteError, match="features of generated images hold NaN"):
        distance.add(torch.full((2, 3, 2, 2), math.nan), real=False)


class Linear(DoubleGenerator):
    """Pixel p is (Az)_p; z is normal, as the paper's."""

    draw = staticmethod(base.normal)

    def __init__(self, A, num_classes=0, gains=(1.0,)):
        super().__init__(dim_z=A.shape[1], resolution=2, num_classes=num_classes)
        self.A, self.gains = A, torch.tensor(gains).double()

    def forward(self, z, y=0, *, truncation=1.0):
        gain = self.gains[self.class_indices(y, len(z))]
        return (gain[:, None] * (z @ self.A.mT)).unflatten(1, (3, 2, 2))


class LinearFeatures:
    """The squared distance of pixels."""

    def distances(self, first, second):
        return (first - second).flatten(1).square().sum(dim=1)


def test_path_length_of_a_plane_is_known():
    """|z| = 2: the angle between two latents is uniform on [0, π], so the mean of |z|θ² without its tails is known."""
    measured = perceptual_path_length(Linear(3 * torch.eye(12, 2).double()), LinearFeatures(), pairs=20_000, rows=8192)
    expected = 9 * 2 * math.pi**2 * (0.99**3 - 0.01**3) / (3 * 0.98)
    assert measured["ppl"] == pytest.approx(expected, rel=0.015)
    assert abs(measured["ppl"] - expected) < 4 * measured["standard_error"]
    assert measured["standard_error"] == pytest.approx(9 * 2 * math.pi**2 * 0.295 / math.sqrt(20_000), rel=0.05)


def test_path_length_draws_one_class_for_both_images_of_a_pair():
    """A class that doubles the image makes its pairs four times as long; a mixed pair would be far longer."""
    generator = Linear(torch.eye(12, 3).double(), num_classes=2, gains=(1.0, 2.0))
    first, second, both = (
        perceptual_path_length(generator, LinearFeatures(), pairs=2000, classes=classes)["ppl"]
        for classes in ((0,), (1,), (0, 1))
    )
    assert second == pytest.approx(4 * first, rel=1e-6)
    assert both == pytest.approx(2.5 * first, rel=0.1)


def test_network_knows_a_photograph():
    """Weights, preprocessing and channel order are right: the portrait is of a woman in military uniform, 652."""
    network = load_network("effnetlite0")
    from matplotlib import cbook

    with cbook.get_sample_data("grace_hopper.jpg") as file, Image.open(file) as photograph:
        square = photograph.convert("RGB").crop((0, 0, 512, 512))
    pixels = torch.from_numpy(np.asarray(square).copy()).permute(2, 0, 1).float().div(127.5).sub(1)
    with torch.no_grad():
        logits = network.model._fc(network(pixels[None]))
    assert 652 in logits[0].topk(3).indices.tolist()


@pytest.mark.parametrize(("module", "name"), [("efficientnet_lite_pytorch", "effnetlite0"), ("torchmetrics", "fid")])
def test_missing_package_names_the_extra(monkeypatch, module, name):
    """No traceback about a module that the user has never heard of."""
    for loaded in [m for m in sys.modules if m.startswith("torchmetrics")] + [module]:
        monkeypatch.setitem(sys.modules, loaded, None)
    with pytest.raises(UserError, match=r"pip install 'biggan-directions\[metrics\]'"):
        load_network(name) if name == "effnetlite0" else FrechetDistance(Pixels())


@pytest.fixture
def home(tmp_path, monkeypatch):
    """An empty TORCH_HOME."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    return folder


@pytest.mark.parametrize("name", PUBLISHED)
def test_missing_weights_say_which_file_belongs_where(name, home):
    """Before any library is asked, and without a download."""
    file = PUBLISHED[name][1].rsplit("/", 1)[1]
    with pytest.raises(UserError, match=f"Put {file} into {home}; it is published at https://.*{file}"):
        load_network(name)


def test_a_file_that_is_not_what_its_name_says_is_refused(home, monkeypatch):
    """The name ends in the first digits of the digest."""
    digest = hashlib.sha256(b"weights").hexdigest()
    monkeypatch.setitem(PUBLISHED, "net", ("Net", f"https://example.org/net-{digest[:8]}.pth"))
    path = home / f"net-{digest[:8]}.pth"
    path.write_bytes(b"weights")
    assert find_weights("net") == (path, digest)
    path.write_bytes(b"other")
    with pytest.raises(UserError, match=f"its SHA-256 should begin with {digest[:8]}, and is"):
        find_weights("net")
