"""Evaluations on both sides of a point, probes, whole Hessians and the exact penalty."""

from __future__ import annotations

import pytest
import torch
from closed import DoubleGenerator, Quadratic, RotatedSeparable
from naive import normal, small_network, textbook_gram_schmidt

from directions.errors import UserError
from directions.penalty import (
    check_deterministic,
    exact_hessian,
    hessian_penalty_exact,
    off_diagonal_sum,
    rademacher,
    symmetric_sums,
)


def test_exact_hessian_equals_the_closed_form():
    """Automatic differentiation gives the Hessian written down on paper."""
    Q, weights, w = textbook_gram_schmidt(normal(4, 4)), normal(3, 4, seed=1), normal(2, 4, seed=5)
    for f in (Quadratic(normal(3, 4, 4)), *(RotatedSeparable(Q, weights, curve=curve) for curve in ("cos", "exp"))):
        torch.testing.assert_close(exact_hessian(f, w), f.hessian(w))
    generator = DoubleGenerator(6)
    z = generator.sample_z(2, seed=0)
    torch.testing.assert_close(exact_hessian(lambda z: generator(z, 1), z), generator.hessian(z, 1))


def test_off_diagonal_sum_equals_the_loop():
    """Σ over i ≠ j of H_ij², for any leading axes; the diagonal is never part of it, be it infinite."""
    H = normal(2, 3, 4, 4)
    expected = sum(H[..., i, j] ** 2 for i in range(4) for j in range(4) if i != j)
    torch.testing.assert_close(off_diagonal_sum(H), expected)
    assert off_diagonal_sum(torch.diag(torch.tensor([1e30, -3.0, float("inf")]))) == 0


@pytest.mark.parametrize("reduction", ["mean", "max"])
def test_hessian_penalty_exact_is_twice_the_off_diagonal_sum(reduction):
    """The factor 2 is in it, and the reduction runs over batch and outputs; several tensors are added up."""
    w = normal(3, 4, seed=3)
    sums = 2 * off_diagonal_sum(exact_hessian(small_network, w))
    expected = sums.mean() if reduction == "mean" else sums.max()
    torch.testing.assert_close(hessian_penalty_exact(small_network, w, reduction=reduction), expected)
    both = hessian_penalty_exact(lambda w: (small_network(w), 2 * small_network(w)), w, reduction=reduction)
    torch.testing.assert_close(both, 5 * expected)


def test_hessian_penalty_exact_is_differentiable_by_the_basis():
    """Its gradient with respect to a matrix inside f is the derivative."""
    f, z = RotatedSeparable(textbook_gram_schmidt(normal(3, 3)), normal(2, 3, seed=1)), normal(2, 3, seed=2)
    w = normal(2, 3, seed=3)
    Q = normal(3, 3, seed=4).requires_grad_()
    assert torch.autograd.gradcheck(lambda Q: hessian_penalty_exact(lambda w: f(z + w @ Q), w), Q)


def test_exact_hessian_refuses_several_tensors():
    """There would be several Hessians; the message shows how to choose."""
    with pytest.raises(UserError, match=r"returns one tensor, got 2\. Choose one: lambda w: f\(w\)\[0\]"):
        exact_hessian(lambda w: (w, w), torch.zeros(1, 2))


# Evaluations on both sides, and the check that a map is a fixed function


def test_symmetric_sums_call_f_once_in_the_documented_order():
    """Row (s·k + j)·batch + b is sample b, moved along probe j, forwards for s = 0 and backwards for s = 1."""
    w, probes = normal(3, 4), rademacher((2, 3, 4), torch.Generator().manual_seed(1)).double()
    calls = []
    symmetric_sums(lambda w: calls.append(w) or torch.sin(w), w, probes, epsilon=0.25)
    (rows,) = calls
    torch.testing.assert_close(rows, torch.cat([w + sign * 0.25 * probe for sign in (1, -1) for probe in probes]))


@pytest.mark.parametrize(
    ("f", "message"),
    [
        (lambda w: w.sum(), r"one row for each row it gets: it got 12 rows \(2 signs × 2 probes × 3 points\)"),
        (lambda w: w[:3], r"returned a tensor of shape \(3, 4\)\. Repeat what f holds for each point"),
        (lambda w: [], "or a list or tuple of them, got an empty one"),
        (lambda w: {"image": w}, "must return a floating-point tensor, or a list or tuple of them, got dict"),
        (lambda w: (w, w.long(), None), r"got torch\.float64, torch\.int64, NoneType"),
    ],
)
def test_symmetric_sums_refuse_what_f_must_not_return(f, message):
    """Whatever f returns wrongly, the message says what came and what is wanted."""
    with pytest.raises(UserError, match=message):
        symmetric_sums(f, normal(3, 4), torch.ones(2, 3, 4, dtype=torch.float64), epsilon=0.1)


def test_check_deterministic_tells_fixed_functions_from_others():
    """Noise that would drown the second difference is found, in any of several outputs; NaN twice is the same."""
    for f in (torch.cos, lambda w: [w, w.sum(dim=1)], torch.log):
        check_deterministic(f, normal(3, 4))
    for change in (1e-3, float("nan")):
        factors = iter((1.0, 1.0 + change))
        with pytest.raises(UserError, match=r"different outputs for the same input .*eval mode"):
            check_deterministic(lambda w, factors=factors: (w, w * next(factors)), normal(3, 4))


# Probes


def test_rademacher_signs_are_even_and_independent():
    """Means and products of different coordinates average to zero."""
    probes = rademacher((20_000, 6), torch.Generator().manual_seed(1), dtype=torch.float64)
    assert probes.mean(dim=0).abs().max() < 0.03
    torch.testing.assert_close(probes.mT @ probes / 20_000, torch.eye(6, dtype=torch.float64), rtol=0, atol=0.03)
