"""z + Σ amount × direction for NumPy arrays and torch tensors alike, without importing torch.

`directions.Directions.move` looks the directions up and hands their rows over; discovery, which moves along all
directions of a basis at once and differentiates, has its own arithmetic in ``steps.py``.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeVar, cast

import numpy as np

from directions.direction_file.lookup import short
from directions.errors import UserError

if TYPE_CHECKING:
    import torch

Latent = TypeVar("Latent")
"""A NumPy array or a torch tensor."""


def add_steps(z: Latent, rows: Any, amounts: Sequence[Any]) -> Latent:
    """Add amounts[k] × rows[k] to z for every k.

    Half precision is added in single precision and rounded once, at the end.

    Args:
        z: (…, dim_z) NumPy array or torch tensor of floats.
        rows: (k, dim_z) float32, a NumPy array, or a tensor on the device of z.
        amounts: k numbers or arrays, each of which broadcasts with the batch shape of z.

    Returns:
        The moved z, of the type, dtype and device of z.

    Raises:
        UserError: If z is something else, or an amount does not fit it or is not finite.
    """
    if _is_tensor(z, rows.shape[1], "z"):
        moved: Any = _add_to_tensor(cast("Any", z), rows, amounts)
    else:
        moved = _add_to_array(cast("Any", z), rows, amounts)
    result: Latent = moved
    return result


def products(edit: Latent, rows: Any) -> Latent:
    """Multiply edits with directions.

    Half precision is multiplied in single precision and rounded once, at the end.

    Args:
        edit: (…, dim_z) NumPy array or torch tensor of floats.
        rows: (ndirs, dim_z) float32, a NumPy array, or a tensor on the device of the edit.

    Returns:
        (…, ndirs), of the type, dtype and device of the edit.

    Raises:
        UserError: If the edit is something else.
    """
    value: Any = edit
    if _is_tensor(edit, rows.shape[1], "edit"):
        import torch

        wide = torch.promote_types(value.dtype, torch.float32)
        amounts: Any = (value.to(wide) @ _as_tensor(rows, wide, value.device).T).to(value.dtype)
    else:
        amounts = (value.astype(np.result_type(value.dtype, np.float32)) @ rows.T).astype(value.dtype)
    result: Latent = amounts
    return result


def _is_tensor(z: Any, dim_z: int, name: str) -> bool:
    """Tell a torch tensor from a NumPy array, after checking that it is one of them and fits."""
    torch = sys.modules.get("torch")  # Whoever has a tensor has imported it already.
    if torch is not None and isinstance(z, torch.Tensor):
        _check_latent(z.shape, dim_z, name, floating=z.is_floating_point(), dtype=z.dtype)
        return True
    if isinstance(z, np.ndarray):
        _check_latent(z.shape, dim_z, name, floating=np.issubdtype(z.dtype, np.floating), dtype=z.dtype)
        return False
    raise UserError(f"{name} must be a NumPy array or a torch tensor, got {type(z).__name__}.")


def _as_tensor(rows: Any, dtype: Any, device: Any) -> torch.Tensor:
    """Put rows where they are needed; a NumPy matrix is copied, since it may be read-only."""
    import torch

    return torch.tensor(rows, dtype=dtype, device=device) if isinstance(rows, np.ndarray) else rows.to(device, dtype)


def _check_latent(shape: tuple[int, ...], dim_z: int, name: str, *, floating: bool, dtype: Any) -> None:
    """Check that z has the width of the directions and can hold a fraction."""
    if not shape or shape[-1] != dim_z:
        raise UserError(f"{name} must have the shape (…, {dim_z}), as the directions do, got {tuple(shape)}.")
    if not floating:
        raise UserError(f"{name} must be of a floating-point type, got {dtype}. Convert it, for example to float32.")


def _add_to_tensor(z: torch.Tensor, rows: Any, amounts: Sequence[Any]) -> torch.Tensor:
    import torch

    wide = torch.promote_types(z.dtype, torch.float32)
    moved = z.to(wide)
    for row, amount in zip(_as_tensor(rows, wide, z.device), amounts, strict=True):
        try:
            step = torch.as_tensor(amount, dtype=wide, device=z.device)
        except (TypeError, ValueError, RuntimeError) as error:
            raise _not_numbers(amount) from error
        _check_broadcast(z.shape[:-1], step.shape)
        _check_finite(step, amount)
        moved = moved + step[..., None] * row
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
        if not np.isfinite(step).all():
            raise _not_finite(amount)
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


def _check_finite(step: torch.Tensor, amount: Any) -> None:
    try:
        finite = bool(step.isfinite().all())
    except RuntimeError:  # a tensor without values, as torch.vmap hands over
        return
    if not finite:
        raise _not_finite(amount)


def _not_finite(amount: Any) -> UserError:
    return UserError(f"An amount must be finite, got {short(amount)}.")


def _not_numbers(amount: Any) -> UserError:
    return UserError(f"An amount must be a number or an array of numbers, got {amount!r}.")
