"""The factor table, DCI and MIG, on generators and judges whose factors are known in closed form."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import ClassVar

import numpy as np
import pytest
import torch
from closed import DoubleGenerator
from scipy.special import rel_entr
from torch import Tensor

from directions.errors import UserError
from directions.evaluation.factors import (
    FactorTable,
    LatentReadings,
    draw_base_points,
    judge_of,
    measure_dci,
    measure_factors,
    measure_mig,
    read_latents,
)
from directions.evaluation.scene_reader import SCENE_FACTORS, SHAPES, SceneReader
from directions.generators.base import normal

DIM_Z = 5


class LatentGenerator(DoubleGenerator):
    """Makes "images" that are the latents themselves, so that a reader can know everything."""

    draw = staticmethod(normal)

    def __init__(self, dim_z: int = DIM_Z, num_classes: int = 3) -> None:
        super().__init__(dim_z, 1, num_classes=num_classes)
        self.calls: list[int] = []

    def forward(self, z: Tensor, y: Tensor | None = None, *, truncation: float = 1.0) -> Tensor:
        self.calls.append(len(z))
        return z[:, None, None, :]


DEVIATIONS = {"hue": 0.2, "x": 0.75, "y": 0.9, "size": 0.1}


class LinearJudge:
    """Factors that are linear in the "image": factor k moves by ``gain[k]`` standard deviations for a unit of z_k."""

    names = ("hue", "x", "y", "size", "shape", "shape", "shape")
    spread: ClassVar = {name: deviation**2 for name, deviation in DEVIATIONS.items()} | {"shape": 2 / 3}
    periods: ClassVar = {"hue": 1.0}

    def __init__(self, gains: dict[str, float]) -> None:
        self.gains = gains

    def read(self, images: Tensor, y: Tensor | None) -> Tensor:
        z = images[:, 0, 0, :]
        columns = [z[:, k] * self.gains[name] * DEVIATIONS[name] for k, name in enumerate(DEVIATIONS)]
        return torch.stack([*columns, *[torch.full_like(columns[0], 1 / 3)] * 3], dim=1)


class AxisJudge(LinearJudge):
    """Hue is z0, x is z1, y is z2, size never changes; a sphere where z3 > 0, else a cube."""

    def read(self, images: Tensor, y: Tensor | None) -> Tensor:
        z = images[:, 0, 0, :]
        sphere, none = (z[:, 3] > 0).to(z), torch.zeros_like(z[:, 0])
        return torch.stack([z[:, 0] * 0.1, z[:, 1], z[:, 2], none + 0.6, 1 - sphere, sphere, none], dim=1)


GAINS = {"hue": 0.5, "x": 1.0, "y": 2.0, "size": 0.25}


def random_orthonormal(seed: int) -> np.ndarray:
    return np.linalg.qr(np.random.default_rng(seed).normal(size=(DIM_Z, DIM_Z)))[0]


def test_measure_factors_gives_the_exact_effects_of_linear_factors():
    """E_ik is the squared directional derivative times the mean squared step, for any directions, in batches."""
    generator, judge, Q = LatentGenerator(), LinearJudge(GAINS), random_orthonormal(0)
    sizes = [0.2, 0.4, 0.6, 0.8, 1.0]
    table = measure_factors(generator, Q, judge, path_sizes=sizes, num_points=50, seed=3, batch=7)
    assert (max(generator.calls), sum(generator.calls)) == (7, 50 * (2 * DIM_Z + 1))
    fraction = draw_base_points(generator, 50, classes=None, truncation=1.0, seed=3)[2].numpy()
    jacobian = np.diag([*GAINS.values(), 0.0])
    expected = (Q @ jacobian) ** 2 * np.square(sizes)[:, None] * np.mean(fraction**2)
    np.testing.assert_allclose(table.effects, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("seed", range(2))
def test_rotation_of_a_pure_basis_lowers_the_number_and_keeps_each_factors_total(seed: int):
    """A law: column sums over a complete basis do not depend on it, and no basis beats the pure one."""

    def measure(Q: np.ndarray) -> FactorTable:
        return measure_factors(LatentGenerator(), Q, LinearJudge(GAINS), path_sizes=0.5, num_points=16)

    pure, turned = measure(np.eye(DIM_Z)), measure(random_orthonormal(seed))
    np.testing.assert_allclose(turned.effects.sum(axis=0), pure.effects.sum(axis=0), rtol=1e-9, atol=1e-12)
    assert turned.single_factor_share < pure.single_factor_share - 0.05
    assert turned.disentanglement < pure.disentanglement - 0.05


def test_shape_flip_counts_three_variances_on_each_side_that_flips():
    """A flip changes two probabilities by 1: squared length 2, over the one-hot variance 2/3, makes 3."""
    generator = LatentGenerator()
    table = measure_factors(generator, np.eye(DIM_Z), AxisJudge({}), path_sizes=2.0, num_points=200, seed=1)
    z, _, fraction = draw_base_points(generator, 200, classes=None, truncation=1.0, seed=1)
    z3, step = z[:, 3], 2.0 * fraction
    flips = ((z3 > 0) != (z3 + step > 0)).double() + ((z3 > 0) != (z3 - step > 0)).double()
    assert 0.1 < flips.mean() < 1.9
    expected = [0, 0, 0, 3 * flips.mean().item() / 2, 0]
    np.testing.assert_allclose(table.effects[:, SCENE_FACTORS.index("shape")], expected, rtol=1e-12)


def test_factors_on_a_circle_go_the_short_way_round():
    """A reading that jumps over the cut of the hue scale counts as the small change that it is."""

    class JumpingJudge(LinearJudge):
        def read(self, images: Tensor, y: Tensor | None) -> Tensor:
            factors = super().read(images, y)
            factors[:, 0] -= (images[:, 0, 0, 0] > 0).to(factors)
            return factors

    settings = {"path_sizes": 1.0, "num_points": 32}
    smooth = measure_factors(LatentGenerator(), np.eye(DIM_Z), LinearJudge(GAINS), **settings)
    jumping = measure_factors(LatentGenerator(), np.eye(DIM_Z), JumpingJudge(GAINS), **settings)
    np.testing.assert_allclose(jumping.effects, smooth.effects, atol=1e-9)


def test_the_judge_decides_which_factors_there_are():
    """Two factors, one of which the class moves; the judge is told the classes."""

    class OwnJudge:
        names, spread, periods = ("ink", "width"), {"ink": 4.0, "width": 1.0}, {}

        def read(self, images: Tensor, y: Tensor | None) -> Tensor:
            return torch.stack((images[:, 0, 0, 0] + 10 * y, images[:, 0, 0, 1]), dim=1)

    generator = LatentGenerator()
    table = measure_factors(generator, np.eye(DIM_Z), OwnJudge(), path_sizes=1.0, num_points=12)
    assert table.factors == ("ink", "width")
    assert table.effects[0, 0] == pytest.approx(table.effects[1, 1] / 4)
    assert (table.single_factor_share, table.disentanglement) == pytest.approx((1.0, 1.0))
    assert list(table.to_dict()["directions"][0]["effects"]) == ["ink", "width"]


def test_judge_of_a_generator_is_its_own_or_the_package_s():
    """By the classes and the size; nobody reads other images."""
    assert judge_of(SimpleNamespace(judge="own", class_names=SHAPES, resolution=64)) == "own"
    scenes = SimpleNamespace(class_names=SHAPES, resolution=64, device="cpu")
    assert isinstance(judge_of(scenes), SceneReader)
    assert judge_of(SimpleNamespace(class_names=SHAPES, resolution=32, device="cpu")) is None


def test_measure_factors_refuses_bad_input():
    """What, got, allowed."""
    for Q, message in ((2 * np.eye(DIM_Z), "must have orthonormal rows"), (np.eye(4), "generator's z, 5, got width 4")):
        with pytest.raises(UserError, match=message):
            measure_factors(LatentGenerator(), Q, LinearJudge(GAINS), path_sizes=1.0, num_points=4)


def made_readings(z: np.ndarray, factors: dict[str, np.ndarray]) -> LatentReadings:
    """Readings of which only some factors vary."""
    targets = {name: values[:, None] for name, values in factors.items()}
    spreads = dict.fromkeys(SCENE_FACTORS, 0.0) | {name: float(values.std()) for name, values in factors.items()}
    return LatentReadings(z, targets, factors, spreads)


@pytest.fixture(scope="module")
def readings():
    return read_latents(LatentGenerator(6, num_classes=0), AxisJudge({}), samples=3000)


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


def test_disentangled_code_scores_one(readings):
    """Every factor from one component of its own."""
    dci, mig = measure_dci(readings), measure_mig(readings)
    assert dci["factors"] == mig["factors"] == ("hue", "x", "y", "shape")
    assert min(dci["disentanglement"], dci["completeness"], dci["informativeness"]) > 0.97
    np.testing.assert_allclose(dci["importances"][:4], np.eye(4), atol=0.02)
    np.testing.assert_allclose(dci["importances"].sum(axis=0), 1)
    assert mig["gaps"]["x"] > 0.95
    assert mig["information"].argmax(axis=0).tolist() == [0, 1, 2, 3]


def naive_mutual_information(a: np.ndarray, b: np.ndarray) -> float:
    """Sum over pairs of values of p log p / (p p), in nats."""
    joint = np.histogram2d(a, b, bins=20)[0] / len(a)
    return float(rel_entr(joint, np.outer(joint.sum(axis=1), joint.sum(axis=0))).sum())


def test_mig_equals_naive_reference():
    """Bins by rank, information by counting, gaps by sorting."""
    rng = np.random.default_rng(1)
    z = rng.normal(size=(200, 3))
    factors = {"x": z[:, 0] + 0.5 * z[:, 1], "size": z[:, 2] * z[:, 1]}
    measured = measure_mig(made_readings(z, factors))

    def bins(values: np.ndarray) -> np.ndarray:
        return np.argsort(np.argsort(values)) // 10  # 200 samples in 20 bins

    gaps = {}
    for name, values in factors.items():
        entropy = naive_mutual_information(bins(values), bins(values))
        shares = sorted(naive_mutual_information(bins(component), bins(values)) / entropy for component in z.T)
        gaps[name] = shares[-1] - shares[-2]
        assert entropy == pytest.approx(math.log(20))
    assert measured["gaps"] == pytest.approx(gaps, abs=1e-12)
    assert measured["mig"] == pytest.approx(sum(gaps.values()) / 2, abs=1e-12)


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
