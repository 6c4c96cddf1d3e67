"""Activeness, path sizes, shares and diagonalness against their definitions, closed forms and whole Hessians."""

from __future__ import annotations

import math

import pytest
import torch
from closed import DoubleGenerator
from naive import normal

from directions.basis import SearchSpace
from directions.errors import NonFiniteError
from directions.evaluation.activeness import (
    activeness,
    component_activeness,
    diagonalness,
    penalty_shares,
    prior_radius,
    suggested_path_sizes,
)
from directions.generators import base
from directions.generators.progan import ProGAN, ProGANNetwork
from directions.held_out import draw_held_out
from directions.sampling import derived_rng, draw_points, move
from directions.settings.discover import DiscoverConfig


def naive_activeness(generator, direction, samples, classes, truncation, seed):
    """Sample by sample, as it is written down."""
    points = draw_points(
        generator, samples, derived_rng(seed, purpose="activeness"), classes=classes, truncation=truncation
    )
    total = 0.0
    for z, y in zip(points.z, points.y, strict=True):
        centred = z - (z @ direction) * direction
        images = [generator((centred + c * truncation * direction).unsqueeze(0), int(y)) for c in (-2, 0, 2)]
        total += float(torch.stack(images).var(dim=0, unbiased=True).mean())
    return total / samples


def test_activeness_equals_naive_reference():
    """For oblique directions, a part of the classes, and a truncated prior."""
    generator = DoubleGenerator()
    basis = torch.linalg.qr(normal(4, 4, seed=1)).Q[:3]
    settings = {"samples": 5, "classes": (0, 2), "truncation": 0.5, "seed": 3}
    expected = [naive_activeness(generator, direction, **settings) for direction in basis]
    assert activeness(generator, basis, rows=6, **settings).tolist() == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("dim_z", [12, 3])
def test_component_activeness_of_a_progan_is_behind_its_norm(dim_z):
    """As the paper's figures.py: z is normalised and then edited, from 12 components on; else before."""
    torch.manual_seed(0)
    network = ProGANNetwork(dim_z, [4, 4])
    network.blocks[0].dense.weight.data[:, 1] = 0
    generator = ProGAN(network, name="small", digest="0")
    measured = component_activeness(generator, samples=5)["activeness"]
    edited = generator.after_norm() if dim_z == 12 else generator
    assert measured == activeness(edited, torch.eye(dim_z), samples=5).tolist()
    assert (measured[1] == 0) == (dim_z == 12)  # the others stay as they are


class Normal(DoubleGenerator):
    """Draws z from the normal prior."""

    draw = staticmethod(base.normal)


@pytest.mark.parametrize(("dim", "radius"), [(12, 2.86), (100, 3.47)])
def test_prior_radius_is_what_95_percent_of_draws_stay_within(dim, radius):
    """Along all of n orthonormal directions at once; the values that the docstring names."""
    assert prior_radius(Normal(dim, 1), 0.5) == pytest.approx(0.5 * radius, rel=0.01)
    z = torch.randn(20_000, dim, generator=torch.Generator().manual_seed(1))
    assert float((z.abs().amax(dim=1) <= radius).double().mean()) == pytest.approx(0.95, abs=0.01)
    of_some = prior_radius(Normal(dim + 20, 1), space=SearchSpace(20, dim + 20, dim + 20))
    assert of_some == pytest.approx(prior_radius(Normal(dim, 1)), rel=0.02)
    assert prior_radius(DoubleGenerator(12, 1)) == pytest.approx(2.52, abs=0.03)  # a truncated prior's is shorter


class Saturating(DoubleGenerator):
    """Component 0 changes the image steadily, component 1 stops at a distance of 1 from the centre."""

    def forward(self, z, y=0, *, truncation=1.0):
        return torch.stack((z[:, 0], z[:, 1].clamp(-1, 1)), dim=1).reshape(-1, 2, 1, 1)


