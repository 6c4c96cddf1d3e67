"""Reduce one value for each output to one for each sample, or to one: the same for the estimate and for the truth.

Used by `directions.penalties.hessian` and `directions.penalties.exact`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias

from torch import Tensor

from directions.errors import UserError, nearest

Reduction: TypeAlias = Literal["mean", "max"]

_REDUCTIONS = ("mean", "max")


def check_reduction(reduction: str) -> None:
    """Refuse an unknown reduction, before anything is evaluated.

    Args:
        reduction: What the caller asked for.

    Raises:
        UserError: If it is neither ``"mean"`` nor ``"max"``.
    """
    if reduction not in _REDUCTIONS:
        raise UserError(f"reduction must be 'mean' or 'max', got {reduction!r}.{nearest(str(reduction), _REDUCTIONS)}")


def over_all(values: Sequence[Tensor], reduction: Reduction) -> Tensor:
    """Reduce each tensor over batch and outputs, and add up the results.

    Args:
        values: Tensors (batch, …), of any float types.
        reduction: ``"mean"`` or ``"max"``.

    Returns:
        Scalar, of the widest of the types.
    """
    return _total([value.mean() if reduction == "mean" else value.amax() for value in values])


def over_outputs(values: Sequence[Tensor], reduction: Reduction) -> Tensor:
    """Reduce each tensor over its outputs, sample by sample, and add up the results.

    Args:
        values: Tensors (batch, …), of any float types.
        reduction: ``"mean"`` or ``"max"``.

    Returns:
        (batch,), of the widest of the types.
    """
    rows = [value.reshape(len(value), -1) for value in values]
    return _total([row.mean(dim=1) if reduction == "mean" else row.amax(dim=1) for row in rows])


def _total(terms: list[Tensor]) -> Tensor:
    total = terms[0]
    for term in terms[1:]:
        total = total + term.to(total.device)  # layers of a model may lie on several devices
    return total
