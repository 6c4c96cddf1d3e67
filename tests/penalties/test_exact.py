"""Whole Hessians and the exact penalty."""

from __future__ import annotations

import pytest
import torch
from closed import DoubleGenerator, Quadratic, RotatedSeparable
from naive import difference_hessian, normal, small_network, textbook_gram_schmidt

from directions.errors import UserError
from directions.penalty import exact_hessian, hessian_penalty, hessian_penalty_exact, off_diagonal_sum


@pytest.mark.parametrize(
    "f",
    [
        Quadratic(normal(3, 4, 4)),
        RotatedSeparable(textbook_gram_schmidt(normal(4, 4)), normal(3, 4, seed=1), curve="cos"),
        RotatedSeparable(textbook_gram_schmidt(normal(4, 4)), normal(3, 4, seed=1), curve="exp"),
    ],
    ids=["quadratic", "cos", "exp"],
)
def test_exact_hessian_equals_the_closed_form(f):
    """Automatic differentiation gives the Hessian written down on paper."""
    w = normal(2, 4, seed=5)
    torch.testing.assert_close(exact_hessian(f, w), f.hessian(w))


def test_closed_form_generator_has_its_hessians_and_no_penalty_along_its_directions():
    """That of the tests: the closed form equals automatic differentiation, class by class; z axes have a penalty."""
    generator = DoubleGenerator(6)
    z, w = generator.sample_z(2, seed=0), torch.zeros(2, 6, dtype=torch.float64)

    def penalty(Q, y):
        rng = torch.Generator().manual_seed(0)
        return hessian_penalty(lambda w: generator(z.repeat(len(w) // 2, 1) + w @ Q, y), w, num_probes=4, rng=rng)

    for y in range(3):
        torch.testing.assert_close(exact_hessian(lambda z, y=y: generator(z, y), z), generator.hessian(z, y))
        assert penalty(generator.directions, y) < 1e-8 * penalty(torch.eye(6, dtype=torch.float64), y)


def test_exact_hessian_equals_differences():
    """On a network without a closed form, four evaluations an entry agree."""
    w = normal(3, 4, seed=3)
    H = exact_hessian(small_network, w)
    assert H.shape == (3, 6, 4, 4)
    torch.testing.assert_close(H, difference_hessian(small_network, w), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(H, H.mT)


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
