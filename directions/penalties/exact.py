"""The value that the penalty estimates, from whole Hessians by automatic differentiation: for small problems.

The truth for the tests of `directions.penalties.hessian` and for closed forms. On a network with kinks (ReLU) it
is another quantity than the estimate: the exact second derivative does not see the kinks.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from directions.errors import UserError
from directions.penalties.derivatives import Outputs, as_tensors
from directions.penalties.reductions import Reduction, check_reduction, over_all


def exact_hessian(f: Callable[[Tensor], Outputs], w: Tensor) -> Tensor:
    """Differentiate every output of ``f`` twice by every pair of coordinates of its row.

    Args:
        f: Map from (m, n) to a tensor (m, …), row by row, built of operations that torch.func can differentiate twice.
        w: (batch, n) points.

    Returns:
        (batch, outputs, n, n), the outputs of a row flattened; differentiable with respect to what ``f`` holds.

    Raises:
        UserError: If ``w`` is not two-dimensional or ``f`` returns several tensors.

    Example:
        >>> exact_hessian(lambda w: 3 * w[:, 0] * w[:, 1], torch.zeros(1, 2))
        tensor([[[[0., 3.],
                  [3., 0.]]]])
    """
    hessians = _hessians(f, w)
    if len(hessians) > 1:
        raise UserError(
            f"exact_hessian takes a map that returns one tensor, got {len(hessians)}. Choose one: lambda w: f(w)[0]."
        )
    return hessians[0]


def off_diagonal_sum(H: Tensor) -> Tensor:
    r"""Sum the squares of all off-diagonal entries, :math:`\sum_{i ≠ j} H_{ij}^2`.

    Args:
        H: (…, n, n).

    Returns:
        (…), exactly zero for a diagonal matrix.

    Raises:
        UserError: If the last two axes are not square.

    Example:
        >>> off_diagonal_sum(torch.tensor([[7.0, 3.0], [3.0, -5.0]]))
        tensor(18.)
    """
    if H.ndim < 2 or H.shape[-1] != H.shape[-2]:
        raise UserError(f"H must end in a square matrix (…, n, n), got shape {tuple(H.shape)}.")
    diagonal = torch.eye(H.shape[-1], dtype=torch.bool, device=H.device)
    return H.masked_fill(diagonal, 0.0).square().sum(dim=(-2, -1))


def hessian_penalty_exact(f: Callable[[Tensor], Outputs], w: Tensor, *, reduction: Reduction = "mean") -> Tensor:
    r"""Compute what `directions.penalties.hessian.hessian_penalty` estimates: :math:`2 \sum_{i ≠ j} H_{ij}^2`.

    The factor 2 belongs to it: it makes this equal to :math:`\mathrm{Var}_v(v^\top H v)`. Take half of it for the sum
    of squares itself. As epsilon goes to 0, the estimate with reduction mean has this as its expectation, with any
    number of probes. With max it lies above, the less so the more probes: the largest of noisy values is too large.

    Args:
        f: Map from (m, n) to a tensor (m, …) or a list or tuple of them, as for `exact_hessian`.
        w: (batch, n) points.
        reduction: ``"mean"`` or ``"max"``, over batch and outputs.

    Returns:
        Scalar, for several tensors the sum of their reductions.

    Raises:
        UserError: If the reduction is unknown or ``w`` is not two-dimensional.

    Example:
        >>> hessian_penalty_exact(lambda w: 3 * w[:, 0] * w[:, 1], torch.zeros(1, 2))  # 2 · (3² + 3²)
        tensor(36.)
    """
    check_reduction(reduction)
    return 2 * over_all([off_diagonal_sum(H) for H in _hessians(f, w)], reduction)


def _hessians(f: Callable[[Tensor], Outputs], w: Tensor) -> list[Tensor]:
    if w.ndim != 2 or not len(w):
        raise UserError(f"w must be (batch, n) with at least one point, got shape {tuple(w.shape)}.")

    def row(point: Tensor) -> tuple[Tensor, ...]:
        return tuple(tensor[0].flatten() for tensor in as_tensors(f(point.unsqueeze(0))))

    # Reverse over reverse: more operations have a backward than a forward derivative (torch.func.hessian needs both).
    differentiate = torch.func.jacrev(torch.func.jacrev(row))
    by_point = [differentiate(point) for point in w]
    return [torch.stack(hessians) for hessians in zip(*by_point, strict=True)]
