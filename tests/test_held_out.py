"""The held-out score: right, fixed, independent of how it is computed."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from closed import DoubleGenerator
from naive import normal

from directions.errors import NonFiniteError
from directions.held_out import HeldOutHessians, HessianScore, draw_held_out, held_out_penalty
from directions.joint.measure import draw_base_point, planned_measurement
from directions.sampling import derived_rng
from directions.search import Search
from directions.settings.discover import DiscoverConfig


@pytest.fixture
def generator():
    return DoubleGenerator()


CONFIG = DiscoverConfig(held_out=10, held_out_probes=3, epsilon=0.1, path_size=3.0)


def random_basis(ndirs):
    return torch.linalg.qr(normal(4, 4, seed=3)).Q[:ndirs]


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
    """Also for fewer directions than z has components, in any order and of either sign, whatever fits into a batch."""
    held_out = dataclasses.replace(draw_held_out(generator, CONFIG.replace(reduction=reduction)), rows=20)
    basis = random_basis(ndirs)
    expected = naive_score(generator, basis, held_out, reduction)
    turned = basis.flip(0) * torch.tensor([1.0, -1.0, -1.0, 1.0], dtype=torch.float64)[:ndirs, None]
    for same in (basis, turned):
        assert held_out_penalty(generator, same, held_out) == pytest.approx(expected, rel=1e-9)


def test_held_out_steps_are_those_of_training(generator):
    """One-hot, up to path_size to either side, every direction as often as another, for any basis."""
    held_out = draw_held_out(generator, CONFIG.replace(held_out=3000))
    w = held_out.steps(random_basis(3))
    assert ((w != 0).sum(dim=1) == 1).all()
    assert 2.9 < w.abs().max() <= 3.0
    assert w.sum(dim=1).mean().abs() < 0.15
    assert (((w != 0).sum(dim=0) - 1000).abs() < 100).all()


@pytest.mark.parametrize("reduction", ["mean", "max"])
def test_held_out_penalty_does_not_hide_nan(generator, reduction):
    """A maximum over numbers would pass over NaN."""
    held_out = draw_held_out(generator, CONFIG.replace(reduction=reduction))

    class Broken(DoubleGenerator):
        def forward(self, z, y=0, *, truncation=1.0):
            return super().forward(z, y) * torch.where(z[:, :1] > 0, 1.0, math.nan)[..., None, None]

    assert math.isnan(held_out_penalty(Broken(), torch.eye(4), held_out))


def exact_energies(generator, basis, config, places):
    """From the generator's own Hessians at the places that are drawn, place by place: (off, on) the diagonal."""
    plan = dataclasses.replace(planned_measurement(config, Search.resolve(generator, config)), seed=places)
    energies = []
    for number in range(4):
        points, w = draw_base_point(generator, plan, number)
        H = basis @ generator.hessian(points.z + w, points.y)[0] @ basis.T
        on = H.diagonal(dim1=1, dim2=2).square().sum(dim=1)
        energies.append(torch.stack([(H.square().sum(dim=(1, 2)) - on).mean(), on.mean()]))
    return torch.stack(energies)


@pytest.mark.parametrize(("kind", "rtol"), [("differences", 1e-3), ("gradients", 0.2)])
def test_held_out_hessians_equal_exact_ones(generator, monkeypatch, kind, rtol):
    """Off and on the diagonal, place by place, for some or all directions; estimated by gradients in large spaces."""
    monkeypatch.setattr("directions.held_out.suggested_kind", lambda size: kind)
    seed = int(torch.randint(2**62, (), generator=derived_rng(0, purpose="held-out Hessians")))
    config, made = CONFIG.replace(epsilon=1e-3), []
    measured = HeldOutHessians.measure(generator, config, places=4, output_probes=400, count=made.append)
    for basis in (random_basis(4), random_basis(2)):
        expected = exact_energies(generator, basis, config, seed)
        torch.testing.assert_close(measured.score(basis).per_place, expected, rtol=rtol, atol=1e-6)
    assert sum(made) == HeldOutHessians.images(4, places=4)


def test_held_out_hessians_tell_true_from_random_directions(generator):
    """All the energy is on the diagonal along the true ones; random ones have what chance gives."""
    measured = HeldOutHessians.measure(generator, CONFIG, places=4)
    true, random = measured.score(generator.directions), measured.random(bases=20)
    assert true.share_on_diagonal > 0.9999
    assert random.share_on_diagonal < 0.7
    assert measured.random(2, bases=1).per_place.shape == (4, 2)


def test_held_out_hessians_do_not_depend_on_the_run(generator):
    """Its seed, number of directions and method change nothing; the seed of the places does."""
    one, other, elsewhere = (
        HeldOutHessians.measure(generator, CONFIG.replace(**changes), places=2, seed=seed)
        for changes, seed in (({}, 0), ({"seed": 5, "ndirs": 2, "measurement": "gradients"}, 0), ({}, 1))
    )
    assert all(map(torch.equal, one.places, other.places))
    assert not torch.equal(one.score(torch.eye(4)).per_place, elsewhere.score(torch.eye(4)).per_place)


def test_held_out_hessians_name_what_is_not_finite(generator):
    """NaN is named with its place."""
    generator.map.weights *= math.nan
    with pytest.raises(NonFiniteError, match="Hessian at held-out place 0 is not finite"):
        HeldOutHessians.measure(generator, CONFIG)


def test_hessian_score_has_standard_errors():
    """Of the mean over places, and of a ratio of two means."""
    score = HessianScore(torch.tensor([[3.0, 1.0], [6.0, 2.0], [9.0, 3.0]]).double())
    assert score.off_diagonal == 6
    assert score.off_diagonal_error == pytest.approx(3 / 3**0.5)
    assert (score.share_on_diagonal, score.share_error) == (0.25, pytest.approx(0, abs=1e-12))
    single = HessianScore(torch.zeros(1, 2).double())
    assert set(single.to_dict().values()) == {0.0, None}
