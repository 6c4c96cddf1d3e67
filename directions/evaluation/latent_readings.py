"""Pairs of a latent and what the scene reader sees in its image: what factor disentanglement is measured from.

After training, between a generator of scenes and `directions.evaluation.dci` and
`directions.evaluation.mig`. The components of z are the code, the reader's factors the truth. Generators of other
sizes than the reader's are read too, after their images have been brought to its size.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from directions.errors import UserError
from directions.evaluation.factor_table import COLUMNS
from directions.evaluation.images import resized
from directions.evaluation.scene_reader import FACTORS, HUE_PERIOD, SHAPES, SceneReader, SceneReading
from directions.sampling import derived_rng, draw_points

if TYPE_CHECKING:
    from directions.evaluation.factors import Reader
    from directions.generators.base import Generator

VARIED = 0.1
"""A factor counts as varied if its spread over the samples is at least this share of that over the scenes. The reader's
errors are 0.06 of it at most, also for images of 16 pixels."""


class ResizingReader:
    """The scene reader for square images of any size.

    Args:
        reader: Reads images of its own size.

    Attributes:
        deviations: Standard deviation of each continuous factor over the scenes, in its unit.
    """

    def __init__(self, reader: SceneReader) -> None:
        self._reader = reader
        self.deviations = reader.deviations

    def read(self, images: Tensor, *, batch: int = 256) -> SceneReading:
        """Read images.

        Args:
            images: (n, 3, size, size) in [−1, 1].
            batch: Images at a time.

        Returns:
            What is in them.
        """
        # Interpolation leaves the range by a rounding error at most, which the reader would refuse.
        return self._reader.read(resized(images, self._reader.resolution).clamp(-1, 1), batch=batch)


@dataclass(frozen=True, eq=False)
class LatentReadings:
    """Latents and the factors of their images.

    Attributes:
        z: (n, |z|) float64.
        targets: For each of `directions.evaluation.factor_table.COLUMNS` what a regression predicts, (n, width)
            float64: hue as a point on the colour circle, shape as the probabilities of the three.
        levels: For each of them one number or class a sample, (n,), to be put into bins.
        spreads: For each of them the standard deviation over the samples in that over the scenes.
    """

    z: np.ndarray
    targets: dict[str, np.ndarray]
    levels: dict[str, np.ndarray]
    spreads: dict[str, float]

    @property
    def varied(self) -> tuple[str, ...]:
        """The factors that the generator varies at all; of the others only reading errors would be explained."""
        return tuple(name for name in COLUMNS if self.spreads[name] >= VARIED)


@torch.no_grad()
def read_latents(
    generator: Generator,
    reader: Reader,
    *,
    samples: int,
    classes: Sequence[int] = (),
    truncation: float = 1.0,
    seed: int = 0,
    rows: int = 64,
    count: Callable[[int], object] = lambda images: None,
) -> LatentReadings:
    """Draw latents, make their images and read these.

    Args:
        generator: Of scenes, in eval mode.
        reader: Reads them.
        samples: Number of latents.
        classes: Class indices that samples are drawn from, uniformly; empty for a generator without classes. The class
            is no part of the code: a factor that follows from it is not explained by z.
        truncation: Spread of z and the generator's setting, in (0, 1].
        seed: Seed of the samples.
        rows: Images to make at once, at most.
        count: Called with the number of images that were just made (a progress bar).

    Returns:
        Latents and factors.

    Raises:
        UserError: If ``samples`` or ``rows`` is below 1.
    """
    for name, value in (("samples", samples), ("rows", rows)):
        if value < 1:
            raise UserError(f"{name} must be at least 1, got {value}.")
    rng = derived_rng(seed, purpose="latent readings")
    points = draw_points(generator, samples, rng, classes=tuple(classes), truncation=truncation)
    readings = []
    for start in range(0, samples, rows):
        part = points[start : start + rows]
        readings.append(reader.read(generator(part.z, part.y, truncation=truncation)))
        count(len(part))

    def column(name: str) -> np.ndarray:
        values: np.ndarray = torch.cat([getattr(reading, name) for reading in readings]).double().cpu().numpy()
        return values

    shape = column("shape_probabilities")
    levels = {name: column(name) for name in FACTORS} | {"shape": shape.argmax(axis=1)}
    angle = 2 * math.pi * levels["hue"] / HUE_PERIOD
    targets = {name: levels[name][:, None] for name in FACTORS}
    targets |= {"hue": np.stack([np.cos(angle), np.sin(angle)], axis=1), "shape": shape}
    spreads = {name: float(levels[name].std()) / reader.deviations[name] for name in FACTORS}
    spreads["shape"] = math.sqrt(shape.var(axis=0).sum() / (1 - 1 / len(SHAPES)))
    return LatentReadings(points.z.double().cpu().numpy(), targets, levels, spreads)
