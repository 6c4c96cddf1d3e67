"""z + Σ amount × direction for NumPy arrays and torch tensors alike, without importing torch.

:meth:`directions.Directions.move` looks the directions up and hands their rows over; discovery, which moves along all
directions of a basis at once and differentiates, has its own arithmetic in ``steps.py``.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from directions.errors import UserError

if TYPE_CHECKING:
    import torch

Latent = TypeVar("Latent")
"""A NumPy array or a torch tensor."""


def add_steps(z: Latent, rows: np.ndarray, amounts: Sequence[Any]) -> Latent:
    """Add amounts[k] × rows[k] to z for every k.

    Half precision is added in single precision and rounded once, at the end.

    Args:
        z: (…, dim_z) NumPy array or torch tensor of floats.
        rows: (k, dim_z) float32.
        amounts: k numbers or arrays, each of which broadcasts with the batch shape of z.

    Returns:
        The moved z, of the type, dtype and device of z.

    Raises:
        UserError: If z is something else, or an amount does not fit it.
    """
    torch = sys.modules.get("torch")  # Whoever has a tensor has imported it already.
    if torch is not None and isinstance(z, torch.Tensor):
        _check_latent(z.shape, rows.shape[1], floating=z.is_floating_point(), dtype=z.dtype)
        moved: Any = _add_to_tensor(z, rows, amounts)
    elif isinstance(z, np.ndarray):
        _check_latent(z.shape, rows.shape[1], floating=np.issubdtype(z.dtype, np.floating), dtype=z.dtype)
        moved = _add_to_array(z, rows, amounts)
    else:
        raise UserError(f"z must be a NumPy array or a torch tensor, got {type(z).__name__}.")
    result: Latent = moved
    return result


def _check_latent(shape: tuple[int, ...], dim_z: int, *, floating: bool, dtype: Any) -> None:
    """Check that z has the width of the directions and can hold a fraction."""
    if not shape or shape[-1] != dim_z:
        raise UserError(f"z must have the shape (…, {dim_z}), as the directions do, got {tuple(shape)}.")
    if not floating:
        raise UserError(f"z must be of a floating-point type, got {dtype}. Convert it, for example to float32.")


def _add_to_tensor(z: torch.Tensor, rows: np.ndarray, amounts: Sequence[Any]) -> torch.Tensor:
    import torch

    wide = torch.promote_types(z.dtype, torch.float32)
    moved = z.to(wide)
    for row, amount in zip(rows, amounts, strict=True):
        try:
            step = torch.as_tensor(amount, dtype=wide, device=z.device)
        except (TypeError, ValueError, RuntimeError) as error:
            raise _not_numbers(amount) from error
        _check_broadcast(z.shape[:-1], step.shape)
        moved = moved + step[..., None] * torch.tensor(row, dtype=wide, device=z.device)
    return moved.to(z.dtype)


def _add_to_array(z: np.ndarray, rows: np.ndarray, amounts: Sequence[Any]) -> np.ndarray:
    wide = np.result_type(z.dtype, np.float32)
    moved = z.astype(wide)
    for row, amount in zip(rows, amounts, strict=True):
        try:
            step = np.asarray(amount.detach().cpu() if hasattr(amount, "detach") else amount).astype(wide)
        except (TypeError, ValueError) as error:
            raise _not_numbers(amount) from error
        _check_broadcast(z.shape[:-1], step.shape)
        moved = moved + step[..., None] * row
    return moved.astype(z.dtype)


def _check_broadcast(batch: tuple[int, ...], amount: tuple[int, ...]) -> None:
    try:
        np.broadcast_shapes(tuple(batch), tuple(amount))
    except ValueError:
        raise UserError(
            f"An amount of the shape {tuple(amount)} does not fit a batch of z of the shape {tuple(batch)}. Give one "
            "number, or one for each z."
        ) from None


def _not_numbers(amount: Any) -> UserError:
    return UserError(f"An amount must be a number or an array of numbers, got {amount!r}.")
