"""DCI and MIG on code and factors that are known, against naive versions; the pairs that they are measured from."""

from __future__ import annotations

import itertools
import math
from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor

from directions.errors import UserError
from directions.evaluation.factors import (
    LatentReadings,
    completeness,
    disentanglement,
    measure_dci,
    measure_mig,
    read_latents,
)

FLAT = {"hue": 0.0, "x": 0.0, "y": 0.0, "size": 0.0, "shape": 0.0}


class LatentGenerator:
    """Its "images" are the latents themselves."""

    name, dim_z, num_classes, resolution = "fake", 6, 0, 1
    device = torch.device("cpu")

    def __init__(self) -> None:
        self.batches: list[int] = []

    def sample_z_from(self, n: int, rng: torch.Generator, truncation: float = 1.0) -> Tensor:
        return truncation * torch.randn(n, self.dim_z, generator=rng, dtype=torch.float64)

    def __call__(self, z: Tensor, y: Tensor | None = None, *, truncation: float = 1.0) -> Tensor:
        self.batches.append(len(z))
        return z[:, None, None, :]


class AxisJudge:
    """Hue is z0, x is z1, y is z2, size never changes; a sphere where z3 > 0, else a cube."""

    names = ("hue", "x", "y", "size", "shape", "shape", "shape")
    spread: ClassVar = {"hue": 0.04, "x": 0.75**2, "y": 0.81, "size": 0.01, "shape": 2 / 3}
    periods: ClassVar = {"hue": 1.0}

    def read(self, images: Tensor, y: Tensor | None) -> Tensor:
        z = images[:, 0, 0, :]
        sphere, none = (z[:, 3] > 0).to(z), torch.zeros_like(z[:, 0])
        return torch.stack([z[:, 0] * 0.1, z[:, 1], z[:, 2], none + 0.6, 1 - sphere, sphere, none], dim=1)


def made_readings(z: np.ndarray, factors: dict[str, np.ndarray]) -> LatentReadings:
    """Readings of which only some factors vary."""
    targets = {name: values[:, None] for name, values in factors.items()}
    return LatentReadings(z, targets, factors, FLAT | {name: float(values.std()) for name, values in factors.items()})


@pytest.fixture(scope="module")
def readings():
    return read_latents(LatentGenerator(), AxisJudge(), samples=3000)


def test_read_latents_pairs_code_and_factors(readings):
    """In the order of the samples, hue as a point on the circle, shape as probabilities, spreads over the scenes'."""
    np.testing.assert_allclose(readings.levels["x"], readings.z[:, 1])
    angle = 2 * math.pi * 0.1 * readings.z[:, 0]
    np.testing.assert_allclose(readings.targets["hue"], np.stack([np.cos(angle), np.sin(angle)], axis=1), atol=1e-12)
    np.testing.assert_allclose(readings.targets["shape"][:, 1], readings.z[:, 3] > 0, atol=1e-12)
    assert readings.spreads["x"] == pytest.approx(1 / 0.75, rel=0.05)
    assert readings.spreads["size"] == 0
    assert readings.spreads["shape"] == pytest.approx(math.sqrt(0.5 / (2 / 3)), rel=0.01)
    assert readings.varied == ("hue", "x", "y", "shape")


def test_read_latents_does_not_depend_on_the_batch(readings):
    """Every sample once, in batches of at most what was asked for."""
    generator, counted = LatentGenerator(), []
    again = read_latents(generator, AxisJudge(), samples=3000, rows=700, count=counted.append)
    np.testing.assert_array_equal(again.z, readings.z)
    np.testing.assert_array_equal(again.levels["y"], readings.levels["y"])
    assert generator.batches == counted == [700] * 4 + [200]


def test_disentangled_code_scores_one(readings):
    """Every factor from one component of its own."""
    dci, mig = measure_dci(readings), measure_mig(readings)
    assert dci["factors"] == mig["factors"] == ("hue", "x", "y", "shape")
    assert min(dci["disentanglement"], dci["completeness"], dci["informativeness"]) > 0.97
    np.testing.assert_allclose(dci["importances"][:4], np.eye(4), atol=0.02)
    np.testing.assert_allclose(dci["importances"].sum(axis=0), 1)
    assert mig["gaps"]["x"] > 0.95
    assert mig["information"].argmax(axis=0).tolist() == [0, 1, 2, 3]


def naive_mutual_information(a: list[int], b: list[int]) -> float:
    """Sum over pairs of values of p log p / (p p), in nats."""
    n, total = len(a), 0.0
    for u, v in itertools.product(set(a), set(b)):
        joint = sum(x == u and y == v for x, y in zip(a, b, strict=True)) / n
        if joint:
            total += joint * math.log(joint / (a.count(u) / n * (b.count(v) / n)))
    return total


def test_mig_equals_naive_reference():
    """Bins by rank, information by counting, gaps by sorting."""
    rng = np.random.default_rng(1)
    z = rng.normal(size=(200, 3))
    factors = {"x": z[:, 0] + 0.5 * z[:, 1], "size": z[:, 2] * z[:, 1]}
    measured = measure_mig(made_readings(z, factors))

    def bins(values: np.ndarray) -> list[int]:
        ranks = np.argsort(np.argsort(values))
        return [int(rank) // 10 for rank in ranks]  # 200 samples in 20 bins

    gaps = {}
    for name, values in factors.items():
        entropy = naive_mutual_information(bins(values), bins(values))
        shares = sorted(naive_mutual_information(bins(component), bins(values)) / entropy for component in z.T)
        gaps[name] = shares[-1] - shares[-2]
        assert entropy == pytest.approx(math.log(20))
    assert measured["gaps"] == pytest.approx(gaps, abs=1e-12)
    assert measured["mig"] == pytest.approx(sum(gaps.values()) / 2, abs=1e-12)


def naive_dci(R: np.ndarray) -> tuple[float, float]:
    """Component by component and factor by factor, as the paper has it."""

    def entropy(shares: list[float]) -> float:
        return -sum(p * math.log(p, len(shares)) for p in shares if p > 0)

    D = sum((1 - entropy([x / sum(row) for x in row])) * sum(row) / R.sum() for row in R.tolist() if sum(row))
    C = sum((1 - entropy([x / sum(column) for x in column])) * sum(column) / R.sum() for column in R.T.tolist())
    return D, C


@pytest.mark.parametrize("seed", range(3))
def test_dci_scores_equal_naive_reference(seed):
    """Also with a component of no importance."""
    R = np.random.default_rng(seed).exponential(size=(6, 4)) ** 2
    R[2] = 0
    assert (disentanglement(R), completeness(R)) == pytest.approx(naive_dci(R), rel=1e-12)


def test_scores_without_an_answer_are_none():
    """One factor has no disentanglement, a flat generator nothing at all."""
    z = np.random.default_rng(0).normal(size=(100, 2))
    one = measure_dci(made_readings(z, {"x": z[:, 0]}))
    assert math.isnan(one["disentanglement"])
    assert one["completeness"] > 0.8
    flat = made_readings(z, {})
    assert math.isnan(measure_dci(flat)["informativeness"])
    measured = measure_mig(flat)
    assert math.isnan(measured["mig"])
    assert measured["information"].shape == (2, 0)


def test_dci_needs_samples():
    """A forest of five."""
    with pytest.raises(UserError, match="DCI needs at least 50 samples, got 5"):
        measure_dci(read_latents(LatentGenerator(), AxisJudge(), samples=5))
