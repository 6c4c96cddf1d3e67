"""Images of the same samples moved along directions, in batches that fit into memory."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from directions.basis import random_basis
from directions.device import is_out_of_memory
from directions.direction_file import Directions
from directions.errors import OutOfMemoryError, UserError
from directions.generators.base import Generator
from directions.generators.layers import LayerRange, chosen_layers, edited_images
from directions.sampling import derived_rng
from directions.settings.base import ConfigError
from directions.settings.render import RenderSettings

PIXELS_AT_ONCE = 2**17
"""Pixels that a generator makes in one call: 32 images at 64 × 64, 8 at 128 × 128, one at 512 × 512."""


def to_uint8(images: Tensor) -> np.ndarray:
    """Turn images in [-1, 1] into bytes, rounding to the nearest and halves up.

    Args:
        images: (batch, 3, height, width); what is outside [-1, 1] is clipped.

    Returns:
        (batch, height, width, 3) uint8.
    """
    levels = (images.detach().float() + 1) * 127.5
    return (levels + 0.5).floor().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()


@dataclass
class Scene:
    """Directions, their generator, and the samples that are shown for each of them.

    Attributes:
        directions: What to show.
        generator: What makes the images.
        settings: How.
        z: (samples, dim_z), what the layers see that are not edited.
        y: (samples,) class indices, or ``None`` without classes.
        layers: The layers that see the moved z, the others see z; ``None`` is all.
        rivals: Other directions of the same path sizes, to show beside them; or ``None``.
        made: Called with the number of images that were just made (a progress bar).
        batch: Most images that the generator makes in one call; halved when memory runs out.
    """

    directions: Directions
    generator: Generator
    settings: RenderSettings
    z: Tensor
    y: Tensor | None
    layers: LayerRange | None = None
    rivals: Directions | None = None
    made: Callable[[int], object] = lambda images: None
    batch: int = 0
    _maps: dict[int, Callable[[Tensor], Tensor]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Choose the batch by the images' size."""
        self.batch = self.batch or max(1, PIXELS_AT_ONCE // self.generator.resolution**2)

    @classmethod
    def draw(cls, directions: Directions, generator: Generator, settings: RenderSettings, y: Any) -> Scene:
        """Draw the samples.

        Args:
            directions: What to show.
            generator: What makes the images.
            settings: How many samples, from which seed and truncation; on which layers, if not those of the directions.
            y: The class of all samples, or a list with one for each; not used without classes.

        Returns:
            The scene.

        Raises:
            ConfigError: If the generator has no such layers.
        """
        z = generator.sample_z(
            1 if settings.one_z else settings.samples, seed=settings.seed, truncation=settings.truncation
        ).expand(settings.samples, -1)
        labels = generator.class_indices(y, settings.samples).to(z.device) if generator.num_classes else None
        try:
            layers = chosen_layers(generator, directions.layers if settings.layers is None else settings.layers)
        except UserError as error:
            raise ConfigError("layers", str(error).removeprefix("layers ")) from error
        rivals = random_rivals(directions, settings.seed) if settings.against else None
        return cls(directions, generator, settings, z, labels, layers, rivals)

    def images(
        self, rows: Sequence[int], amounts: Sequence[np.ndarray], starts: Tensor | None = None
    ) -> Iterator[np.ndarray]:
        """Move the same starting points along each of several directions, step by step.

        Where the images of a step do not fill a batch, those of the next steps are made with them; no other step is
        kept.

        Args:
            rows: The directions.
            amounts: For each, the signed distances from the start, in latent units; as many for each.
            starts: (m · samples, dim_z), row r for sample r % samples; ``None`` is the samples.

        Yields:
            For each step: uint8 images (rows, starts, height, width, 3); with rivals, theirs after those of the
            directions: (rows, 2 · starts, height, width, 3).
        """
        starts = self.z if starts is None else starts
        removed = self.settings.remove_projection
        shown = [self.directions] if self.rivals is None else [self.directions, self.rivals]
        paths = [
            (of, index, number, without(starts, of, index) if removed else starts)
            for number, index in enumerate(rows)
            for of in shown
        ]
        steps = np.stack(amounts, axis=1)
        together = max(1, self.batch // (len(paths) * len(starts)))
        for start in range(0, len(steps), together):
            moved = [
                of.move(centre, index, float(step[number]))
                for step in steps[start : start + together]
                for of, index, number, centre in paths
            ]
            images = self.make(torch.cat(moved))
            yield from images.reshape(-1, len(rows), len(shown) * len(starts), *images.shape[1:])

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
        z, y = self.z[sample : sample + 1], None if self.y is None else self.y[sample : sample + 1]
        start = without(z, self.directions, up) if self.settings.remove_projection else z
        starts = self.directions.move(start.repeat(len(heights), 1), up, heights)
        alone = dataclasses.replace(self, z=z, y=y, _maps={})
        return (images[0] for images in alone.images([across], [places], starts))

    def make(self, edited: Tensor) -> np.ndarray:
        """Make the images of edits.

        Args:
            edited: (m · samples, dim_z); row r is an edit of sample r % samples.

        Returns:
            (m · samples, height, width, 3) uint8.

        Raises:
            UserError: If images are not finite.
            OutOfMemoryError: If not even one image fits into memory.
        """
        samples, size = len(self.z), self.generator.resolution
        rows = edited.unflatten(0, (-1, samples))
        made = np.empty((*rows.shape[:2], size, size, 3), dtype=np.uint8)
        edit, sample = 0, 0
        while edit < len(rows):
            # Whole edits where all samples fit into a batch, otherwise a part of the samples of one edit.
            stop = min(sample + self.batch, samples)
            block = slice(edit, edit + max(1, self.batch // samples)), slice(sample, stop)
            images = self._try(rows[block].flatten(0, 1), block[1])
            if images is None:  # The batch is smaller now, and the parts of the samples are others.
                sample = 0
                continue
            made[block] = images.reshape(made[block].shape)
            self.made(len(images))
            edit, sample = (block[0].stop, 0) if stop == samples else (edit, stop)
        return made.reshape(-1, *made.shape[2:])

    def _try(self, edited: Tensor, samples: slice) -> np.ndarray | None:
        """Return the images of one batch, or ``None``, with a smaller batch from now on, if memory ran out."""
        try:
            with torch.inference_mode():
                if samples.start not in self._maps:  # What lies before the edited layers is computed here, once.
                    y = None if self.y is None else self.y[samples]
                    self._maps[samples.start] = edited_images(
                        self.generator, self.z[samples], y, layers=self.layers, truncation=self.settings.truncation
                    )
                images = self._maps[samples.start](edited)
                if not bool(torch.isfinite(images).all()):
                    raise UserError(
                        "The generator gave images with NaN or infinity. Use a smaller path size, a smaller "
                        "truncation or other weights."
                    )
                return to_uint8(images)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            if len(edited) == 1:
                size = self.generator.resolution
                raise OutOfMemoryError(
                    f"Out of memory with a single image of {size} × {size} pixels. Close other programs, or use "
                    "another --device."
                ) from error
        self.batch = len(edited) // 2
        self._maps.clear()
        return None

    @property
    def groups(self) -> list[str]:
        """What stands beside each other; empty where there are no rivals."""
        return [] if self.rivals is None else ["found", "random"]

    @property
    def columns(self) -> int:
        """How many images of a row there are at each step."""
        return len(self.z) * (len(self.groups) or 1)

    @property
    def scale(self) -> int:
        """How many times larger to show the images."""
        return self.settings.enlargement(self.generator.resolution)

    @property
    def tile(self) -> tuple[int, int]:
        """Height and width of an image as it is shown, in pixels."""
        return (self.generator.resolution * self.scale,) * 2

    def path_size(self, index: int) -> float:
        """Return how far a direction is followed to either side, in latent units."""
        return self.settings.path_size or self.directions.path_sizes[index]

    @property
    def classes(self) -> list[str]:
        """The class of each sample, by name where it has one; empty without classes."""
        names = self.generator.class_names
        labels = [] if self.y is None else self.y.tolist()
        return [names[index] if names else f"class {index}" for index in labels]

    @property
    def captions(self) -> list[str]:
        """What each image of a row is; empty texts where there is nothing to tell."""
        classes = self.classes or [""] * len(self.z)
        return [f"{group} {name}".strip() for group in self.groups or [""] for name in classes]

    @property
    def class_captions(self) -> list[str]:
        """The class of each sample where they differ; otherwise empty."""
        return self.classes if len(set(self.classes)) > 1 else []


def random_rivals(directions: Directions, seed: int) -> Directions:
    """Draw random orthonormal directions in the same search space, with the same path sizes.

    Args:
        directions: What they are to be compared with.
        seed: Of the draw.

    Returns:
        As many directions.
    """
    start, stop = directions.header["space"]
    matrix = np.zeros_like(directions.matrix)
    matrix[:, start:stop] = random_basis(len(directions), stop - start, derived_rng(seed, purpose="against")).numpy()
    return Directions(matrix, directions.header)


def without(z: Tensor, directions: Directions, index: int) -> Tensor:
    """Take from each z its part along a direction.

    Args:
        z: (samples, dim_z).
        directions: What the direction is one of.
        index: Which one.

    Returns:
        (samples, dim_z), orthogonal to the direction.
    """
    row = torch.tensor(directions.matrix[index], dtype=z.dtype, device=z.device)
    return directions.move(z, index, -(z @ row))
