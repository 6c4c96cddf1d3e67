"""The Hessian Penalty and the Jacobian penalty: how far a map is from letting each coordinate act alone."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor

from directions.device import to_tensor
from directions.errors import UserError, nearest

Outputs: TypeAlias = Tensor | Sequence[Tensor]
"""What a map may return: one tensor, or a list or tuple of them (several activations at once)."""

Reduction: TypeAlias = Literal["mean", "max"]

_NOISE_TOLERANCE = 1e-5  # relative to the largest output: above rounding between kernels, below any noise input


def hessian_penalty(
    f: Callable[[Tensor], Outputs],
    w: Tensor,
    *,
    num_probes: int = 2,
    epsilon: float = 0.1,
    reduction: Reduction = "mean",
    rng: torch.Generator | None = None,
    probes: Tensor | None = None,
) -> Tensor:
    r"""Estimate how far the Hessian of ``f`` at ``w`` is from diagonal.

    For each output and sample, with :math:`k` probes :math:`v` of random signs,

    .. math:: \mathrm{Var}_v\left[\frac{f(w + εv) - 2f(w) + f(w - εv)}{ε^2}\right] ≈ \mathrm{Var}_v(v^\top H v)
              = 2 \sum_{i ≠ j} H_{ij}^2,

    where the variance is the unbiased one. The centre term is the same for every probe and drops out, so ``f`` is
    evaluated on 2k rows a sample and not 2k + 1, in a single call. Differences are taken in float32 or wider.

    Args:
        f: Map from (m, …) to (m, …) tensors, such as ``w ↦ G(z + wQ)``; it may return a list or tuple of them. It must
            be deterministic and treat each row by itself (eval mode). It is called once, with m = 2k · batch; its row
            r belongs to sample ``r % batch`` (first all + steps, then all − steps; within a sign, probe by probe), so
            what belongs to a sample is repeated as ``y.repeat(m // batch)``.
        w: (batch, …) points, float32 or float64 (NumPy's too), such as signed distances along each direction, in latent
            units.
        num_probes: Number of probes k, at least 2.
        epsilon: Finite-difference step, in units of ``w``. On a network with kinks (ReLU) it sets the scale on which
            curvature is measured, and is part of the definition rather than a matter of accuracy.
        reduction: ``"mean"`` over batch and outputs, an unbiased estimate of the same mean of :math:`2 \sum H_{ij}^2`;
            ``"max"``: the largest over batch and outputs.
        rng: Source of the probes; ``None`` uses the global one.
        probes: (k, \*w.shape) vectors with entries ±1 to use in place of a draw; ``num_probes`` and ``rng`` are then
            not used. The result is determined by them.

    Returns:
        Scalar, for several tensors the sum of their reductions. Units: (output / unit of w²)².

    Raises:
        UserError: If there are fewer than two probes, ``epsilon`` is not positive, the reduction is unknown, or shapes
            or types do not fit.

    References:
        Peebles et al. 2020, arXiv:2008.10599, section 3.

    Example:
        >>> w = torch.zeros(4, 2)
        >>> float(hessian_penalty(lambda w: w**2, w, rng=torch.Generator().manual_seed(0)))  # nothing mixed: diagonal
        0.0
        >>> probes = torch.tensor([[[1.0, 1.0]], [[1.0, -1.0]]])
        >>> f = lambda w: 3 * w[:, 0] * w[:, 1]  # vᵀHv is 6 or −6: the variance of these two is 72
        >>> print(f"{float(hessian_penalty(f, torch.zeros(1, 2), probes=probes)):.3f}")
        72.000
    """
    _check_reduction(reduction)
    w = to_tensor(w)
    probes = _probes(w, num_probes, epsilon, rng, probes)
    # Dividing the scalar and not the images by ε² spares a pass over them.
    return _over_all([_variance(sums) for sums in symmetric_sums(f, w, probes, epsilon)], reduction) / epsilon**4


def penalty_per_sample(
    f: Callable[[Tensor], Outputs],
    w: Tensor,
    *,
    criterion: Literal["hessian", "jacobian"] = "hessian",
    epsilon: float = 0.1,
    reduction: Reduction = "mean",
    probes: Tensor,
) -> Tensor:
    """Estimate the Hessian Penalty or the Jacobian penalty of each sample by itself.

    With reduction mean the mean over samples is `hessian_penalty` or `jacobian_penalty`; with max and one tensor, the
    largest is.
    For micro-batches, whose sums give a batch's penalty and gradient exactly, and for scores with a standard error.

    Args:
        f: As for `hessian_penalty`.
        w: (batch, …) points, float32 or float64.
        criterion: Which of the two.
        epsilon: Finite-difference step, in units of ``w``.
        reduction: ``"mean"`` or ``"max"``, over the outputs of a sample; Jacobians are of all outputs together.
        probes: (k, *w.shape) vectors with entries ±1, at least two for each point.

    Returns:
        (batch,) variance reduced over outputs; for several tensors the sum of their reductions.

    Raises:
        UserError: If shapes or types do not fit.

    Example:
        >>> probes = torch.tensor([[[1.0, 1.0]], [[1.0, -1.0]]]).expand(2, 3, 2)
        >>> f = lambda w: w[:, 0] ** 2 * w[:, 1]  # H_01 = 2·w_0
        >>> w = torch.tensor([[0.0, 0.0], [1.0, 0.0], [2.0, 0.0]])
        >>> [f"{p:.3f}" for p in penalty_per_sample(f, w, probes=probes).tolist()]
        ['0.000', '32.000', '128.000']
    """
    if criterion == "jacobian":
        return _total(_jacobian_variances(f, w, probes, epsilon))
    rows = [_variance(sums).reshape(len(w), -1) for sums in symmetric_sums(f, w, probes, epsilon)]
    return _total([row.mean(dim=1) if reduction == "mean" else row.amax(dim=1) for row in rows]) / epsilon**4


def hessian_penalty_exact(f: Callable[[Tensor], Outputs], w: Tensor, *, reduction: Reduction = "mean") -> Tensor:
    r"""Compute what `hessian_penalty` estimates, :math:`2 \sum_{i ≠ j} H_{ij}^2`, by automatic differentiation.

    The factor 2 belongs to it: it makes this equal to :math:`\mathrm{Var}_v(v^\top H v)`. Take half of it for the sum
    of squares itself. As epsilon goes to 0, the estimate with reduction mean has this as its expectation, with any
    number of probes. With max it lies above, the less so the more probes: the largest of noisy values is too large.
    On a network with kinks (ReLU) it is another quantity than the estimate: it does not see the kinks.

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
    _check_reduction(reduction)
    return 2 * _over_all([off_diagonal_sum(H) for H in _derivatives(f, w, order=2)], reduction)


def jacobian_penalty(
    f: Callable[[Tensor], Outputs],
    w: Tensor,
    *,
    num_probes: int = 2,
    epsilon: float = 0.1,
    reduction: Reduction = "mean",
    rng: torch.Generator | None = None,
    probes: Tensor | None = None,
) -> Tensor:
    r"""Estimate how far the columns of the Jacobian of ``f`` at ``w`` are from perpendicular (OroJaR).

    With :math:`M = J^\top J / P` over the P outputs of a sample and :math:`k` probes :math:`v` of random signs,

    .. math:: \mathrm{Var}_v\left[\frac1P \left\|\frac{f(w + εv) - f(w)}{ε}\right\|^2\right]
              ≈ \mathrm{Var}_v(v^\top M v) = 2 \sum_{i ≠ j} M_{ij}^2,

    with the unbiased variance and one-sided differences, as in the paper. The paper adds up the outputs where this
    takes their mean: its value is P² times this one.

    Args:
        f: Map as for `hessian_penalty`. It is called once, with m = (k + 1) · batch rows: first the points themselves,
            then the steps, probe by probe; row r belongs to sample ``r % batch``.
        w: (batch, …) points, float32 or float64.
        num_probes: Number of probes k, at least 2.
        epsilon: Finite-difference step, in units of ``w``.
        reduction: ``"mean"`` or ``"max"``, over the batch.
        rng: Source of the probes; ``None`` uses the global one.
        probes: (k, \*w.shape) vectors with entries ±1 to use in place of a draw.

    Returns:
        Scalar, for several tensors the sum of their reductions. Units: (output / unit of w)⁴.

    Raises:
        UserError: As for `hessian_penalty`.

    References:
        Wei et al. 2021, "Orthogonal Jacobian Regularization for Unsupervised Disentanglement in Image Generation",
        arXiv:2108.07668.

    Example:
        >>> w, rng = torch.zeros(4, 2), torch.Generator().manual_seed(0)
        >>> float(jacobian_penalty(lambda w: 3 * w, w, rng=rng))  # perpendicular columns
        0.0
        >>> probes = torch.tensor([[[1.0, 1.0]], [[1.0, -1.0]]])
        >>> f = lambda w: w.sum(dim=1)  # vᵀMv is 4 or 0: the variance of these two is 8
        >>> print(f"{float(jacobian_penalty(f, torch.zeros(1, 2), probes=probes)):.3f}")
        8.000
    """
    _check_reduction(reduction)
    w = to_tensor(w)
    return _over_all(_jacobian_variances(f, w, _probes(w, num_probes, epsilon, rng, probes), epsilon), reduction)


def jacobian_penalty_exact(f: Callable[[Tensor], Outputs], w: Tensor, *, reduction: Reduction = "mean") -> Tensor:
    r"""Compute what `jacobian_penalty` estimates, :math:`2 \sum_{i ≠ j} (J^\top J / P)_{ij}^2`.

    By automatic differentiation, for small problems.

    Args:
        f: Map from (m, n) to a tensor (m, …) or a list or tuple of them, as for `exact_hessian`.
        w: (batch, n) points.
        reduction: ``"mean"`` or ``"max"``, over the batch.

    Returns:
        Scalar, for several tensors the sum of their reductions.

    Raises:
        UserError: If the reduction is unknown or ``w`` is not two-dimensional.

    Example:
        >>> jacobian_penalty_exact(lambda w: w.sum(dim=1), torch.zeros(1, 2))  # 2 · (1² + 1²)
        tensor(4.)
    """
    _check_reduction(reduction)
    return 2 * _over_all([off_diagonal_sum(J.mT @ J / J.shape[1]) for J in _derivatives(f, w, order=1)], reduction)


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
    hessians = _derivatives(f, w, order=2)
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

    Example:
        >>> off_diagonal_sum(torch.tensor([[7.0, 3.0], [3.0, -5.0]]))
        tensor(18.)
    """
    diagonal = torch.eye(H.shape[-1], dtype=torch.bool, device=H.device)
    return H.masked_fill(diagonal, 0.0).square().sum(dim=(-2, -1))


def rademacher(
    shape: Sequence[int],
    rng: torch.Generator | None = None,
    *,
    dtype: torch.dtype | None = None,
    device: torch.device | str | None = None,
) -> Tensor:
    """Draw independent signs, +1 or −1 with equal chance.

    Only with these does the variance of ``vᵀHv`` leave out the diagonal of ``H``: every ``v_i²`` is exactly 1, so the
    diagonal adds the same to each draw.

    Args:
        shape: Of the result.
        rng: Source of the draw; drawn where it lives, so that a CPU one gives the same probes for every device.
            ``None`` uses the global one of ``device``.
        dtype: Float type of the result; ``None`` is torch's default.
        device: Where the result goes; ``None`` is the CPU.

    Returns:
        Tensor of that shape with entries ±1.

    Example:
        >>> rademacher((2, 4), torch.Generator().manual_seed(0)).abs().unique()
        tensor([1.])
    """
    target = device or "cpu"
    bits = torch.randint(2, shape, generator=rng, device=target if rng is None else rng.device, dtype=torch.int8)
    return bits.to(device=target, dtype=dtype or torch.get_default_dtype()).mul_(2).sub_(1)


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
    offsets = _offsets(w, probes, epsilon)
    rows = f"2 signs × {len(probes)} probes × {len(w)} points"
    # Summing a view of the batch casts on the way and makes no copy beside its result.
    return [
        output.unflatten(0, (2, len(probes), len(w))).sum(dim=0, dtype=torch.promote_types(output.dtype, torch.float32))
        for output in _evaluate(f, torch.cat((w + offsets, w - offsets)).flatten(0, 1), rows)
    ]


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
        first = [tensor.clone() for tensor in _as_tensors(f(w))]  # a map may reuse its output buffer
        second = _as_tensors(f(w))
    for a, b in zip(first, second, strict=True):
        size = float(a.abs().nan_to_num(0.0).max())
        if not torch.allclose(a, b, rtol=0.0, atol=_NOISE_TOLERANCE * size, equal_nan=True):
            raise UserError(
                f"f returned different outputs for the same input (by up to {float((a - b).abs().max()):.2g}, where "
                f"the largest output is {size:.2g}); a finite difference takes that for curvature. Put the generator "
                "in eval mode and give every evaluation the same noise."
            )


def _as_tensors(outputs: Outputs) -> list[Tensor]:
    """List the floating-point tensors that a map returned, at least one."""
    tensors: list[Any] = list(outputs) if isinstance(outputs, list | tuple) else [outputs]
    kinds = [tensor.dtype if isinstance(tensor, Tensor) else type(tensor).__name__ for tensor in tensors]
    if not kinds or not all(isinstance(kind, torch.dtype) and kind.is_floating_point for kind in kinds):
        allowed = "a floating-point tensor, or a list or tuple of them"
        raise UserError(f"f must return {allowed}, got {', '.join(map(str, kinds)) or 'an empty one'}.")
    return tensors


def _probes(w: Tensor, num_probes: int, epsilon: float, rng: torch.Generator | None, probes: Tensor | None) -> Tensor:
    """Check what an estimate is asked for, and draw its probes unless they are given."""
    count = num_probes if probes is None else len(probes) if probes.ndim else 0
    if count < 2:
        raise UserError(f"num_probes must be at least 2 (the variance over one probe is undefined), got {count}.")
    if not (epsilon > 0 and math.isfinite(epsilon)):
        raise UserError(f"epsilon must be a positive number (a step in units of w), got {epsilon}.")
    if w.ndim < 1 or not w.numel():
        raise UserError(f"w must be (batch, …) and hold at least one point, got shape {tuple(w.shape)}.")
    return rademacher((count, *w.shape), rng, dtype=w.dtype, device=w.device) if probes is None else probes


def _offsets(w: Tensor, probes: Tensor, epsilon: float) -> Tensor:
    """εv for each probe and point, (k, batch, …)."""
    if w.dtype not in (torch.float32, torch.float64):
        raise UserError(
            f"w must be float32 or float64, got {w.dtype}: it cannot hold w ± epsilon. Pass w.float() and, if f works "
            "in reduced precision, cast inside f."
        )
    if probes.shape[1:] != w.shape:
        raise UserError(
            f"probes must be (k, *w.shape), one vector for each point, got {tuple(probes.shape)} for w of shape "
            f"{tuple(w.shape)}."
        )
    return epsilon * probes.to(w)


def _evaluate(f: Callable[[Tensor], Outputs], points: Tensor, rows: str) -> list[Tensor]:
    """Call f once, and check that it kept the rows."""
    outputs = _as_tensors(f(points))
    for output in outputs:
        if output.ndim < 1 or len(output) != len(points):
            raise UserError(
                f"f must return one row for each row it gets: it got {len(points)} rows ({rows}) and returned a "
                f"tensor of shape {tuple(output.shape)}. Repeat what f holds for each point, such as a class: row r "
                "belongs to point r % batch."
            )
    return outputs


def _jacobian_variances(f: Callable[[Tensor], Outputs], w: Tensor, probes: Tensor, epsilon: float) -> list[Tensor]:
    """Variance over the probes of ‖Jv‖² / P, (batch,) for each tensor of f."""
    points = torch.cat((w.unsqueeze(0), w + _offsets(w, probes, epsilon))).flatten(0, 1)
    variances = []
    for output in _evaluate(f, points, f"1 + {len(probes)} probes, × {len(w)} points"):
        wide = output.to(torch.promote_types(output.dtype, torch.float32)).reshape(len(probes) + 1, len(w), -1)
        variances.append(_variance((wide[1:] - wide[0]).square().mean(dim=2) / epsilon**2))
    return variances


def _variance(values: Tensor) -> Tensor:
    """Unbiased variance over the first axis."""
    # Not torch.var: over a leading axis it is eight times slower on a CPU.
    return (values - values.mean(dim=0)).square().sum(dim=0) / (len(values) - 1)


def _derivatives(f: Callable[[Tensor], Outputs], w: Tensor, order: Literal[1, 2]) -> list[Tensor]:
    """Derivatives of each tensor of f by the coordinates of its row, (batch, outputs, n) or (batch, outputs, n, n)."""
    w = to_tensor(w)
    if w.ndim != 2 or not len(w):
        raise UserError(f"w must be (batch, n) with at least one point, got shape {tuple(w.shape)}.")

    def row(point: Tensor) -> tuple[Tensor, ...]:
        return tuple(tensor[0].flatten() for tensor in _as_tensors(f(point.unsqueeze(0))))

    # Reverse over reverse: more operations have a backward than a forward derivative (torch.func.hessian needs both).
    differentiate = torch.func.jacrev(row)
    if order == 2:
        differentiate = torch.func.jacrev(differentiate)
    by_point = [differentiate(point) for point in w]
    return [torch.stack(tensors) for tensors in zip(*by_point, strict=True)]


def _check_reduction(reduction: str) -> None:
    if reduction not in ("mean", "max"):
        hint = nearest(str(reduction), ("mean", "max"))
        raise UserError(f"reduction must be 'mean' or 'max', got {reduction!r}.{hint}")


def _over_all(values: Sequence[Tensor], reduction: Reduction) -> Tensor:
    """Reduce each tensor over batch and outputs, and add up the results."""
    return _total([value.mean() if reduction == "mean" else value.amax() for value in values])


def _total(terms: list[Tensor]) -> Tensor:
    # Layers of a model may lie on several devices.
    return sum((term.to(terms[0].device) for term in terms[1:]), start=terms[0])
