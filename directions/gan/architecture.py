"""What the trainer asks of an architecture: two networks, what they draw, and the two losses.

``progan`` and ``biggan`` fulfil it; ``trainer`` holds the loop's state and knows neither.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from directions.gan.schedule import Stage


@dataclass(frozen=True)
class Batch:
    """What one step sees, or of it the part of one of several processes."""

    real: Tensor
    """(batch, 3, h, w) real images in [-1, 1], as the stage shows them."""
    labels: Tensor
    """(batch,) their classes, int64; zeros without classes."""
    rng: torch.Generator
    """Source of what the step draws, on the CPU."""
    stage: Stage
    """Where growth stands."""
    step: int
    """Number of the step, from 0."""
    seen: int
    """Real images shown before it."""
    part: slice
    """Which samples of the stage's batch these are."""

    def own(self, draws: Tensor, dim: int = 0) -> Tensor:
        """Take what belongs to these samples out of draws for the stage's whole batch, along a dimension."""
        return draws.narrow(dim, self.part.start, self.part.stop - self.part.start)


Terms = dict[str, Tensor]
"""Scalars to be logged, by name; ``"loss"`` is what the optimiser minimises."""


class Architecture(Protocol):
    """A generator, a discriminator, and how they are trained against each other."""

    @property
    def generator(self) -> nn.Module:
        """What is trained."""
        ...

    @property
    def discriminator(self) -> nn.Module:
        """Its opponent."""
        ...

    def discriminator_terms(self, batch: Batch) -> Terms:
        """Judge real and generated images; ``"loss"`` carries the discriminator's gradient."""
        ...

    def generator_terms(self, batch: Batch) -> Terms:
        """Judge generated images only, after the discriminator's step; ``"loss"`` carries the generator's gradient."""
        ...

    def samples(self, network: nn.Module, columns: int, stage: Stage) -> Tensor:
        """Images of a generator of this kind at latents that never change, ``columns`` in a row."""
        ...

    def export(self, average: nn.Module, folder: Path, stage: Stage, kimg: float, *, finished: bool) -> None:
        """Write the averaged generator into a run folder, where that can be done at any time, or at the end."""
        ...

    def export_config(self) -> dict[str, Any]:
        """What a reader of the exported weights must know, as plain JSON types."""
        ...


def spread_of(images: Tensor) -> Tensor:
    """Measure how much the images of a batch differ: the standard deviation over the batch, mean over pixels.

    Args:
        images: (batch, 3, h, w), at least 2.

    Returns:
        Scalar, in units of the images.
    """
    return images.detach().float().std(dim=0).mean()


def diversity_of(fake: Tensor, real: Tensor) -> Tensor:
    """Compare how much generated images differ from each other with how much real ones do.

    Args:
        fake: (batch, 3, h, w) generated images, at least 2.
        real: (batch, 3, h, w) real images, at least 2.

    Returns:
        Scalar, the quotient of their spreads. Not finite where the real images are all the same one, drawn more than
        once: such a step has no diversity.
    """
    return spread_of(fake) / spread_of(real)
