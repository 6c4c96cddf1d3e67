"""Naive references, written from the paper and from textbooks, and what they are tried on; no code of the package."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import torch
from torch import Tensor


def normal(*shape: int, seed: int = 0) -> Tensor:
    """Normal numbers in float64."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def small_network(w: Tensor) -> Tensor:
    """A map of four steps to outputs of shape (batch, 2, 3), smooth, mixing everything."""
    return torch.tanh(torch.tanh(w @ normal(4, 5, seed=1)) @ normal(5, 6, seed=2)).unflatten(1, (2, 3))


def textbook_gram_schmidt(A: Tensor) -> Tensor:
    """Row after row: take off the projections on the rows before, one at a time, and divide by the length."""
    rows: list[Tensor] = []
    for a in A:
        rest = a
        for q in rows:
            rest = rest - (rest @ q) * q
        rows.append(rest / rest.norm())
    return torch.stack(rows)


def textbook_variances(f: Callable[[Tensor], Tensor], w: Tensor, probes: Tensor, epsilon: float) -> Tensor:
    """Var_v of [f(w+εv) − 2f(w) + f(w−εv)]/ε², by 2k + 1 separate forwards; (batch, …) like the output of f."""
    centre = f(w)
    second = [(f(w + epsilon * v) - 2 * centre + f(w - epsilon * v)) / epsilon**2 for v in probes]
    return torch.stack(second).var(dim=0, unbiased=True)


def all_signs(n: int, dtype: torch.dtype = torch.float64) -> Tensor:
    """Every vector of n signs, (2ⁿ, n): the whole population that Rademacher probes are drawn from."""
    return torch.tensor(list(itertools.product((-1.0, 1.0), repeat=n)), dtype=dtype)


def difference_hessian(f: Callable[[Tensor], Tensor], w: Tensor, step: float = 1e-4) -> Tensor:
    """The Hessian by four evaluations an entry; (batch, outputs, n, n)."""
    n = w.shape[1]
    axes = step * torch.eye(n, dtype=w.dtype)
    columns = [
        (f(w + a + b) - f(w + a - b) - f(w - a + b) + f(w - a - b)).flatten(1) / (4 * step**2)
        for a, b in itertools.product(axes, axes)
    ]
    return torch.stack(columns, dim=-1).unflatten(-1, (n, n))
