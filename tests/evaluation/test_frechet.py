"""The Fréchet distance against closed forms, a naive reference, and what must not matter."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import scipy.linalg
import torch

from directions.errors import NonFiniteError, UserError
from directions.evaluation.frechet import FrechetDistance, frechet_distance


class Pixels:
    """Features that are a linear map of the pixels, or the first pixels themselves."""

    name, digest = "pixels", "0" * 64

    def __init__(self, num_features=3, matrix=None):
        self.num_features = num_features
        self.matrix = torch.eye(12, dtype=torch.float64)[:, :num_features] if matrix is None else matrix

    def __call__(self, images):
        return images.flatten(1).double() @ self.matrix


def grid_images(means, deviations):
    """Every combination of mean ± deviation of the first pixels, in grey levels: moments are then exact."""
    levels = [
        [m + sign * s for m, sign, s in zip(means, signs, deviations, strict=True)]
        for signs in itertools.product((-1, 1), repeat=len(means))
    ]
    images = torch.full((len(levels), 12), 0.0, dtype=torch.float64)
    images[:, : len(means)] = torch.tensor(levels, dtype=torch.float64) / 127.5 - 1
    return images.unflatten(1, (3, 2, 2))


def random_images(n, seed, spread=0.3):
    rng = torch.Generator().manual_seed(seed)
    mixing = torch.randn(12, 12, generator=rng, dtype=torch.float64) / 4
    return (spread * torch.randn(n, 12, generator=rng, dtype=torch.float64) @ mixing + 0.1).unflatten(1, (3, 2, 2))


def naive(network, real, generated):
    """As it is written down, with scipy's matrix root."""

    def moments(images):
        rounded = np.clip(np.floor((images.numpy() + 1) * 127.5 + 0.5), 0, 255) / 127.5 - 1
        features = rounded.reshape(len(images), -1) @ network.matrix.numpy()
        return features.mean(axis=0), np.cov(features, rowvar=False)

    (m1, c1), (m2, c2) = moments(real), moments(generated)
    return float(((m1 - m2) ** 2).sum() + np.trace(c1 + c2 - 2 * scipy.linalg.sqrtm(c1 @ c2).real))


def test_distance_of_independent_features_is_known():
    """For normal distributions with diagonal covariances it is Σ (μ − μ')² + (σ − σ')²."""
    real, generated = grid_images([100, 120, 140], [10, 20, 30]), grid_images([104, 120, 137], [16, 20, 10])
    unbiased = 8 / 7  # of eight points a kind
    expected = (4**2 + 3**2 + unbiased * (6**2 + 20**2)) / 127.5**2
    assert frechet_distance(Pixels(), [real], [generated]) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("seed", range(3))
def test_distance_equals_naive_reference(seed):
    """For covariances that do not commute, and a network that mixes pixels."""
    network = Pixels(5, torch.randn(12, 5, generator=torch.Generator().manual_seed(seed), dtype=torch.float64))
    real, generated = random_images(60, seed), random_images(40, seed + 10, spread=0.5)
    measured = frechet_distance(network, [real], [generated])
    assert measured == pytest.approx(naive(network, real, generated), rel=1e-7)
    assert measured > 0.01


def test_distance_of_equal_sets_is_zero():
    """The ideal generator; rounding must not leave a negative number."""
    images = random_images(50, 0)
    assert 0 <= frechet_distance(Pixels(6), [images], [images.flip(0)]) < 1e-6


def test_distance_of_two_samples_of_one_distribution_falls_with_their_size():
    """It is biased: of few images it is larger, which is why a metric's name holds their number."""
    values = [frechet_distance(Pixels(6), [random_images(n, 1)], [random_images(2 * n, 1)[n:]]) for n in (20, 2000)]
    assert values[1] < values[0] / 5


def test_distance_of_a_collapsed_generator_is_the_spread_and_the_offset():
    """All images the same: its covariance is zero, tr(C_r) and the means' difference are left."""
    real = grid_images([100, 120, 140], [10, 20, 30])
    collapsed = grid_images([100, 120, 150], [0, 0, 0])
    expected = (10**2 + 8 / 7 * (10**2 + 20**2 + 30**2)) / 127.5**2
    assert frechet_distance(Pixels(), [real], [collapsed]) == pytest.approx(expected, rel=1e-6)


