"""Evaluations on both sides of a point, in one call, and the check that a map is a fixed function."""

from __future__ import annotations

import pytest
import torch
from naive import normal

from directions.errors import UserError
from directions.penalty import check_deterministic, rademacher, symmetric_sums


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_symmetric_sums_call_f_once_in_the_documented_order():
    """Row (s·k + j)·batch + b is sample b, moved along probe j, forwards for s = 0 and backwards for s = 1."""
    w, probes = normal(3, 4), rademacher((2, 3, 4), rng(1), dtype=torch.float64)
    calls = []
    symmetric_sums(lambda w: calls.append(w) or torch.sin(w), w, probes, epsilon=0.25)
    (rows,) = calls
    torch.testing.assert_close(rows, torch.cat([w + sign * 0.25 * probe for sign in (1, -1) for probe in probes]))


@pytest.mark.parametrize(
    ("f", "message"),
    [
        (lambda w: w.sum(), r"one row for each row it gets: it got 12 rows \(2 signs × 2 probes × 3 points\)"),
        (lambda w: w[:3], r"returned a tensor of shape \(3, 4\)\. Repeat what f holds for each point"),
        (lambda w: [], "at least one tensor, got an empty one"),
        (lambda w: {"image": w}, "a list or tuple of tensors, got dict"),
        (lambda w: (w, None), "a list or tuple of tensors, got tuple of NoneType, Tensor"),
        (lambda w: (w * 10).long(), r"floating-point tensors, got int64"),
    ],
)
def test_symmetric_sums_refuse_what_f_must_not_return(f, message):
    """Whatever f returns wrongly, the message says what came and what is wanted."""
    with pytest.raises(UserError, match=message):
        symmetric_sums(f, normal(3, 4), torch.ones(2, 3, 4, dtype=torch.float64), epsilon=0.1)


@pytest.mark.parametrize(
    "f",
    [
        torch.cos,
        lambda w: [w, w.sum(dim=1)],
        lambda w: torch.log(w),  # NaN for half of the points: no finite number, but always the same
        lambda w: w[:0],
    ],
)
def test_check_deterministic_passes_fixed_functions(f):
    """The same output twice is all that is asked."""
    check_deterministic(f, normal(3, 4))


def test_check_deterministic_refuses_noise_changing_shapes_and_nan():
    """Noise that would drown the second difference is found, in any of several outputs."""
    source = rng(0)
    with pytest.raises(UserError, match=r"different outputs for the same input .*eval mode"):
        check_deterministic(
            lambda w: (w, w + 1e-3 * torch.randn(w.shape, generator=source, dtype=w.dtype)), normal(3, 4)
        )
    widths = iter((1, 2))
    with pytest.raises(UserError, match="other shapes"):
        check_deterministic(lambda w: w[:, : next(widths)], normal(3, 4))
    values = iter((1.0, float("nan")))
    with pytest.raises(UserError, match="returned NaN for an input for which it gave numbers"):
        check_deterministic(lambda w: w * next(values), normal(3, 4))
