"""Draw steps along the directions and move latents by them: ``η``, ``w = η·e_i``, ``z + wQ``.

The rows ``Q`` come from `directions.basis`; the penalty in `directions.penalty` judges the map
``w ↦ G(z + wQ)`` at the ``w`` drawn here.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from directions.errors import UserError


def draw_steps(
    n: int,
    ndirs: int,
    path_size: float,
    rng: torch.Generator | None = None,
    *,
    dtype: torch.dtype | None = None,
    device: torch.device | str | None = None,
) -> tuple[Tensor, Tensor]:
    """Draw ``n`` steps, each along one direction.

    Args:
        n: Number of steps.
        ndirs: Number of directions ``N``; each is drawn equally often in the long run.
        path_size: Bound of the step length, in latent units.
        rng: Source of the draw; drawn where it lives, so that a CPU one gives the same steps for every device.
            ``None`` uses the global one.
        dtype: Float type of the lengths; ``None`` is torch's default.
        device: Where the result goes; ``None`` is the CPU.

    Returns:
        Direction indices (n,), int64, uniform over 0 … ndirs − 1, and lengths eta (n,), uniform on
        [−path_size, path_size).

    Raises:
        UserError: If ``n`` or ``ndirs`` is below 1, or ``path_size`` is not a positive number.
    """
    if n < 1:
        raise UserError(f"n must be at least 1, got {n}.")
    if ndirs < 1:
        raise UserError(f"ndirs must be at least 1, got {ndirs}.")
    if not (path_size > 0 and math.isfinite(path_size)):
        raise UserError(f"path_size must be a positive number (in latent units), got {path_size}.")
    source = rng.device if rng is not None else torch.device("cpu")
    index = torch.randint(ndirs, (n,), generator=rng, device=source)
    eta = torch.rand(n, generator=rng, dtype=dtype, device=source).mul_(2).sub_(1).mul_(path_size)
    target = device if device is not None else "cpu"
    return index.to(target), eta.to(target)


def one_hot_steps(index: Tensor, eta: Tensor, ndirs: int) -> Tensor:
    """Write steps along single directions as rows ``w = η·e_i``.

    Args:
        index: (n,) direction of each step, 0 … ndirs − 1.
        eta: (n,) signed length of each step, in latent units.
        ndirs: Number of directions ``N``.

    Returns:
        ``w`` (n, ndirs), of the type of ``eta`` and differentiable with respect to it.

    Raises:
        UserError: If ``index`` and ``eta`` are not of one length.

    Example:
        >>> one_hot_steps(torch.tensor([2, 0]), torch.tensor([-1.5, 4.0]), 3)
        tensor([[ 0.0000,  0.0000, -1.5000],
                [ 4.0000,  0.0000,  0.0000]])
    """
    if index.ndim != 1 or index.shape != eta.shape:
        raise UserError(
            f"index and eta must be two vectors of one length, got shapes {tuple(index.shape)} and {tuple(eta.shape)}."
        )
    return eta.new_zeros(len(index), ndirs).scatter(1, index.unsqueeze(1), eta.unsqueeze(1))


def move(z: Tensor, Q: Tensor, w: Tensor) -> Tensor:
    """Move latents along the directions: ``z + wQ``.

    Args:
        z: (…, dim) latents.
        Q: (ndirs, dim) directions as rows.
        w: (…, ndirs) signed distance along each direction, in latent units; batch shapes broadcast.

    Returns:
        (…, dim) moved latents.

    Raises:
        UserError: If the widths of ``z``, ``Q`` and ``w`` do not fit.

    Example:
        >>> move(torch.tensor([1.0, 1.0]), torch.tensor([[0.0, 1.0]]), torch.tensor([[-2.0], [3.0]]))
        tensor([[ 1., -1.],
                [ 1.,  4.]])
    """
    if Q.ndim != 2 or z.ndim < 1 or z.shape[-1] != Q.shape[1]:
        raise UserError(
            f"z must end in the width of the directions: Q is {tuple(Q.shape)} (ndirs, dim), z is {tuple(z.shape)}."
        )
    if w.ndim < 1 or w.shape[-1] != Q.shape[0]:
        raise UserError(
            f"w must end in the number of directions: Q is {tuple(Q.shape)} (ndirs, dim), w is {tuple(w.shape)}."
        )
    return z + w @ Q