def test_distance_of_duplicated_images_changes_by_the_unbiased_factor_only():
    """Every image twice: the same mean, and the covariance over n instead of n − 1."""
    real, generated = grid_images([100, 120], [10, 20]), grid_images([100, 120], [16, 4])
    once = frechet_distance(Pixels(2), [real], [generated])
    twice = frechet_distance(Pixels(2), [real, real], [generated, generated])
    assert once == pytest.approx((6**2 + 16**2) * 4 / 3 / 127.5**2)
    assert twice == pytest.approx((6**2 + 16**2) * 8 / 7 / 127.5**2)


def test_distance_is_the_same_both_ways_and_depends_on_every_argument():
    """It is a distance, of mean and of spread: neither alone gives it."""
    a, b = grid_images([100, 120], [10, 20]), grid_images([110, 120], [10, 26])
    assert frechet_distance(Pixels(2), [a], [b]) == pytest.approx(frechet_distance(Pixels(2), [b], [a]), rel=1e-9)
    one_sided = FrechetDistance(Pixels(2))
    one_sided.add_real(a)
    one_sided.add_real(a)
    one_sided.add_generated(b)
    assert (one_sided.num_real, one_sided.num_generated) == (8, 4)
    assert one_sided.value() == pytest.approx((10**2 + (10 * (8 / 7) ** 0.5 - 10 * (4 / 3) ** 0.5) ** 2
        + (20 * (8 / 7) ** 0.5 - 26 * (4 / 3) ** 0.5) ** 2) / 127.5**2)  # fmt: skip


def test_distance_does_not_depend_on_the_batches():
    """How many images are taken in at once is a matter of memory."""
    real, generated = random_images(30, 2), random_images(30, 3)
    values = [frechet_distance(Pixels(6), real.split(n), generated.split(n)) for n in (1, 7, 30)]
    assert values == pytest.approx([values[0]] * 3, rel=1e-9)


def test_generated_images_are_rounded_like_files():
    """A generator that hits the right level but for a third of it is perfect."""
    real = grid_images([100, 120, 140], [10, 20, 30])
    assert frechet_distance(Pixels(), [real], [real + 0.3 / 127.5]) < 1e-9
    assert frechet_distance(Pixels(), [real], [real + 0.7 / 127.5]) > 1e-5


def test_statistics_of_real_images_are_kept(tmp_path):
    """The same value from the file; a damaged one, or one of another width, is not used."""
    real, generated = random_images(30, 4), random_images(30, 5)
    first = FrechetDistance(Pixels(6))
    first.add_real(real)
    first.save_real(tmp_path / "real.safetensors")
    second = FrechetDistance(Pixels(6))
    assert second.load_real(tmp_path / "real.safetensors")
    assert second.num_real == 30
    for distance in (first, second):
        distance.add_generated(generated)
    assert second.value() == first.value()
    assert not FrechetDistance(Pixels(5)).load_real(tmp_path / "real.safetensors")
    assert not FrechetDistance(Pixels(6)).load_real(tmp_path / "none.safetensors")
    (tmp_path / "real.safetensors").write_bytes((tmp_path / "real.safetensors").read_bytes()[:-9])
    damaged = FrechetDistance(Pixels(6))
    assert not damaged.load_real(tmp_path / "real.safetensors")
    assert damaged.num_real == 0


@pytest.mark.parametrize(("real", "generated", "kind"), [(1, 4, "real"), (4, 0, "generated")])
def test_too_few_images_are_refused(real, generated, kind):
    """One image has no covariance."""
    distance = FrechetDistance(Pixels())
    distance.add_real(random_images(real, 0))
    if generated:
        distance.add_generated(random_images(generated, 1))
    with pytest.raises(UserError, match=f"needs at least 2 {kind} images, got [01]"):
        distance.value()


def test_nan_is_noticed_where_it_comes_in():
    """Not as a NaN at the end."""
    distance = FrechetDistance(Pixels())
    with pytest.raises(NonFiniteError, match="features of generated images hold NaN"):
        distance.add_generated(torch.full((2, 3, 2, 2), math.nan))
