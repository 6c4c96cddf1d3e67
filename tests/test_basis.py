"""A -> Q: Gram–Schmidt against the textbook loop, its laws and its errors; search spaces and starting matrices."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from naive import textbook_gram_schmidt

from directions.basis import SearchSpace, check_orthonormal, gram_schmidt, random_basis
from directions.errors import UserError


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def random_frame(ndirs: int, dim: int, seed: int) -> torch.Tensor:
    """Orthonormal rows by the textbook loop, in float64."""
    return textbook_gram_schmidt(torch.randn(ndirs, dim, generator=rng(seed), dtype=torch.float64))


def mixing(ndirs: int, seed: int) -> torch.Tensor:
    """A lower triangle with a positive diagonal: what Gram–Schmidt has to undo."""
    source = rng(seed + 1)
    triangle = torch.randn(ndirs, ndirs, generator=source, dtype=torch.float64).div(ndirs**0.5).tril(-1)
    return triangle + torch.diag(0.5 + torch.rand(ndirs, generator=source, dtype=torch.float64))


@st.composite
def matrices(draw, max_dim: int = 14) -> torch.Tensor:
    """Full-rank matrices (ndirs, dim), ndirs <= dim, of every shape up to max_dim."""
    dim = draw(st.integers(1, max_dim))
    ndirs = draw(st.integers(1, dim))
    seed = draw(st.integers(0, 10_000))
    return mixing(ndirs, seed) @ random_frame(ndirs, dim, seed)


# Naive reference


@settings(deadline=None, max_examples=30)
@given(A=matrices(), seed=st.integers(0, 1000))
def test_gram_schmidt_equals_the_textbook_loop_with_gradient(A, seed):
    """Values and gradients are the loop's, for as many rows as columns and for fewer."""
    weights = torch.randn(A.shape, generator=rng(seed), dtype=torch.float64)
    fast, slow = A.clone().requires_grad_(), A.clone().requires_grad_()
    Q, Q_loop = gram_schmidt(fast), textbook_gram_schmidt(slow)
    torch.testing.assert_close(Q, Q_loop, rtol=0, atol=1e-9)
    (Q * weights).sum().backward()
    (Q_loop * weights).sum().backward()
    torch.testing.assert_close(fast.grad, slow.grad, rtol=1e-7, atol=1e-7)


def test_gram_schmidt_in_float32_is_as_good_as_float32_can_be():
    """At the paper's size, 120 rows of 128, single precision loses nothing to speak of, in value and gradient."""
    A = torch.randn(120, 128, generator=rng(0), dtype=torch.float64)
    weights = torch.randn(120, 128, generator=rng(1), dtype=torch.float64)
    single, double = A.float().requires_grad_(), A.requires_grad_()
    Q, Q_double = gram_schmidt(single), gram_schmidt(double)
    assert Q.dtype == torch.float32
    assert (Q @ Q.T - torch.eye(120)).abs().max() < 2e-6
    torch.testing.assert_close(Q.double(), Q_double, rtol=0, atol=1e-5)
    (Q * weights.float()).sum().backward()
    (Q_double * weights).sum().backward()
    assert (single.grad.double() - double.grad).norm() < 1e-4 * double.grad.norm()


# Laws


@settings(deadline=None, max_examples=40)
@given(A=matrices())
def test_gram_schmidt_laws(A):
    """Rows are orthonormal, span what the rows of A span, and A Qᵀ is lower triangular with a positive diagonal."""
    Q = gram_schmidt(A)
    coordinates = A @ Q.T
    torch.testing.assert_close(Q @ Q.T, torch.eye(len(A), dtype=torch.float64), rtol=0, atol=1e-12)
    torch.testing.assert_close(coordinates @ Q, A, rtol=0, atol=1e-12)
    torch.testing.assert_close(coordinates.triu(1), torch.zeros_like(coordinates), rtol=0, atol=1e-12)
    assert (coordinates.diagonal() > 0).all()
    assert check_orthonormal(Q, tolerance=1e-12) is None


@settings(deadline=None, max_examples=40)
@given(A=matrices(), exponents=st.lists(st.floats(-30, 30), min_size=14, max_size=14))
def test_gram_schmidt_ignores_positive_row_scaling(A, exponents):
    """The length of a row, 1e-30 or 1e30, is no information."""
    scale = 10.0 ** torch.tensor(exponents[: len(A)], dtype=torch.float64)
    torch.testing.assert_close(gram_schmidt(scale.unsqueeze(1) * A), gram_schmidt(A), rtol=0, atol=1e-9)


# Errors


def dependent(row: int, ndirs: int, dim: int, dtype: torch.dtype) -> torch.Tensor:
    A = torch.randn(ndirs, dim, generator=rng(4), dtype=dtype)
    A[row] = A[0] - 2 * A[row - 1]
    return A


def changed(row: int, column: int | slice, value: float) -> torch.Tensor:
    A = torch.randn(3, 4, generator=rng(0), dtype=torch.float64)
    A[row, column] = value
    return A


@pytest.mark.parametrize(
    ("A", "message"),
    [
        (dependent(7, 8, 8, torch.float64), r"Row 7 of A \(counted from 0\) is zero or depends on the rows before it"),
        (dependent(60, 120, 128, torch.float32), r"Row 60 of A \(counted from 0\)"),
        (changed(1, slice(None), 0.0), r"Row 1 of A \(counted from 0\) is zero"),
        (changed(0, 1, float("nan")), r"must be finite, but row 0 \(counted from 0\)"),
        (torch.ones(5, 4), "must be a matrix"),
        (torch.ones(2, 3, 4), "must be a matrix"),
        (torch.eye(2).half(), r"must be float32 or float64, got torch\.float16"),
    ],
)
def test_gram_schmidt_refuses(A, message):
    """What is no basis is told apart, by row; half precision is not silently upcast."""
    with pytest.raises(UserError, match=message):
        gram_schmidt(A)


# check_orthonormal


def test_check_orthonormal_says_what_is_wrong():
    """Each fault has its own reason, in numpy and torch."""
    for rows, reason in (
        (np.ones((3, 2)), r"its shape is \(3, 2\)"),
        ([[1.0, 0.0], [0.0, np.inf]], "row 1 holds NaN or infinity"),
        ([[1.0, 0.0], [0.0, 7.5]], r"row 1 has length 7\.5, not 1"),
        ([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, -0.6, 0.8]], "rows 1 and 2 are not .* is -0.6, not 0"),
    ):
        assert re.search(reason, check_orthonormal(np.array(rows)))
        assert re.search(reason, check_orthonormal(torch.tensor(rows)))


# SearchSpace


def test_search_space_parses_ranges():
    """A range is read as Python reads a slice, the paper's spaces by name; both are written back in full."""
    spaces = [SearchSpace.parse(text, 120) for text in ("0:40", " 3:4 ", "80:", "all", "mid", "fine")]
    assert [str(space) for space in spaces] == ["0:40", "3:4", "80:120", "0:120", "40:80", "80:120"]
    assert [space.size for space in spaces] == [40, 1, 40, 120, 40, 40]


# Starting matrices and baselines


def test_random_basis_is_orthonormal_and_repeatable():
    """Rows are orthonormal to the precision of the type; the seed decides them."""
    Q = random_basis(6, 9, rng(1))
    assert check_orthonormal(Q, tolerance=1e-6) is None
    assert torch.equal(Q, random_basis(6, 9, rng(1)))
    assert not torch.equal(Q, random_basis(6, 9, rng(2)))
