"""Activeness: how much a direction changes the image.

After discovery: the penalty says nothing about it (a direction that does nothing has none), so directions are put in
order by it, and those at the end of a list can be ignored.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from directions.generators.edits import edited_images
from directions.sampling import derived_rng, draw_points

if TYPE_CHECKING:
    from directions.generators.base import Generator
    from directions.generators.layers import LayerRange


@torch.no_grad()
def activeness(
    generator: Generator,
    basis: Tensor,
    *,
    samples: int = 300,
    classes: Sequence[int] = (),
    truncation: float = 1.0,
    layers: LayerRange | None = None,
    seed: int = 0,
    rows: int = 64,
    count: Callable[[int], object] = lambda images: None,
) -> Tensor:
    r"""Measure how much the image varies along each direction.

    For a direction q and a sample z, the coordinate of z along q is set to −2t, 0 and 2t, with t the truncation (for
    t = 1, two standard deviations of the prior to either side), that is, images are made at z − (z·q)q + c·q. The
    activeness is the variance (unbiased) of each pixel over these three, averaged over pixels, channels and samples.
    For a z axis this is what the paper's code computes for a component of z.

    Args:
        generator: In eval mode.
        basis: Orthonormal rows, (ndirs, |z|).
        samples: Number of samples; the same for each direction. The paper takes 300.
        classes: Class indices that samples are drawn from, uniformly; empty for a generator without classes.
        truncation: Spread of z and the generator's setting, in (0, 1].
        layers: The layers that see the z with another coordinate, the others see z; ``None`` is all.
        seed: Seed of the samples.
        rows: Images to make at once, at most; at least three are.
        count: Called with the number of images that were just made (a progress bar).

    Returns:
        (ndirs,) float64, in units of image². Images are in [−1, 1].

    References:
        Peebles et al. 2020, arXiv:2008.10599, section 4.
    """
    rng = derived_rng(seed, purpose="activeness")
    points = draw_points(generator, samples, rng, classes=tuple(classes), truncation=truncation)
    basis = basis.to(points.z)
    coordinates = points.z.new_tensor([-2.0, 0.0, 2.0]) * truncation
    chunk = max(1, rows // len(coordinates))
    totals = torch.zeros(len(basis), dtype=torch.float64)
    for start in range(0, samples, chunk):
        part = points[start : start + chunk]
        make_images = edited_images(generator, part.z, part.y, layers=layers, truncation=truncation)
        for index, direction in enumerate(basis):
            centred = part.z - torch.outer(part.z @ direction, direction)
            moved = centred + coordinates[:, None, None] * direction
            images = make_images(moved.flatten(0, 1))
            count(len(images))
            variance = images.double().unflatten(0, (len(coordinates), len(part))).var(dim=0)
            totals[index] += variance.flatten(1).mean(dim=1).sum().cpu()
    return totals / samples
