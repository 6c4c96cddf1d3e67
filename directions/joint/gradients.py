r"""Hessians of random combinations of the outputs, by differences of gradients: for latents of many dimensions.

For :math:`r ∼ N(0, I)` over the outputs, :math:`f_r(w) = \langle r, f(w) \rangle` has a Hessian :math:`H_r` with
:math:`E_r\,(H_r)_{ij}(H_r)_{kl} = \sum_p (H_p)_{ij} (H_p)_{kl}`, so that a few such Hessians stand for those of all
outputs. One takes 2n forward passes and as many backward; further probes at the same point share the forward passes.
The price: few probes are noisy, and a kink (ReLU) is seen along the axis of the step only.
`directions.joint.differences` has neither fault, but its cost grows with n².
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from directions.joint.symmetric import half_vectors


def gradient_evaluations(n: int, num_probes: int) -> int:
    """Return the number of forward and backward passes at a point, a pass through one image counting as one each."""
    return 2 * n * (1 + num_probes)


def gradient_hessians(
    f: Callable[[Tensor], Tensor],
    w: Tensor,
    *,
    num_probes: int,
    step: float,
    rng: torch.Generator,
    rows: int = 64,
) -> Tensor:
    r"""Measure the Hessians of random combinations of the outputs.

    Args:
        f: Map from (m, n) to (m, …), row by row, differentiable.
        w: (1, n) the point.
        num_probes: Number of combinations.
        step: Distance h between the point and each gradient, in units of ``w``.
        rng: Source of the combinations, on the CPU.
        rows: Evaluations at once, at most.

    Returns:
        (num_probes, n(n+1)/2) half-vectors (`directions.joint.symmetric`) of the symmetric part of
        :math:`[∇f_r(w + h e_i) - ∇f_r(w - h e_i)]_j / 2h`, with :math:`r` divided by the square root of the number of
        outputs, so that their mean square is the mean over outputs.
    """
    n = w.shape[1]
    axes = step * torch.eye(n, dtype=w.dtype, device=w.device)
    probes: Tensor | None = None
    parts = []
    for x in torch.cat((w + axes, w - axes)).split(max(1, rows)):
        x = x.clone().requires_grad_()
        with torch.enable_grad():
            outputs = f(x).flatten(1)
        if probes is None:
            drawn = torch.randn(num_probes, outputs.shape[1], generator=rng, dtype=w.dtype)
            probes = drawn.to(outputs) / outputs.shape[1] ** 0.5
        gradients = [
            torch.autograd.grad(outputs, x, probe.expand_as(outputs), retain_graph=number < num_probes - 1)[0]
            for number, probe in enumerate(probes)
        ]
        parts.append(torch.stack(gradients))
    forwards, backwards = torch.cat(parts, dim=1).chunk(2, dim=1)
    H = (forwards - backwards) / (2 * step)
    return half_vectors((H + H.mT) / 2)
