r"""The Hessians of all outputs at a point, by finite differences of the outputs: for latents of few dimensions.

:math:`H_{ii}` comes from steps along :math:`e_i`, :math:`H_{ij}` from steps along :math:`e_i + e_j` and
:math:`e_i - e_j`: :math:`2n^2 + 1` evaluations. The centre and the single steps are needed for the diagonal only.
`directions.joint.gradients` is the other way, whose cost grows with n instead of n².
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from directions.joint.symmetric import half_size
from directions.penalties.derivatives import symmetric_sums


def difference_evaluations(n: int) -> int:
    """Return the number of evaluations at a point in n dimensions."""
    return 2 * n * n + 1


@torch.no_grad()
def difference_hessians(f: Callable[[Tensor], Tensor], w: Tensor, *, step: float, rows: int = 64) -> Tensor:
    r"""Measure the Hessian of each output.

    Args:
        f: Map from (m, n) to (m, …), row by row.
        w: (1, n) the point.
        step: Finite-difference step h along each axis, in units of ``w``; like the penalty's epsilon, on a network
            with kinks it sets the scale on which curvature is measured.
        rows: Evaluations at once, at most; at least four are.

    Returns:
        (outputs, n(n+1)/2) half-vectors (`directions.joint.symmetric`), in float32 or wider.

    Example:
        >>> f = lambda w: 3 * w[:, :1] * w[:, 1:] + w[:, :1] ** 2
        >>> difference_hessians(f, torch.zeros(1, 2, dtype=torch.float64), step=0.5)  # √2 · 3 off the diagonal
        tensor([[2.0000, 4.2426, 0.0000]], dtype=torch.float64)
    """
    n = w.shape[1]
    H: Tensor | None = None
    for part, entries in difference_entries(f, w, step=step, rows=rows):
        if H is None:
            H = entries.new_empty(half_size(n), entries.shape[1])
        H[part] = entries
    assert H is not None, "a point has at least one coordinate"
    return H.mT


@torch.no_grad()
def difference_entries(
    f: Callable[[Tensor], Tensor], w: Tensor, *, step: float, rows: int = 64
) -> Iterator[tuple[Tensor, Tensor]]:
    """Measure the Hessian of each output, some entries at a time: for who need not hold them all.

    Args:
        f: As for `difference_hessians`.
        w: (1, n) the point.
        step: Finite-difference step along each axis, in units of ``w``.
        rows: Evaluations at once, at most; at least four are.

    Yields:
        Places (some,) in the half-vector, and the entries there, (some, outputs); those of the diagonal come first,
        and a part never holds entries of both kinds.
    """
    n = w.shape[1]
    first, second = torch.triu_indices(n, n, device=w.device)
    axes = torch.eye(n, dtype=w.dtype, device=w.device)
    centre = f(w).flatten(1)
    wide = torch.promote_types(centre.dtype, torch.float32)
    diagonal, off = (first == second).nonzero().flatten(), (first != second).nonzero().flatten()
    for part in diagonal.split(max(1, rows // 2)):
        sums = _sums(f, w, axes[first[part]], step)
        yield part, (sums - 2 * centre.to(wide)) / step**2
    if len(off):
        for part in off.split(max(1, rows // 4)):
            i, j = axes[first[part]], axes[second[part]]
            along, across = _sums(f, w, torch.cat((i + j, i - j)), step).chunk(2)
            yield part, (along - across) * (2**0.5 / (4 * step**2))


def _sums(f: Callable[[Tensor], Tensor], w: Tensor, vectors: Tensor, step: float) -> Tensor:
    """f(w + h v) + f(w − h v) for each vector, (vectors, outputs)."""
    (sums,) = symmetric_sums(f, w, vectors.unsqueeze(1), step)
    return sums.flatten(1)
