"""Penalty shares against exact Hessians."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from closed import DoubleGenerator

from directions.config import DiscoverConfig
from directions.evaluation.penalty_share import penalty_shares
from directions.generators.closed_form_maps import Quadratic
from directions.held_out import draw_held_out
from directions.steps import move


def exact_shares(generator, basis, held_out):
    """From the whole Hessian along the basis: each direction's off-diagonal squares."""
    z = move(held_out.points.z, basis, held_out.steps(basis))
    H = basis @ generator.hessian(z, held_out.points.y) @ basis.T
    squares = H.square().mean(dim=(0, 1))
    rows = (squares - torch.diag(squares.diagonal())).sum(dim=1)
    return rows / rows.sum()


@pytest.mark.parametrize("ndirs", [3, 4])
def test_penalty_shares_converge_to_exact_shares(ndirs):
    """With many probes and a small step they are what the Hessian says."""
    generator = DoubleGenerator()
    config = DiscoverConfig(held_out=6, held_out_probes=400, epsilon=1e-3)
    held_out = draw_held_out(generator, config)
    basis = torch.eye(4, dtype=torch.float64)[:ndirs]
    shares = penalty_shares(generator, basis, held_out, num_probes=400)
    torch.testing.assert_close(shares, exact_shares(generator, basis, held_out), rtol=0.05, atol=0.01)
    assert float(shares.sum()) == pytest.approx(1.0)


def test_penalty_shares_are_exact_for_one_pair():
    """Where only two directions are entangled, each has half, from a single probe."""
    H = torch.zeros(1, 4, 4, dtype=torch.float64)
    H[0, 1, 2] = H[0, 2, 1] = 3.0
    H[0, 3, 3] = 50.0  # curvature along one direction is not entanglement
    pair = Quadratic(H)

    class Pair(DoubleGenerator):
        def forward(self, z, y=0, *, truncation=1.0):
            return pair(z).reshape(-1, 1, 1, 1)

    generator = Pair()
    held_out = draw_held_out(generator, DiscoverConfig(held_out=2))
    shares = penalty_shares(generator, torch.eye(4), held_out)
    torch.testing.assert_close(shares, torch.tensor([0.0, 0.5, 0.5, 0.0], dtype=torch.float64), rtol=0, atol=1e-6)


def test_penalty_shares_do_not_depend_on_the_batch():
    """How many images are made at once is a matter of memory."""
    generator = DoubleGenerator()
    held_out = draw_held_out(generator, DiscoverConfig(held_out=3))
    results = [
        penalty_shares(generator, torch.eye(4), dataclasses.replace(held_out, rows=rows)) for rows in (1, 6, 1000)
    ]
    torch.testing.assert_close(results[0], results[1])
    torch.testing.assert_close(results[0], results[2])


def test_penalty_shares_are_equal_without_penalty():
    """A linear generator entangles nothing: no division by zero."""

    class Linear(DoubleGenerator):
        def forward(self, z, y=0, *, truncation=1.0):
            return torch.zeros_like(z).reshape(-1, 4, 1, 1)

    generator = Linear()
    shares = penalty_shares(generator, torch.eye(4), draw_held_out(generator, DiscoverConfig(held_out=2)))
    assert shares.tolist() == [0.25] * 4
