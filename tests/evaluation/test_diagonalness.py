"""Diagonalness against whole Hessians by automatic differentiation, closed forms and degenerate generators."""

from __future__ import annotations

import math

import pytest
import torch
from closed import DoubleGenerator
from naive import normal

from directions.errors import NonFiniteError
from directions.evaluation.activeness import diagonalness
from directions.sampling import derived_rng, draw_points


class QuadraticGenerator(DoubleGenerator):
    """Every pixel is ½ zᵀHz, with an H of its own: finite differences are exact, and nothing depends on z."""

    def __init__(self, H):
        super().__init__(dim_z=H.shape[-1], resolution=2, num_classes=0)
        self.H = H

    def forward(self, z, y=0, *, truncation=1.0):
        return torch.einsum("bi,pij,bj->bp", z, self.H, z).div(2).unflatten(1, (3, 2, 2))


def naive(hessians, floor):
    """From whole Hessians (places, n, n), entry by entry as it is written down."""
    on_all, off_all, wins, counted = [], [], 0, 0
    for H in hessians:
        n = len(H)
        on = [abs(float(H[i, i])) for i in range(n)]
        off = [abs(float(H[i, j])) for i in range(n) for j in range(n) if i != j]
        on_all += on
        off_all += off
        if max(on + off) >= floor:
            counted += 1
            wins += max(on) > max(off)
    mean_on, mean_off = sum(on_all) / len(on_all), sum(off_all) / len(off_all)
    return wins / counted, mean_on / mean_off, counted / len(hessians)


def test_diagonalness_equals_naive_reference_on_exact_hessians():
    """For a smooth generator with classes, oblique directions and fewer of them than |z|, at a small step."""
    generator, basis = DoubleGenerator(), torch.linalg.qr(normal(4, 4, seed=1)).Q[:3]
    points = draw_points(generator, 4, derived_rng(1, purpose="diagonalness"), classes=(0, 2), truncation=0.7)
    hessians = (basis @ generator.hessian(points.z, points.y) @ basis.T).flatten(0, 1)
    floor = float(hessians.abs().flatten(1).amax(dim=1).quantile(0.2))
    settings = {"classes": (0, 2), "truncation": 0.7, "seed": 1, "floor": floor}
    measured = diagonalness(generator, basis, samples=4, step=1e-3, **settings)
    share, ratio, counted = naive(hessians, floor)
    assert (measured["share"], measured["counted"]) == pytest.approx((share, counted), abs=1e-12)
    assert measured["ratio"] == pytest.approx(ratio, rel=1e-4)
    assert 0.5 < measured["counted"] < 1


def test_diagonalness_of_a_known_hessian():
    """Two pixels of three bend, one of them most on the diagonal. |diag| is 5 in 6 entries, |off| 2·3 + 2 in 6."""
    H = torch.zeros(12, 2, 2, dtype=torch.float64)
    H[0::3] = torch.tensor([[1.0, -3.0], [-3.0, 0.0]])
    H[1::3] = torch.tensor([[0.0, 1.0], [1.0, -4.0]])
    measured = diagonalness(QuadraticGenerator(H), torch.eye(2), samples=2, step=0.5)
    assert measured["share"] == 0.5
    assert measured["counted"] == pytest.approx(2 / 3)
    assert measured["mean_diagonal"] == pytest.approx(5 / 6)
    assert measured["mean_off_diagonal"] == pytest.approx(8 / 6)
    assert measured["ratio"] == pytest.approx(5 / 8)
    assert measured["chance"] == pytest.approx(2 / 3)


def test_diagonalness_of_what_does_not_bend_or_is_no_number():
    """No share is made up; NaN compares as false, and would count as off the diagonal."""
    flat = diagonalness(QuadraticGenerator(torch.zeros(12, 3, 3).double()), torch.eye(3), samples=2)
    assert math.isnan(flat["share"])
    assert math.isnan(flat["ratio"])
    assert flat["counted"] == 0
    H = torch.full((12, 2, 2), math.nan).double()
    with pytest.raises(NonFiniteError, match="hold NaN or infinity"):
        diagonalness(QuadraticGenerator(H), torch.eye(2), samples=1)
