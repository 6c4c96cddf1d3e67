"""The held-out score: right, fixed, independent of how it is computed."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from closed import DoubleGenerator

from directions.config import DiscoverConfig
from directions.held_out import draw_held_out, held_out_penalty
from directions.search import Search


@pytest.fixture
def generator():
    return DoubleGenerator()


CONFIG = DiscoverConfig(held_out=10, held_out_probes=3, epsilon=0.1, path_size=3.0)


def naive_score(generator, basis, held_out, reduction):
    """The score as it is written down: point by point, probe by probe, with the centre term."""
    scores = []
    for n in range(len(held_out.points)):
        z, y = held_out.points.z[n], int(held_out.points.y[n])
        products = basis @ held_out.choosers[n]
        closest = int(products.abs().argmax())
        w = torch.zeros(len(basis), dtype=torch.float64)
        w[closest] = held_out.eta[n] * products[closest].sign()

        def image(step, z=z, y=y):
            return generator((z + step @ basis).unsqueeze(0), y)

        seconds = [
            (image(w + 0.1 * v) - 2 * image(w) + image(w - 0.1 * v)) / 0.1**2
            for v in (held_out.probe_normals[:, n] @ basis.T).sign()
        ]
        variance = torch.stack(seconds).var(dim=0)
        scores.append(float(variance.mean() if reduction == "mean" else variance.max()))
    return sum(scores) / len(scores) if reduction == "mean" else max(scores)


@pytest.mark.parametrize("reduction", ["mean", "max"])
@pytest.mark.parametrize("ndirs", [2, 4])
def test_held_out_penalty_equals_naive_reference(generator, reduction, ndirs):
    """Also for fewer directions than z has components."""
    held_out = draw_held_out(generator, dataclasses.replace(CONFIG, reduction=reduction))
    basis = torch.eye(4, dtype=torch.float64)[:ndirs]
    expected = naive_score(generator, basis, held_out, reduction)
    assert held_out_penalty(generator, basis, held_out) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("reduction", ["mean", "max"])
def test_held_out_penalty_does_not_depend_on_chunks(generator, reduction):
    """How many images are made at once is a matter of memory."""
    held_out = draw_held_out(generator, dataclasses.replace(CONFIG, reduction=reduction))
    scores = [
        held_out_penalty(generator, torch.eye(4), dataclasses.replace(held_out, rows=rows)) for rows in (1, 20, 10_000)
    ]
    assert scores == pytest.approx([scores[0]] * 3, rel=1e-10)


def test_held_out_penalty_is_zero_for_the_true_directions(generator):
    """Each true direction acts by itself, so nothing is left but rounding."""
    held_out = draw_held_out(generator, CONFIG)
    axes = held_out_penalty(generator, torch.eye(4), held_out)
    assert held_out_penalty(generator, generator.directions, held_out) < 1e-12 * axes


def test_draw_held_out_is_the_same_for_every_run(generator):
    """Seed, number of directions and steps of a run do not change what it is scored by."""
    one = draw_held_out(generator, CONFIG)
    other = draw_held_out(generator, dataclasses.replace(CONFIG, seed=5, ndirs=2, steps=9, batch_size=4))
    assert torch.equal(one.points.z, other.points.z)
    assert torch.equal(one.points.y, other.points.y)
    assert torch.equal(one.choosers, other.choosers)
    assert torch.equal(one.probe_normals, other.probe_normals)
    assert torch.equal(one.eta, other.eta)


def random_basis(ndirs, seed=3):
    rng = torch.Generator().manual_seed(seed)
    return torch.linalg.qr(torch.randn(4, 4, generator=rng, dtype=torch.float64)).Q[:ndirs]


def test_held_out_steps_are_those_of_training(generator):
    """One-hot, up to path_size to either side, every direction as often as another, for any basis."""
    held_out = draw_held_out(generator, dataclasses.replace(CONFIG, held_out=3000))
    w = held_out.steps(random_basis(3))
    assert ((w != 0).sum(dim=1) == 1).all()
    assert 2.9 < w.abs().max() <= 3.0
    assert w.sum(dim=1).mean().abs() < 0.15
    assert (((w != 0).sum(dim=0) - 1000).abs() < 100).all()


def test_held_out_probes_are_independent_signs(generator):
    """As the theorem about the variance wants them, in the coordinates of any basis."""
    held_out = draw_held_out(generator, dataclasses.replace(CONFIG, held_out=2000, held_out_probes=2))
    probes = held_out.probes(random_basis(4))
    assert probes.shape == (2, 2000, 4)
    assert torch.equal(probes.abs(), torch.ones_like(probes))
    flat = probes.flatten(0, 1)
    torch.testing.assert_close(flat.T @ flat / len(flat), torch.eye(4, dtype=torch.float64), rtol=0, atol=0.06)
    assert (probes[0] * probes[1]).mean().abs() < 0.04


@pytest.mark.parametrize("ndirs", [2, 4])
def test_held_out_penalty_does_not_depend_on_order_and_sign(generator, ndirs):
    """Directions that are sorted or turned round are the same directions."""
    held_out = draw_held_out(generator, CONFIG)
    basis = random_basis(ndirs)
    turned = basis.flip(0) * torch.tensor([1.0, -1.0, -1.0, 1.0], dtype=torch.float64)[:ndirs, None]
    expected = held_out_penalty(generator, basis, held_out)
    assert held_out_penalty(generator, turned, held_out) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("reduction", ["mean", "max"])
def test_held_out_penalty_does_not_hide_nan(generator, reduction):
    """A maximum over numbers would pass over NaN."""
    held_out = draw_held_out(generator, dataclasses.replace(CONFIG, reduction=reduction))

    def broken(z, y, truncation):
        return generator(z, y) * torch.where(z[:, :1] > 0, 1.0, math.nan)[..., None, None]

    assert math.isnan(held_out_penalty(broken, torch.eye(4), held_out))


def test_search_fills_in_what_the_generator_decides(generator):
    """All of z, as many directions as that has, every class."""
    search = Search.resolve(generator, DiscoverConfig())
    assert (search.ndirs, str(search.space), search.classes) == (4, "0:4", (0, 1, 2))
    part = Search.resolve(generator, DiscoverConfig(space="1:3", classes=("class 1",)))
    assert (part.ndirs, str(part.space), part.classes) == (2, "1:3", (1,))