@pytest.mark.parametrize(("largest", "expected"), [(1.6, (1.6, 1.2)), (4.0, (2.19, 1.1))])
def test_suggested_path_sizes_end_where_the_image_stops_changing(largest, expected):
    """The stage in which the image comes to rest is the last one; the prior bounds what is asked for."""
    sizes = suggested_path_sizes(Saturating(), torch.eye(4)[:2], largest=largest, samples=3, classes=(0,))
    assert sizes == pytest.approx(expected, abs=0.01)


def exact_shares(generator, basis, held_out):
    """From the whole Hessian along the basis: each direction's off-diagonal squares."""
    z = move(held_out.points.z, basis, held_out.steps(basis))
    H = basis @ generator.hessian(z, held_out.points.y) @ basis.T
    squares = H.square().mean(dim=(0, 1))
    rows = (squares - torch.diag(squares.diagonal())).sum(dim=1)
    return rows / rows.sum()


def test_penalty_shares_converge_to_exact_shares():
    """With many probes and a small step they are what the Hessian says."""
    generator = DoubleGenerator()
    held_out = draw_held_out(generator, DiscoverConfig(held_out=6, held_out_probes=400, epsilon=1e-3))
    basis = torch.eye(4, dtype=torch.float64)[:3]
    shares = penalty_shares(generator, basis, held_out, num_probes=400)
    torch.testing.assert_close(shares, exact_shares(generator, basis, held_out), rtol=0.05, atol=0.01)
    assert float(shares.sum()) == pytest.approx(1.0)


def naive_diagonalness(hessians, floor):
    """From whole Hessians (places, n, n), as it is written down."""
    n = hessians.shape[1]
    on = hessians.abs() * torch.eye(n)
    off = hessians.abs() - on
    largest_on, largest_off = (entries.flatten(1).amax(dim=1) for entries in (on, off))
    counted = torch.maximum(largest_on, largest_off) >= floor
    share = float((largest_on > largest_off)[counted].double().mean())
    return share, float(on.sum() / n / (off.sum() / (n * n - n))), float(counted.double().mean())


def test_diagonalness_equals_naive_reference_on_exact_hessians():
    """For a smooth generator with classes, oblique directions and fewer of them than |z|, at a small step."""
    generator, basis = DoubleGenerator(), torch.linalg.qr(normal(4, 4, seed=1)).Q[:3]
    points = draw_points(generator, 4, derived_rng(1, purpose="diagonalness"), classes=(0, 2), truncation=0.7)
    hessians = (basis @ generator.hessian(points.z, points.y) @ basis.T).flatten(0, 1)
    floor = float(hessians.abs().flatten(1).amax(dim=1).quantile(0.2))
    settings = {"classes": (0, 2), "truncation": 0.7, "seed": 1, "floor": floor}
    measured = diagonalness(generator, basis, samples=4, step=1e-3, **settings)
    share, ratio, counted = naive_diagonalness(hessians, floor)
    assert (measured["share"], measured["counted"]) == pytest.approx((share, counted), abs=1e-12)
    assert measured["ratio"] == pytest.approx(ratio, rel=1e-4)
    assert measured["chance"] == pytest.approx(1 / 2)  # 3 entries on the diagonal, and 3 different ones beside it
    assert 0.5 < measured["counted"] < 1


def test_diagonalness_of_what_does_not_bend_or_is_no_number():
    """No share is made up; NaN compares as false, and would count as off the diagonal."""
    generator = DoubleGenerator(num_classes=0)
    generator.map.weights.zero_()
    flat = diagonalness(generator, torch.eye(4), samples=2)
    assert math.isnan(flat["share"])
    assert math.isnan(flat["ratio"])
    assert flat["counted"] == 0
    generator.map.weights.fill_(math.nan)
    with pytest.raises(NonFiniteError, match="hold NaN or infinity"):
        diagonalness(generator, torch.eye(4), samples=1)
