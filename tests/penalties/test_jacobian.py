"""The Jacobian penalty: closed form, naive reference, conventions."""

from __future__ import annotations

import pytest
import torch
from naive import all_signs, normal, small_network

from directions.penalty import (
    jacobian_penalty,
    jacobian_penalty_exact,
    off_diagonal_sum,
    penalty_per_sample,
    rademacher,
)


def textbook(f, w: torch.Tensor, probes: torch.Tensor, epsilon: float) -> torch.Tensor:
    """The paper's estimate as it is written: one point and one probe at a time; the mean over outputs for their sum."""
    each = []
    for b in range(len(w)):
        centre = f(w[b : b + 1]).flatten()
        products = []
        for probe in probes[:, b]:
            Jv = (f(w[b : b + 1] + epsilon * probe).flatten() - centre) / epsilon
            products.append(Jv @ Jv / len(Jv))
        each.append(torch.stack(products).var(unbiased=True))
    return torch.stack(each)


@pytest.mark.parametrize("n", [1, 2, 6])
def test_variance_over_all_signs_is_twice_the_off_diagonal_sum(n):
    """For a linear map, exactly, at any step, when the probes are the whole population of sign vectors."""
    A = normal(n, 5)
    population = all_signs(n)
    w = normal(2, n, seed=1)
    estimate = jacobian_penalty(lambda w: w @ A, w, epsilon=0.7, probes=population.unsqueeze(1).expand(-1, 2, -1))
    expected = 2 * off_diagonal_sum(A @ A.mT / 5)
    torch.testing.assert_close(estimate * (len(population) - 1) / len(population), expected)
    torch.testing.assert_close(jacobian_penalty_exact(lambda w: w @ A, w), expected)


@pytest.mark.parametrize("epsilon", [0.1, 0.5])
def test_jacobian_penalty_equals_the_textbook(epsilon):
    """Values for each sample, their mean and their largest, and the gradient."""
    w, probes = normal(3, 4).requires_grad_(), rademacher((3, 3, 4), torch.Generator().manual_seed(1)).double()
    expected = textbook(small_network, w, probes, epsilon)
    arguments = {"epsilon": epsilon, "probes": probes}
    torch.testing.assert_close(penalty_per_sample(small_network, w, criterion="jacobian", **arguments), expected)
    torch.testing.assert_close(jacobian_penalty(small_network, w, **arguments, reduction="max"), expected.max())
    mean = jacobian_penalty(small_network, w, **arguments)
    torch.testing.assert_close(mean, expected.mean())
    torch.testing.assert_close(torch.autograd.grad(mean, w), torch.autograd.grad(expected.mean(), w))


def test_jacobian_penalty_converges_to_the_exact_one():
    """As the step goes to zero, in the mean over draws."""
    w = normal(1, 4).expand(20_000, 4)
    estimate = jacobian_penalty(small_network, w, epsilon=1e-4, rng=torch.Generator().manual_seed(0))
    assert float(estimate) == pytest.approx(float(jacobian_penalty_exact(small_network, w[:1])), rel=0.05)


def test_f_is_called_once_with_the_points_first():
    """Row r belongs to sample r % batch."""
    w, probes = normal(3, 4), rademacher((2, 3, 4), torch.Generator().manual_seed(1)).double()
    calls = []
    jacobian_penalty(lambda w: calls.append(w) or torch.sin(w), w, epsilon=0.25, probes=probes)
    (points,) = calls
    torch.testing.assert_close(points, torch.cat((w, w + 0.25 * probes[0], w + 0.25 * probes[1])))
