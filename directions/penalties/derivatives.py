"""Evaluate a map on both sides of a point along probes, in one call.

Takes the probes of `directions.penalties.probes`; its sums are second differences but for the centre term, which
`directions.penalties.hessian` does not need. `check_deterministic` tests what all of this rests on: that
the map gives the same output for the same input.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import torch
from torch import Tensor

from directions.errors import UserError

Outputs: TypeAlias = Tensor | Sequence[Tensor]
"""What a map may return: one tensor, or a list or tuple of them (several activations at once)."""

_NOISE_TOLERANCE = 1e-5  # relative to the largest output: above rounding between kernels, below any noise input


def as_tensors(outputs: Outputs) -> list[Tensor]:
    """List the tensors that a map returned.

    Args:
        outputs: One tensor, or a list or tuple of tensors.

    Returns:
        The tensors, at least one.

    Raises:
        UserError: If there is none, or something else than a floating-point tensor.
    """
    tensors = [outputs] if isinstance(outputs, Tensor) else outputs
    if not isinstance(tensors, (list, tuple)) or not all(isinstance(tensor, Tensor) for tensor in tensors):
        kinds = ", ".join(sorted({type(t).__name__ for t in tensors})) if isinstance(tensors, (list, tuple)) else ""
        got = type(outputs).__name__ + (f" of {kinds}" if kinds else "")
        raise UserError(f"f must return a tensor, or a list or tuple of tensors, got {got}.")
    if not tensors:
        raise UserError("f must return a tensor, or a list or tuple of at least one tensor, got an empty one.")
    for tensor in tensors:
        if not tensor.is_floating_point():
            raise UserError(f"f must return floating-point tensors, got {_name(tensor.dtype)}. Convert it in f.")
    return list(tensors)


def symmetric_sums(f: Callable[[Tensor], Outputs], w: Tensor, probes: Tensor, epsilon: float) -> list[Tensor]:
    r"""Evaluate :math:`f(w + εv) + f(w - εv)` for every probe, in one call of ``f``.

    Less :math:`2f(w)` and divided by :math:`ε^2` this is the textbook second difference :math:`≈ v^\top H v`. Row
    :math:`r = (s·k + j)·batch + b` of what ``f`` gets is sample :math:`b` moved along probe :math:`j`, forwards for
    :math:`s = 0` and backwards for :math:`s = 1`; the sample of a row is thus ``r % batch``.

    Args:
        f: Map from (m, …) to (m, …) tensors that treats each row by itself.
        w: (batch, …) points, float32 or float64.
        probes: (k, batch, …) one vector for each probe and point.
        epsilon: Length of the step along a probe's coordinate, in units of ``w``.

    Returns:
        For each tensor of ``f``, the sums (k, batch, …), in float32 or wider: a difference over a small step would lose
        half-precision outputs' last digits.

    Raises:
        UserError: If the points are in reduced precision, the probes do not fit, or ``f`` does not keep the rows.
    """
    if w.dtype not in (torch.float32, torch.float64):
        raise UserError(
            f"w must be float32 or float64, got {_name(w.dtype)}: it cannot hold w ± epsilon. Pass w.float() and, if f "
            "works in reduced precision, cast inside f."
        )
    if w.ndim < 1 or probes.ndim != w.ndim + 1 or probes.shape[1:] != w.shape:
        raise UserError(
            f"probes must be (k, *w.shape), one vector for each point, got {tuple(probes.shape)} for w of shape "
            f"{tuple(w.shape)}."
        )
    offsets = epsilon * probes.to(w)
    points = torch.cat((w + offsets, w - offsets)).flatten(0, 1)
    sums = []
    for output in as_tensors(f(points)):
        if output.ndim < 1 or len(output) != len(points):
            raise UserError(
                f"f must return one row for each row it gets: it got {len(points)} rows (2 signs × {len(probes)} "
                f"probes × {len(w)} points) and returned a tensor of shape {tuple(output.shape)}. Repeat what f holds "
                "for each point, such as a class: row r belongs to point r % batch."
            )
        wide = torch.promote_types(output.dtype, torch.float32)
        # Summing a view of the batch casts on the way and makes no copy beside its result.
        sums.append(output.unflatten(0, (2, len(probes), len(w))).sum(dim=0, dtype=wide))
    return sums


def check_deterministic(f: Callable[[Tensor], Outputs], w: Tensor) -> None:
    """Make sure that ``f`` gives the same output for the same input.

    A finite difference takes any change between evaluations for curvature: noise of 0.001 becomes 0.1 at
    epsilon = 0.1. Differences at the level of rounding (1e-5 of the largest output) are let pass.

    Args:
        f: Map from (m, …) to (m, …) tensors.
        w: (batch, …) points to call it on, twice, without gradient; one or two points will do.

    Raises:
        UserError: If the two outputs differ.

    Example:
        >>> check_deterministic(torch.cos, torch.zeros(2, 3))
    """
    with torch.no_grad():
        first = [tensor.clone() for tensor in as_tensors(f(w))]  # a map may reuse its output buffer
        second = as_tensors(f(w))
    if [tensor.shape for tensor in first] != [tensor.shape for tensor in second]:
        raise UserError("f returned other shapes for the same input when called again; it must be a fixed function.")
    for a, b in zip(first, second, strict=True):
        if not a.numel():
            continue
        change, size = (a - b).abs().nan_to_num(0.0), a.abs().nan_to_num(0.0).max()
        if bool(change.max() > _NOISE_TOLERANCE * size) or not torch.equal(a.isnan(), b.isnan()):
            raise UserError(
                f"f returned different outputs for the same input (by up to {float(change.max()):.2g}, where the "
                f"largest output is {float(size):.2g}); a finite difference takes that for curvature. Put the "
                "generator in eval mode and give every evaluation the same noise."
            )


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
