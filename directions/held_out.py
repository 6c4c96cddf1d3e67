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
from directions.distributed.ranks import Ranks
from directions.generators.edits import chosen_layers
from directions.penalties.hessian import hessian_penalty, penalty_per_sample
from directions.sampling import Points, derived_rng, draw_points, image_map, resolve_classes
from directions.steps import one_hot_steps

if TYPE_CHECKING:
    from directions.generators.base import Generator
    from directions.generators.layers import LayerRange


@dataclass(frozen=True)
class HeldOutSet:
    """Fixed places and probes; together with a basis they give one number.

    Which direction a point is moved along, and the probes' signs, follow from fixed vectors of the latent space and not
    from the directions' numbers. The score therefore belongs to the directions themselves: it is the same in any order
    and with any signs. For each basis by itself, the draws have the distribution of training.
    """

    points: Points
    """Latents and classes."""
    choosers: Tensor
    """(points, |z|) normal: a point is moved along the direction that is closest to its chooser, either way."""
    eta: Tensor
    """How far each point is moved, (points,), in units of z."""
    probe_normals: Tensor
    """(num_probes, points, |z|) normal: the sign of a direction's product with it is the direction's entry."""
    epsilon: float
    """Finite-difference step, in units of z."""
    truncation: float
    """The generator's truncation setting, in (0, 1]."""
    layers: LayerRange | None
    """The layers that directions act on; ``None`` is all."""
    reduction: Reduction
    """Over points and the generator's outputs."""
    rows: int
    """About how many images to make at once."""

    @property
    def num_probes(self) -> int:
        """Probes at each place."""
        return len(self.probe_normals)

    def steps(self, basis: Tensor) -> Tensor:
        """Return the one-hot steps w of the points.

        Args:
            basis: Orthonormal rows, (ndirs, |z|).

        Returns:
            (points, ndirs). The direction is uniform over the basis, since a normal vector is as close to one as to
            another.
        """
        products = self.choosers @ basis.T
        index = products.abs().argmax(dim=1)
        return one_hot_steps(index, self.eta * _sign(products.gather(1, index[:, None])[:, 0]), len(basis))

    def probes(self, basis: Tensor) -> Tensor:
        """Return the probes' signs.

        Args:
            basis: Orthonormal rows, (ndirs, |z|).

        Returns:
            (num_probes, points, ndirs): independent signs, since products of a normal vector with orthonormal ones are.
        """
        return _sign(self.probe_normals @ basis.T)


def _sign(values: Tensor) -> Tensor:
    """Return +1 or -1, also for zero."""
    return torch.where(values < 0, -1.0, 1.0).to(values)


def draw_held_out(generator: Generator, config: DiscoverConfig, *, seed: int = 0) -> HeldOutSet:
    """Draw the held-out set of a configuration; the run's seed plays no part in it.

    Args:
        generator: What will be scored.
        config: Number of points and probes, classes, truncation, path size, epsilon, layers.
        seed: Which set: discovery always takes 0; others tell how much a score depends on the places.

    Returns:
        The set, on the generator's device.
    """
    rng = derived_rng(seed, purpose="held-out")
    classes = resolve_classes(generator, config.classes)
    n, dim = config.held_out, generator.dim_z
    points = draw_points(generator, n, rng, classes=classes, truncation=config.truncation)
    eta = config.path_size * (2 * torch.rand(n, generator=rng, dtype=torch.float64) - 1)
    choosers = torch.randn(n, dim, generator=rng, dtype=torch.float64)
    probe_normals = torch.randn(config.held_out_probes, n, dim, generator=rng, dtype=torch.float64)
    return HeldOutSet(
        points=points,
        choosers=choosers.to(points.z),
        eta=eta.to(points.z),
        probe_normals=probe_normals.to(points.z),
        epsilon=config.epsilon,
        truncation=config.truncation,
        layers=chosen_layers(generator, config.layers),
        reduction=config.reduction,
        rows=2 * config.num_probes * (config.micro_batch or config.batch_size),
    )


@torch.no_grad()
def held_out_penalty(generator: Generator, basis: Tensor, held_out: HeldOutSet, *, ranks: Ranks | None = None) -> float:
    """Score a basis: the Hessian penalty of w ↦ G(z + wQ) over all its directions, at the held-out places.

    Args:
        generator: In eval mode.
        basis: Orthonormal rows, (ndirs, |z|), in any order: a learned one, a random one, z axes.
        held_out: The places and probes; comparisons need the same set and the same ndirs.
        ranks: Those that share the places; ``None`` is this process alone.

    Returns:
        Mean or maximum over points and outputs, in units of (image / z²)².
    """
    ranks = ranks or Ranks()
    basis = basis.to(held_out.points.z)
    w, all_probes = held_out.steps(basis), held_out.probes(basis)
    chunk = max(1, held_out.rows // (2 * held_out.num_probes))
    scores: list[list[float]] = []
    with full_float32():
        for start in ranks.share(range(0, len(w), chunk)):
            part = slice(start, start + chunk)
            f = image_map(generator, held_out.points[part], basis, held_out.truncation, held_out.layers)
            probes = all_probes[:, part]
            if held_out.reduction == "mean":
                scores.append(penalty_per_sample(f, w[part], epsilon=held_out.epsilon, probes=probes).tolist())
            else:
                largest = hessian_penalty(f, w[part], epsilon=held_out.epsilon, probes=probes, reduction="max")
                scores.append([float(largest)])
    every = [score for part in ranks.collect(scores) for score in part]
    # Summed exactly, so that the score does not depend on the order or the chunks; max() would pass over NaN.
    if held_out.reduction == "mean" or not all(map(math.isfinite, every)):
        return math.fsum(every) / len(every)
    return max(every)
