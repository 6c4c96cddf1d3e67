"""How good the samples of a scene generator are: shape as asked, spread of the factors, traces of a grid.

The scene reader reads what the samples show; the texture measures need no reader. Used to accept the built-in
generator and to write its card.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from directions.evaluation.scene_reader import FACTORS, SHAPES, SceneReader
from directions.generators.base import Generator
from directions.sampling import derived_rng

GRID_PERIOD = 8


@dataclass(frozen=True)
class Texture:
    """What finer than an object is in a set of images, in grey levels of 255.

    Attributes:
        grid: Root mean square, over the places in a grid of period 8, of the mean high-pass value there. Structure that
            stays at the same pixels in every image, as upsampling leaves it; renders have next to none.
        roughness: Median absolute high-pass value: the grain of flat regions.
    """

    grid: float
    roughness: float


@dataclass(frozen=True)
class SceneQuality:
    """Figures of a generator's samples.

    Attributes:
        samples: Images read.
        truncation: Of the samples.
        shape_as_asked: Share of samples in which the reader sees the class that was asked for.
        spread: Standard deviation of each factor over the samples, divided by that over the renders.
        texture: Of the samples.
    """

    samples: int
    truncation: float
    shape_as_asked: float
    spread: dict[str, float]
    texture: Texture

    def to_dict(self) -> dict[str, Any]:
        """Return the figures as plain JSON types."""
        return asdict(self)


def to_grey_levels(images: Tensor) -> Tensor:
    """Round images as they are when saved.

    Args:
        images: (n, 3, height, width) in [-1, 1].

    Returns:
        (n, height, width) mean of the channels, 0 to 255.
    """
    return ((images + 1) * 127.5).round().clamp(0, 255).mean(dim=1)


def measure_texture(images: Tensor) -> Texture:
    """Measure what is left of images when what is smooth over 3 by 3 pixels is taken away.

    Args:
        images: (n, 3, height, width) in [-1, 1]; height and width multiples of 8.

    Returns:
        The measures.
    """
    grey = to_grey_levels(images)
    smooth = F.avg_pool2d(F.pad(grey[:, None], (1, 1, 1, 1), mode="replicate"), 3, stride=1)[:, 0]
    residual = grey - smooth
    mean = residual.mean(dim=0)
    # The mean over images and over the cells of a grid of period 8: what does not stay in place averages out. The
    # outermost cells are left out, since objects and vignettes end there.
    cells = mean[GRID_PERIOD:-GRID_PERIOD, GRID_PERIOD:-GRID_PERIOD]
    cells = cells.unflatten(0, (-1, GRID_PERIOD)).unflatten(2, (-1, GRID_PERIOD)).median(dim=2).values.median(0).values
    return Texture(grid=float(cells.square().mean().sqrt()), roughness=float(residual.abs().median()))


@torch.no_grad()
def measure_quality(
    generator: Generator, reader: SceneReader, *, samples: int = 3000, truncation: float = 1.0, seed: int = 0
) -> SceneQuality:
    """Draw samples, classes in turn, and measure them.

    Args:
        generator: Makes scenes.
        reader: Reads them.
        samples: Number of images.
        truncation: In (0, 1].
        seed: Seed of z.

    Returns:
        The figures.
    """
    z = generator.sample_z_from(samples, derived_rng(seed, 0, "quality"), truncation).to(generator.device)
    y = torch.arange(samples, device=generator.device) % len(SHAPES)
    batches = zip(z.split(250), y.split(250), strict=True)
    images = torch.cat([generator(z_part, y_part, truncation=truncation) for z_part, y_part in batches])
    reading = reader.read(images)
    return SceneQuality(
        samples=samples,
        truncation=truncation,
        shape_as_asked=float((reading.shape == y).float().mean()),
        spread={name: float(getattr(reading, name).std()) / reader.deviations[name] for name in FACTORS},
        texture=measure_texture(images),
    )
