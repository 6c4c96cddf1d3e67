"""How far a direction is worth going: to where the prior ends or the image stops changing, whichever comes first.

After discovery; what comes out is the default amplitude of renderings and of the explorer.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from directions.generators.edits import edited_images
from directions.sampling import derived_rng, draw_points

if TYPE_CHECKING:
    from directions.generators.base import Generator
    from directions.generators.layers import LayerRange

_STAGES = 4
_STILL_CHANGING = 0.25  # of the fastest stage's rate; well above the noise of the mean, well below a visible slowdown


def prior_radius(dim_z: int, truncation: float = 1.0, quantile: float = 0.999) -> float:
    """Return how far a typical z may go along one direction before its length becomes implausible.

    A z without its part along the direction has a squared length of about dim_z − 1. It may go as far as its length
    stays below the given quantile of the lengths that the prior draws: √(χ²(quantile) − (dim_z − 1)), times the
    truncation.

    Args:
        dim_z: Width of z.
        truncation: Spread of z, in (0, 1].
        quantile: Part of all z that is shorter than the limit.

    Returns:
        Distance in units of z; 4.68 for 12 dimensions, 7.50 for 128.
    """
    from scipy.special import gammaincinv

    return truncation * math.sqrt(2 * float(gammaincinv(dim_z / 2, quantile)) - (dim_z - 1))


@torch.no_grad()
def suggested_path_sizes(
    generator: Generator,
    basis: Tensor,
    *,
    largest: float,
    samples: int = 16,
    classes: Sequence[int] = (),
    truncation: float = 1.0,
    layers: LayerRange | None = None,
    seed: int = 0,
) -> tuple[float, ...]:
    """Suggest how far to move along each direction.

    Starting point is the smaller of `prior_radius` and ``largest``. It is cut into four stages. From a z without its
    part along the direction, images are made at the ends of the stages, to either side, and a stage's rate is the root
    mean square difference of its two images. Stages at the end that change the image less than a quarter as fast as the
    fastest stage are left out: there the image is saturated.

    Args:
        generator: In eval mode.
        basis: Orthonormal rows, (ndirs, |z|).
        largest: Upper limit, in units of z; discovery gives the distance it trained for.
        samples: Number of samples; the same for each direction.
        classes: Class indices that samples are drawn from, uniformly; empty for a generator without classes.
        truncation: Spread of z and the generator's setting, in (0, 1].
        layers: The layers that see the moved z, the others see z; ``None`` is all.
        seed: Seed of the samples.

    Returns:
        A path size for each direction, in units of z, rounded to 0.01.
    """
    rng = derived_rng(seed, purpose="path size")
    points = draw_points(generator, samples, rng, classes=tuple(classes), truncation=truncation)
    basis = basis.to(points.z)
    limit = min(largest, prior_radius(generator.dim_z, truncation))
    amounts = torch.linspace(-limit, limit, 2 * _STAGES + 1).to(points.z)
    squared = torch.zeros(len(basis), 2 * _STAGES, dtype=torch.float64)
    for sample in range(samples):
        point = points[sample : sample + 1]
        make_images = edited_images(generator, point.z, point.y, layers=layers, truncation=truncation)
        for index, direction in enumerate(basis):
            centred = point.z - (point.z @ direction) * direction
            images = make_images(centred + amounts[:, None] * direction).double()
            squared[index] += images.diff(dim=0).square().flatten(1).mean(dim=1).cpu()
    sizes = []
    for stages in squared:
        outwards = stages[_STAGES:] + stages[:_STAGES].flip(0)
        changing = (outwards.sqrt() >= _STILL_CHANGING * outwards.sqrt().max()).nonzero()
        sizes.append(round(limit * (int(changing[-1]) + 1) / _STAGES, 2))
    return tuple(sizes)
