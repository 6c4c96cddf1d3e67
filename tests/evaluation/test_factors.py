"""The factor table, on a generator and a judge whose factors are known in closed form."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor

from directions.errors import UserError
from directions.evaluation.factors import FactorTable, draw_base_points, judge_of, measure_factors
from directions.evaluation.scene_reader import SCENE_FACTORS, SHAPES, SceneReader

DIM_Z = 5


class LatentGenerator:
    """Makes "images" that are the latents themselves, moved by the class, so that a reader can know everything."""

    name, dim_z, num_classes, resolution = "fake", DIM_Z, 3, 1
    device = torch.device("cpu")

    def __init__(self) -> None:
        self.classes: list[int] = []
        self.truncations: set[float] = set()
        self.calls: list[int] = []

    def sample_z_from(self, n: int, rng: torch.Generator, truncation: float = 1.0) -> Tensor:
        return truncation * torch.randn(n, self.dim_z, generator=rng, dtype=torch.float64)

    def class_indices(self, y: list[int | str], n: int) -> Tensor:
        assert len(y) == n
        return torch.tensor([("cube", "sphere", "cylinder").index(c) if isinstance(c, str) else c for c in y])

    def __call__(self, z: Tensor, y: Tensor | None = None, *, truncation: float = 1.0) -> Tensor:
        assert y is not None
        assert len(y) == len(z)
        self.classes += y.tolist()
        self.truncations.add(truncation)
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


class StepJudge(LinearJudge):
    """Shape turns from cube to sphere where the last latent is above 0; nothing else ever changes."""

    def __init__(self) -> None:
        super().__init__(dict.fromkeys(DEVIATIONS, 0.0))

    def read(self, images: Tensor, y: Tensor | None) -> Tensor:
        sphere = (images[:, 0, 0, -1] > 0).to(images)
        factors = super().read(images, y)
        factors[:, 4:] = torch.stack((1 - sphere, sphere, torch.zeros_like(sphere)), dim=1)
        return factors


GAINS = {"hue": 0.5, "x": 1.0, "y": 2.0, "size": 0.25}


def random_orthonormal(seed: int) -> np.ndarray:
    return np.linalg.qr(np.random.default_rng(seed).normal(size=(DIM_Z, DIM_Z)))[0]


def test_measure_factors_gives_the_exact_effects_of_linear_factors():
    """E_ik is the squared directional derivative times the mean squared step, for any orthonormal directions."""
    generator, judge, Q = LatentGenerator(), LinearJudge(GAINS), random_orthonormal(0)
    sizes = [0.2, 0.4, 0.6, 0.8, 1.0]
    table = measure_factors(generator, Q, judge, path_sizes=sizes, num_points=50, seed=3)
    fraction = draw_base_points(generator, 50, classes=None, truncation=1.0, seed=3)[2].numpy()
    jacobian = np.diag([*GAINS.values(), 0.0])
    expected = (Q @ jacobian) ** 2 * np.square(sizes)[:, None] * np.mean(fraction**2)
    np.testing.assert_allclose(table.effects, expected, rtol=1e-9, atol=1e-12)


def test_single_factor_share_is_one_for_a_pure_basis():
    """Directions along the factors score 1 by both numbers, whatever the gains; the idle one has no weight."""
    table = measure_factors(LatentGenerator(), np.eye(DIM_Z), LinearJudge(GAINS), path_sizes=1.0, num_points=16)
    assert table.single_factor_share == pytest.approx(1.0, abs=1e-12)
    assert table.disentanglement == pytest.approx(1.0, abs=1e-12)
    assert not table.effects[-1].any()
    assert table.purities[-1] == 0


@pytest.mark.parametrize("seed", range(5))
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
    table = measure_factors(generator, np.eye(DIM_Z), StepJudge(), path_sizes=2.0, num_points=200, seed=1)
    z, _, fraction = draw_base_points(generator, 200, classes=None, truncation=1.0, seed=1)
    last, step = z[:, -1], 2.0 * fraction
    flips = ((last > 0) != (last + step > 0)).double() + ((last > 0) != (last - step > 0)).double()
    expected = np.zeros((DIM_Z, 5))
    expected[-1, SCENE_FACTORS.index("shape")] = 3 * flips.mean().item() / 2
    assert 0.1 < flips.mean() < 1.9
    np.testing.assert_allclose(table.effects, expected, rtol=1e-12)


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


@pytest.mark.parametrize("batch", [1, 7, 1000])
def test_measure_factors_does_not_depend_on_the_batch(batch: int):
    """Batches cut the same rows in the same order, and none is larger than asked."""
    generator = LatentGenerator()
    settings = {"path_sizes": 1.0, "num_points": 10}
    expected = measure_factors(LatentGenerator(), random_orthonormal(1), LinearJudge(GAINS), **settings)
    table = measure_factors(generator, random_orthonormal(1), LinearJudge(GAINS), batch=batch, **settings)
    np.testing.assert_array_equal(table.effects, expected.effects)
    assert max(generator.calls) <= batch
    assert sum(generator.calls) == 10 * (2 * DIM_Z + 1)


def test_base_points_spread_classes_and_steps_evenly():
    """Each class comes equally often, one step falls into each n-th part of the path, and none is zero."""
    _, y, fraction = draw_base_points(LatentGenerator(), 60, classes=None, truncation=0.5, seed=4)
    assert y.bincount().tolist() == [20, 20, 20]
    np.testing.assert_array_equal(np.sort((fraction * 60).ceil().numpy()), np.arange(1, 61))
    _, y, _ = draw_base_points(LatentGenerator(), 60, classes=["cylinder", 0], truncation=0.5, seed=4)
    assert y.bincount().tolist() == [30, 0, 30]


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
    generator.judge = OwnJudge()
    assert judge_of(generator) is generator.judge


def test_judge_of_scenes_is_the_package_s():
    """By the classes and the size; nobody reads other images."""
    scenes = SimpleNamespace(class_names=SHAPES, resolution=64, device="cpu")
    assert isinstance(judge_of(scenes), SceneReader)
    assert judge_of(SimpleNamespace(class_names=SHAPES, resolution=32, device="cpu")) is None


def test_table_of_directions_that_do_nothing_is_zero_and_not_nan():
    """No effect anywhere gives zeros, which JSON can hold."""
    judge = LinearJudge(dict.fromkeys(DEVIATIONS, 0.0))
    table = measure_factors(LatentGenerator(), np.eye(DIM_Z), judge, path_sizes=1.0, num_points=4)
    assert table.single_factor_share == table.disentanglement == 0.0
    assert "NaN" not in json.dumps(table.to_dict())


def test_table_numbers_and_json_of_an_example():
    """Purities 0.9 and 0.5 with equal weights: 0.7; everything is plain Python, in the order of the directions."""
    effects = np.array([[0.9, 0.05, 0.05, 0.0, 0.0], [0.0, 0.25, 0.25, 0.0, 0.5]])
    table = FactorTable(("tint", "d1"), (2.0, 1.5), effects, points=192, truncation=1.0, seed=0)
    assert table.purities.tolist() == pytest.approx([0.9, 0.5])
    loaded = json.loads(json.dumps(table.to_dict()))
    assert loaded["single_factor_share"] == pytest.approx(0.7)
    assert [item["factor"] for item in loaded["directions"]] == ["hue", "shape"]
    assert loaded["directions"][0]["effects"] == dict(zip(SCENE_FACTORS, [0.9, 0.05, 0.05, 0.0, 0.0], strict=True))


@pytest.mark.parametrize(
    ("directions", "message"),
    [
        (2 * np.eye(DIM_Z), "basis must have orthonormal rows"),
        (np.eye(4), "as wide as the generator's z, 5, got width 4"),
    ],
)
def test_measure_factors_refuses_bad_input(directions: np.ndarray, message: str):
    """What, got, allowed."""
    with pytest.raises(UserError, match=message):
        measure_factors(LatentGenerator(), directions, LinearJudge(GAINS), path_sizes=1.0, num_points=4)
