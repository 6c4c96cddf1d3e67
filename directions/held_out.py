"""The yardstick of discovery: the penalty of a basis at a fixed set of places, with fixed probes.

The training loss is too noisy to read progress off: each step has other samples and few probes. The held-out set is
drawn once, from a seed of its own, so that every run with the same sampling settings, every baseline and every step is
scored at the same places. It comes after the penalty, and before discovery and the comparison with baselines.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from directions.config import DiscoverConfig, Reduction
from directions.devices import full_float32
from directions.penalties.hessian import hessian_penalty, penalty_per_sample
from directions.penalties.probes import rademacher
from directions.sampling import Points, derived_rng, draw_points, image_map, resolve_classes
from directions.steps import one_hot_steps

if TYPE_CHECKING:
    from directions.generators.base import Generator


@dataclass(frozen=True)
class HeldOutSet:
    """Fixed places and probes; together with a basis they give one number."""

    points: Points
    """Latents and classes."""
    position: Tensor
    """Which direction each point is moved along, (points,), as a fraction in [0, 1) of their number."""
    eta: Tensor
    """How far each point is moved, (points,), in units of z."""
    probes: Tensor
    """Signs, (num_probes, points, |z|); a basis of N directions uses the first N."""
    epsilon: float
    """Finite-difference step, in units of z."""
    truncation: float
    """The generator's truncation setting, in (0, 1]."""
    reduction: Reduction
    """Over points and the generator's outputs."""
    rows: int
    """About how many images to make at once."""

    def steps(self, ndirs: int) -> Tensor:
        """Return the one-hot steps w of the points for a basis of ``ndirs`` directions, (points, ndirs)."""
        index = (self.position * ndirs).long().clamp(max=ndirs - 1)
        return one_hot_steps(index, self.eta, ndirs)


def draw_held_out(generator: Generator, config: DiscoverConfig) -> HeldOutSet:
    """Draw the held-out set of a configuration; the run's seed plays no part in it.

    Args:
        generator: What will be scored.
        config: Number of points and probes, classes, truncation, path size, epsilon.

    Returns:
        The set, on the generator's device.
    """
    rng = derived_rng(0, purpose="held-out")
    classes = resolve_classes(generator, config.classes)
    points = draw_points(generator, config.held_out, rng, classes=classes, truncation=config.truncation)
    dtype, device = points.z.dtype, points.z.device
    position = torch.rand(config.held_out, generator=rng, dtype=torch.float64)
    eta = config.path_size * (2 * torch.rand(config.held_out, generator=rng, dtype=torch.float64) - 1)
    shape = (config.held_out_probes, config.held_out, generator.dim_z)
    return HeldOutSet(
        points=points,
        position=position.to(device),
        eta=eta.to(device, dtype),
        probes=rademacher(shape, rng, dtype=dtype, device=device),
        epsilon=config.epsilon,
        truncation=config.truncation,
        reduction=config.reduction,
        rows=2 * config.num_probes * (config.micro_batch or config.batch_size),
    )


@torch.no_grad()
def held_out_penalty(generator: Generator, basis: Tensor, held_out: HeldOutSet) -> float:
    """Score a basis: the Hessian penalty of w ↦ G(z + wQ) over all its directions, at the held-out places.

    Args:
        generator: In eval mode.
        basis: Orthonormal rows, (ndirs, |z|); a learned one, a random one, z axes.
        held_out: The places and probes; comparisons need the same set and the same ndirs.

    Returns:
        Mean or maximum over points and outputs, in units of (image / z²)².
    """
    ndirs = len(basis)
    basis = basis.to(held_out.points.z)
    w = held_out.steps(ndirs)
    chunk = max(1, held_out.rows // (2 * len(held_out.probes)))
    scores: list[float] = []
    with full_float32():
        for start in range(0, len(w), chunk):
            part = slice(start, start + chunk)
            f = image_map(generator, held_out.points[part], basis, held_out.truncation)
            probes = held_out.probes[:, part, :ndirs]
            if held_out.reduction == "mean":
                scores += penalty_per_sample(f, w[part], epsilon=held_out.epsilon, probes=probes).tolist()
            else:
                largest = hessian_penalty(f, w[part], epsilon=held_out.epsilon, probes=probes, reduction="max")
                scores.append(float(largest))
    # Summed exactly, so that the score does not depend on the order or the chunks; max() would pass over NaN.
    if held_out.reduction == "mean" or not all(map(math.isfinite, scores)):
        return math.fsum(scores) / len(scores)
    return max(scores)
