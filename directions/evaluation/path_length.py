r"""Perceptual path length: how much the image changes, as a network sees it, over a small step between two latents.

After training. With slerp the great circle between two normalised latents and d the distance of a named network,

.. math:: \mathrm{PPL} = \operatorname{mean} \frac{1}{h^2}\,
          d\bigl(G(\mathrm{slerp}(z_1, z_2; 0)), G(\mathrm{slerp}(z_1, z_2; h))\bigr), \qquad h = 10^{-4},

without the 1 % of pairs of the largest and the 1 % of the smallest distances. This is the setting of the paper, "z, end
points": the step starts at one of the two latents, not somewhere between them.

The circle has the radius :math:`\sqrt{|z|}`, near which latents of the normal prior lie. For a generator that
normalises its z, as the paper's does, the radius is of no effect, and this is the paper's formula, which takes
radius 1.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor

from directions.devices import full_float32
from directions.errors import NonFiniteError, UserError
from directions.sampling import derived_rng, draw_points

if TYPE_CHECKING:
    from directions.generators.base import Generator

STEP = 1e-4
OUTER = 0.01


class ImageDistance(Protocol):
    """What a path length needs of a network.

    Attributes:
        name: Stands in the names of metrics.
        digest: SHA-256 of the weights.
    """

    name: str
    digest: str

    def distances(self, first: Tensor, second: Tensor) -> Tensor:
        """Measure (batch,) distances between pairs of images (batch, 3, height, width) in [−1, 1]."""
        ...


@dataclass(frozen=True)
class PathLength:
    """A perceptual path length.

    Attributes:
        value: Trimmed mean over the pairs, in the network's distance per step².
        error: Its standard error: standard deviation of the pairs that count over the root of their number.
        pairs: Number of pairs drawn.
    """

    value: float
    error: float
    pairs: int


@torch.no_grad()
def perceptual_path_length(
    generator: Generator,
    network: ImageDistance,
    *,
    pairs: int = 100_000,
    step: float = STEP,
    classes: Sequence[int] = (),
    truncation: float = 1.0,
    seed: int = 0,
    rows: int = 64,
    count: Callable[[int], object] = lambda pairs: None,
) -> PathLength:
    """Measure the perceptual path length in z, at end points; see the module for the definition.

    Args:
        generator: In eval mode.
        network: Whose distance.
        pairs: Pairs of latents. The paper takes 100,000.
        step: Part of the way from one latent to the other.
        classes: Class indices that pairs are drawn from, uniformly, one for both images of a pair; empty for a
            generator without classes.
        truncation: Spread of z and the generator's setting, in (0, 1].
        seed: Seed of pairs and classes; the same pairs for any ``rows``.
        rows: Images to make at once, at most; at least a pair is.
        count: Called with the number of pairs that were just measured (a progress bar).

    Returns:
        The path length.

    Raises:
        UserError: If ``pairs``, ``step`` or ``rows`` is out of range.
        NonFiniteError: If distances are not finite.
    """
    if pairs < 1:
        raise UserError(f"pairs must be at least 1, got {pairs}.")
    if not 0 < step <= 1:
        raise UserError(f"step must be above 0 and at most 1 (a part of the way), got {step}.")
    if rows < 1:
        raise UserError(f"rows must be at least 1, got {rows}.")
    starts = draw_points(
        generator, pairs, derived_rng(seed, purpose="path length, from"), classes=tuple(classes), truncation=truncation
    )
    ends = draw_points(
        generator, pairs, derived_rng(seed, purpose="path length, to"), classes=(), truncation=truncation
    )
    radius = math.sqrt(generator.dim_z)
    chunk = max(1, rows // 2)
    distances = torch.empty(pairs, dtype=torch.float64)
    with full_float32():
        for first in range(0, pairs, chunk):
            part = slice(first, first + chunk)
            start, end = starts[part], ends[part].z
            z = torch.cat([radius * slerp(start.z, end, t) for t in (0.0, step)])
            # Both ends in one batch, so that they are computed alike: a step is small.
            images = generator(z.to(start.z), start.repeat(2).y, truncation=truncation)
            distances[part] = network.distances(*images.chunk(2)).double().cpu()
            count(len(start))
    if not bool(distances.isfinite().all()):
        raise NonFiniteError("The images along the paths hold NaN or infinity. Use other weights.")
    kept = without_outer(distances / step**2)
    error = float(kept.std() / math.sqrt(len(kept))) if len(kept) > 1 else math.nan
    return PathLength(float(kept.mean()), error, pairs)


def slerp(first: Tensor, second: Tensor, t: float) -> Tensor:
    """Go a part of the way along the great circle between two directions.

    Args:
        first: (batch, n), not 0.
        second: (batch, n), not 0.
        t: Part of the way, from 0 to 1.

    Returns:
        (batch, n) float64 of length 1: at t = 0 the direction of ``first``, at 1 that of ``second``. Between opposite
        directions there is no one way, and the result is then no more than finite.

    Example:
        >>> slerp(torch.tensor([[2.0, 0.0]]), torch.tensor([[0.0, 3.0]]), 1 / 3)
        tensor([[0.8660, 0.5000]], dtype=torch.float64)
    """
    # In float64: a ten-thousandth of the way is a change in float32's last digits.
    a = torch.nn.functional.normalize(first.double(), dim=1)
    b = torch.nn.functional.normalize(second.double(), dim=1)
    cosine = (a * b).sum(dim=1, keepdim=True).clamp(-1, 1)
    across = torch.nn.functional.normalize(b - cosine * a, dim=1)
    angle = t * torch.acos(cosine)
    return torch.nn.functional.normalize(a * torch.cos(angle) + across * torch.sin(angle), dim=1)


def without_outer(values: Tensor, share: float = OUTER) -> Tensor:
    """Leave out the smallest and the largest values.

    Args:
        values: (n,), n at least 1.
        share: What to leave out at either end, in [0, ½).

    Returns:
        The values between the ``share`` quantile, rounded down to one of the values, and the ``1 - share`` quantile,
        rounded up, both included; in their order.

    Example:
        >>> without_outer(torch.arange(200.0)).aminmax()
        torch.return_types.aminmax(
        min=tensor(1.),
        max=tensor(198.))
    """
    ordered = values.sort().values
    # Not torch.quantile: it refuses more than 2**24 values and interpolates in the values' own precision.
    low = ordered[math.floor(share * (len(values) - 1))]
    high = ordered[math.ceil((1 - share) * (len(values) - 1))]
    return values[(values >= low) & (values <= high)]
