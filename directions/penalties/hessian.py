"""The Hessian Penalty: the variance of ``vᵀHv`` over random probes, from two evaluations a probe.

The sums of `directions.penalties.derivatives` come in; discovery and GAN training minimise the scalar that goes
out. `directions.penalties.exact` has the value that it estimates.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from directions.errors import UserError
from directions.penalties.derivatives import Outputs, symmetric_sums
from directions.penalties.probes import rademacher
from directions.penalties.reductions import Reduction, check_reduction, over_all, over_outputs


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
        w: (batch, …) points, float32 or float64, such as signed distances along each direction, in latent units.
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
    check_reduction(reduction)
    # Dividing the scalar and not the images by ε² spares a pass over them.
    return over_all(_variances(f, w, num_probes, epsilon, rng, probes), reduction) / epsilon**4


def penalty_per_sample(
    f: Callable[[Tensor], Outputs],
    w: Tensor,
    *,
    num_probes: int = 2,
    epsilon: float = 0.1,
    reduction: Reduction = "mean",
    rng: torch.Generator | None = None,
    probes: Tensor | None = None,
) -> Tensor:
    """Estimate the penalty of each sample by itself.

    With reduction mean the mean over samples is `hessian_penalty`; with max and one tensor, the largest is.
    For micro-batches, whose sums give a batch's penalty and gradient exactly, and for scores with a standard error.

    Args:
        f: As for `hessian_penalty`.
        w: (batch, …) points, float32 or float64.
        num_probes: Number of probes k, at least 2.
        epsilon: Finite-difference step, in units of ``w``.
        reduction: ``"mean"`` or ``"max"``, over the outputs of a sample.
        rng: Source of the probes; ``None`` uses the global one.
        probes: (k, *w.shape) to use in place of a draw.

    Returns:
        (batch,) variance reduced over outputs; for several tensors the sum of their reductions.

    Raises:
        UserError: As for `hessian_penalty`.

    Example:
        >>> probes = torch.tensor([[[1.0, 1.0]], [[1.0, -1.0]]]).expand(2, 3, 2)
        >>> f = lambda w: w[:, 0] ** 2 * w[:, 1]  # H_01 = 2·w_0
        >>> w = torch.tensor([[0.0, 0.0], [1.0, 0.0], [2.0, 0.0]])
        >>> [f"{p:.3f}" for p in penalty_per_sample(f, w, probes=probes).tolist()]
        ['0.000', '32.000', '128.000']
    """
    check_reduction(reduction)
    return over_outputs(_variances(f, w, num_probes, epsilon, rng, probes), reduction) / epsilon**4


def _variances(
    f: Callable[[Tensor], Outputs],
    w: Tensor,
    num_probes: int,
    epsilon: float,
    rng: torch.Generator | None,
    probes: Tensor | None,
) -> list[Tensor]:
    """Unbiased variance over the probes of ε² vᵀHv, (batch, …) for each tensor of ``f``."""
    count = num_probes if probes is None else len(probes) if probes.ndim else 0
    if count < 2:
        raise UserError(f"num_probes must be at least 2 (the variance over one probe is undefined), got {count}.")
    if not (epsilon > 0 and math.isfinite(epsilon)):
        raise UserError(f"epsilon must be a positive number (a step in units of w), got {epsilon}.")
    if w.ndim < 1 or not w.numel():
        raise UserError(f"w must be (batch, …) and hold at least one point, got shape {tuple(w.shape)}.")
    if probes is None:
        probes = rademacher((count, *w.shape), rng, dtype=w.dtype, device=w.device)
    return [_variance(sums) for sums in symmetric_sums(f, w, probes, epsilon)]


def _variance(sums: Tensor) -> Tensor:
    # Not torch.var: over a leading axis it is eight times slower on a CPU.
    return (sums - sums.mean(dim=0)).square().sum(dim=0) / (len(sums) - 1)
