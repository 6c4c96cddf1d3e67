"""What is rendered: directions, their generator, the same samples for each of them, and the images of any path.

Made by ``render.py``; the modules that write pictures (``animations.py``, ``sheets.py``, ``gallery.py``) ask it for
images and captions, and know nothing of z.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from directions.direction_file import Directions
from directions.generators.base import Generator
from directions.generators.edits import chosen_layers
from directions.generators.layers import LayerRange
from directions.rendering.frames import render_frames, without
from directions.rendering.maker import ImageMaker
from directions.rendering.settings import RenderSettings


@dataclass(frozen=True)
class Scene:
    """Directions with what is needed to show them.

    Attributes:
        directions: What to show.
        generator: What makes the images.
        settings: How.
        z: (samples, dim_z).
        y: (samples,) class indices, or ``None`` without classes.
        layers: The layers that see the moved z, the others see z; ``None`` is all.
        made: Called with the number of images that were just made.
    """

    directions: Directions
    generator: Generator
    settings: RenderSettings
    z: Tensor
    y: Tensor | None
    layers: LayerRange | None = None
    made: Callable[[int], object] = lambda images: None

    @classmethod
    def draw(
        cls,
        directions: Directions,
        generator: Generator,
        settings: RenderSettings,
        y: Any,
        made: Callable[[int], object] = lambda images: None,
    ) -> Scene:
        """Draw the samples.

        Args:
            directions: What to show.
            generator: What makes the images.
            settings: How many samples, from which seed and truncation; on which layers, if not those of the directions.
            y: The class of all samples, or a list with one for each; not used without classes.
            made: Called with the number of images that were just made.

        Returns:
            The scene.
        """
        z = generator.sample_z(settings.count, seed=settings.seed, truncation=settings.truncation)
        labels = generator.class_indices(y, settings.count).to(z.device) if generator.num_classes else None
        layers = chosen_layers(generator, directions.layers if settings.layers is None else settings.layers)
        return cls(directions, generator, settings, z, labels, layers, made)

    @functools.cached_property
    def maker(self) -> ImageMaker:
        """What makes all images of the scene."""
        return self._maker(slice(None))

    def _maker(self, samples: slice) -> ImageMaker:
        return ImageMaker(
            self.generator,
            self.z[samples],
            None if self.y is None else self.y[samples],
            layers=self.layers,
            truncation=self.settings.truncation,
            count=self.made,
        )

    def images(self, rows: Sequence[int], amounts: Sequence[np.ndarray]) -> Iterator[np.ndarray]:
        """Move the samples along directions.

        Args:
            rows: The directions.
            amounts: For each, the places, in latent units; as many for each.

        Returns:
            For each step: uint8 images (rows, samples, height, width, 3).
        """
        return render_frames(
            self.maker,
            self.directions,
            rows,
            self.z,
            np.stack(amounts),
            remove_projection=self.settings.remove_projection,
        )

    def plane(self, across: int, up: int, places: np.ndarray, heights: np.ndarray, sample: int) -> Iterator[np.ndarray]:
        """Move one sample along two directions.

        Args:
            across: The first direction.
            up: The second direction.
            places: Places along the first, in latent units.
            heights: Places along the second.
            sample: Which sample.

        Returns:
            For each place: uint8 images (heights, height, width, 3).
        """
        z = self.z[sample : sample + 1]
        if self.settings.remove_projection:
            z = without(z, self.directions, up)
        steps = render_frames(
            self._maker(slice(sample, sample + 1)),
            self.directions,
            [across],
            self.directions.move(z.repeat(len(heights), 1), up, heights),
            places[None],
            remove_projection=self.settings.remove_projection,
        )
        return (images[0] for images in steps)

    @property
    def scale(self) -> int:
        """How many times larger to show the images."""
        return self.settings.enlargement(self.generator.resolution)

    def path_size(self, index: int) -> float:
        """Say how far a direction is followed to either side, in latent units."""
        return self.settings.path_size or self.directions.path_sizes[index]

    @property
    def classes(self) -> list[str]:
        """The class of each sample, by name where it has one; empty without classes."""
        if self.y is None:
            return []
        names = self.generator.class_names
        return [names[index] if names else f"class {index}" for index in self.y.tolist()]

    @property
    def class_captions(self) -> list[str]:
        """The class of each sample where they differ; otherwise empty."""
        return self.classes if len(set(self.classes)) > 1 else []
