"""Evaluations on both sides of a point, in one call, and the check that a map is a fixed function."""

from __future__ import annotations

import pytest
import torch

from directions.errors import UserError
from directions.penalty import check_deterministic, rademacher, symmetric_sums


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def points(batch: int = 3, n: int = 4, seed: int = 0) -> torch.Tensor:
    return torch.randn(batch, n, generator=rng(seed), dtype=torch.float64)


class Recorder:
    """A map that remembers its inputs."""

    def __init__(self, f):
        self.f = f
        self.calls: list[torch.Tensor] = []

    def __call__(self, w):
        self.calls.append(w.detach().clone())
        return self.f(w)


def test_symmetric_sums_call_f_once_in_the_documented_order():
    """Row (s·k + j)·batch + b is sample b, moved along probe j, forwards for s = 0 and backwards for s = 1."""
    w, probes = points(3, 4), rademacher((2, 3, 4), rng(1), dtype=torch.float64)
    f = Recorder(torch.sin)
    symmetric_sums(f, w, probes, epsilon=0.25)
    assert len(f.calls) == 1
    assert f.calls[0].shape == (2 * 2 * 3, 4)
    for s, sign in enumerate((1, -1)):
        for j in range(2):
            for b in range(3):
                row = (s * 2 + j) * 3 + b
                assert row % 3 == b
                torch.testing.assert_close(f.calls[0][row], w[b] + sign * 0.25 * probes[j, b])


@pytest.mark.parametrize(
    ("output", "wide"),
    [
        (torch.bfloat16, torch.float32),
        (torch.float16, torch.float32),
        (torch.float32, torch.float32),
        (torch.float64, torch.float64),
    ],
)
def test_symmetric_sums_are_taken_in_float32_or_wider(output, wide):
    """Outputs in half precision are added up exactly, as their float32 values."""
    w, probes = points(), rademacher((2, 3, 4), rng(1), dtype=torch.float64)
    f = Recorder(lambda w: torch.sin(w).to(output))
    (sums,) = symmetric_sums(f, w, probes, epsilon=0.1)
    plus, minus = torch.sin(f.calls[0]).to(output).to(wide).reshape(2, 2, 3, 4)
    assert sums.dtype == wide
    assert torch.equal(sums, plus + minus)


@pytest.mark.parametrize(
    ("f", "message"),
    [
        (lambda w: w.sum(), r"one row for each row it gets: it got 12 rows \(2 signs × 2 probes × 3 points\)"),
        (lambda w: w[:3], r"returned a tensor of shape \(3, 4\)\. Repeat what f holds for each point"),
        (lambda w: w.mT, "one row for each row it gets"),
        (lambda w: [], "at least one tensor, got an empty one"),
        (lambda w: {"image": w}, "a list or tuple of tensors, got dict"),
        (lambda w: None, "a list or tuple of tensors, got NoneType"),
        (lambda w: (w, None), "a list or tuple of tensors, got tuple of NoneType, Tensor"),
        (lambda w: (w * 10).long(), r"floating-point tensors, got int64"),
    ],
)
def test_symmetric_sums_refuse_what_f_must_not_return(f, message):
    """Whatever f returns wrongly, the message says what came and what is wanted."""
    with pytest.raises(UserError, match=message):
        symmetric_sums(f, points(), torch.ones(2, 3, 4, dtype=torch.float64), epsilon=0.1)


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
    check_deterministic(f, points())


@pytest.mark.parametrize("noise", [1.0, 1e-3])
def test_check_deterministic_refuses_noise(noise):
    """Noise that would drown the second difference is found, in any of several outputs."""
    source = rng(0)
    with pytest.raises(UserError, match=r"different outputs for the same input .*eval mode"):
        check_deterministic(lambda w: (w, w + noise * torch.randn(w.shape, generator=source, dtype=w.dtype)), points())


def test_check_deterministic_refuses_changing_shapes_and_nan():
    """Not only values may change."""
    widths = iter((1, 2))
    with pytest.raises(UserError, match="other shapes"):
        check_deterministic(lambda w: w[:, : next(widths)], points())
    values = iter((1.0, float("nan")))
    with pytest.raises(UserError, match="returned NaN for an input for which it gave numbers"):
        check_deterministic(lambda w: w * next(values), points())
