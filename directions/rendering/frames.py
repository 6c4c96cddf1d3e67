"""Images of the same samples moved along directions, in batches that fit into memory; and where each frame is."""

from __future__ import annotations

import dataclasses
import math
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
from directions.generators.base import Generator, LayerRange, chosen_layers, edited_images
from directions.sampling import derived_rng
from directions.settings.render import MIN_FRAMES, SMALLEST_TILE, Motion, RenderSettings

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
    return (levels + 0.5).floor().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).contiguous().cpu().numpy()


@dataclass
class Samples:
    """Some samples of a generator, of which moved versions are made, in batches that fit into memory.

    Attributes:
        generator: What makes the images.
        z: (samples, dim_z), what the layers see that are not edited.
        y: (samples,) class indices, or ``None`` without classes.
        layers: The layers that see the moved z, the others see z; ``None`` is all.
        truncation: The generator's setting.
        made: Called with the number of images that were just made (a progress bar).
        batch: Most images that the generator makes in one call; halved when memory runs out.
    """

    generator: Generator
    z: Tensor
    y: Tensor | None
    layers: LayerRange | None = None
    truncation: float = 1.0
    made: Callable[[int], object] = lambda images: None
    batch: int = 0
    _maps: dict[tuple[int, int], Callable[[Tensor], Tensor]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Choose the batch by the images' size."""
        self.batch = self.batch or max(1, PIXELS_AT_ONCE // self.generator.resolution**2)

    def __len__(self) -> int:
        """Count the samples."""
        return len(self.z)

    def only(self, sample: int) -> Samples:
        """Return one of the samples."""
        one = slice(sample, sample + 1)
        return dataclasses.replace(self, z=self.z[one], y=None if self.y is None else self.y[one], _maps={})

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
        images = self._make(edited.unflatten(0, (-1, len(self))), 0)
        return images.reshape(-1, *images.shape[2:])

    def _make(self, edits: Tensor, first: int) -> np.ndarray:
        """Make (m, n, height, width, 3) images of m edits (m, n, dim_z) of the n samples from ``first`` on."""
        number, samples = edits.shape[:2]
        if samples > self.batch:
            parts = [self._make(part, first + k * self.batch) for k, part in enumerate(edits.split(self.batch, dim=1))]
            return np.concatenate(parts, axis=1)
        if number * samples > self.batch:
            return np.concatenate([self._make(part, first) for part in edits.split(self.batch // samples)])
        try:
            with torch.inference_mode():
                images = self._map(first, samples)(edits.flatten(0, 1))
                if not bool(torch.isfinite(images).all()):
                    raise UserError(
                        "The generator gave images with NaN or infinity. Use a smaller path size, a smaller "
                        "truncation or other weights."
                    )
                self.made(len(images))
                return to_uint8(images).reshape(number, samples, *images.shape[2:], 3)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            if number * samples == 1:
                size = self.generator.resolution
                raise OutOfMemoryError(
                    f"Out of memory with a single image of {size} × {size} pixels. Close other programs, or use "
                    "another --device."
                ) from error
        # Outside of the handler, where the error would hold on to the memory.
        self.batch = number * samples // 2
        self._maps.clear()
        return self._make(edits, first)

    def _map(self, first: int, samples: int) -> Callable[[Tensor], Tensor]:
        """From edits to images; what lies before the edited layers is computed here, once."""
        if (first, samples) not in self._maps:
            part = slice(first, first + samples)
            self._maps[first, samples] = edited_images(
                self.generator, self.z[part], None if self.y is None else self.y[part], layers=self.layers,
                truncation=self.truncation,
            )  # fmt: skip
        return self._maps[first, samples]


@dataclass
class Scene:
    """Directions, and the samples that are shown for each of them.

    Attributes:
        directions: What to show.
        samples: What is moved.
        settings: How.
        rivals: Other directions of the same path sizes, to show beside them; or ``None``.
        starts: (m · samples, dim_z) where the moves begin, row r for sample r % samples; ``None`` is the samples.
    """

    directions: Directions
    samples: Samples
    settings: RenderSettings
    rivals: Directions | None = None
    starts: Tensor | None = None

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
            UserError: If the generator has no such layers. It begins with "layers".
        """
        number, truncation = settings.samples, settings.truncation
        z = generator.sample_z(1 if settings.one_z else number, seed=settings.seed, truncation=truncation)
        labels = generator.class_indices(y, number).to(z.device) if generator.num_classes else None
        layers = chosen_layers(generator, directions.layers if settings.layers is None else settings.layers)
        rivals = random_rivals(directions, settings.seed) if settings.against else None
        return cls(directions, Samples(generator, z.expand(number, -1), labels, layers, truncation), settings, rivals)

    def images(self, rows: Sequence[int], amounts: Sequence[np.ndarray]) -> Iterator[np.ndarray]:
        """Move the same starting points along each of several directions, step by step.

        Where the images of a step do not fill a batch, those of the next steps are made with them; no other step is
        kept.

        Args:
            rows: The directions.
            amounts: For each, the signed distances from the start, in latent units; as many for each.

        Yields:
            For each step: uint8 images (rows, starts, height, width, 3); with rivals, theirs after those of the
            directions: (rows, 2 · starts, height, width, 3).
        """
        starts = self.samples.z if self.starts is None else self.starts
        shown = [self.directions] if self.rivals is None else [self.directions, self.rivals]
        paths = [
            (of, index, number, without(starts, of, index) if self.settings.remove_projection else starts)
            for number, index in enumerate(rows)
            for of in shown
        ]
        steps = np.stack(amounts, axis=1)
        together = max(1, self.samples.batch // (len(paths) * len(starts)))
        for start in range(0, len(steps), together):
            moved = [
                of.move(centre, index, float(step[number]))
                for step in steps[start : start + together]
                for of, index, number, centre in paths
            ]
            images = self.samples.make(torch.cat(moved))
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
        one = self.samples.only(sample)
        start = without(one.z, self.directions, up) if self.settings.remove_projection else one.z
        starts = self.directions.move(start.repeat(len(heights), 1), up, heights)
        alone = Scene(self.directions, one, self.settings, starts=starts)
        return (images[0] for images in alone.images([across], [places]))

    @property
    def groups(self) -> list[str]:
        """What stands beside each other; empty where there are no rivals."""
        return [] if self.rivals is None else ["found", "random"]

    @property
    def columns(self) -> int:
        """How many images of a row there are at each step."""
        return len(self.samples) * (len(self.groups) or 1)

    @property
    def scale(self) -> int:
        """How many times larger to show the images."""
        return self.settings.scale or math.ceil(SMALLEST_TILE / self.samples.generator.resolution)

    @property
    def tile(self) -> int:
        """Height and width of an image as it is shown, in pixels."""
        return self.samples.generator.resolution * self.scale

    def path_size(self, index: int) -> float:
        """Return how far a direction is followed to either side, in latent units."""
        return self.settings.path_size or self.directions.path_sizes[index]

    @property
    def classes(self) -> list[str]:
        """The class of each sample, by name where it has one; empty without classes."""
        names = self.samples.generator.class_names
        labels = [] if self.samples.y is None else self.samples.y.tolist()
        return [names[index] if names else f"class {index}" for index in labels]

    @property
    def captions(self) -> list[str]:
        """What each image of a row is; empty texts where there is nothing to tell."""
        classes = self.classes or [""] * len(self.samples)
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


def there_and_back(frames: int, path_size: float, motion: Motion = "smooth") -> np.ndarray:
    """Go from the centre to one end, through the centre to the other end, and back to the centre.

    A smooth motion changes its speed smoothly, to zero at both ends and at the first and last frame. These two are the
    same place, where the motion rests for a moment, so the animation loops without a jump at an even frame rate. The
    frames are laid so that one of them is exactly at each end, and so that the second half mirrors the first.

    Args:
        frames: Number of frames, at least 4.
        path_size: Distance from the centre to each end, in latent units.
        motion: How the speed changes.

    Returns:
        (frames,) float64: exactly 0 first and last, with ``path_size`` and ``-path_size`` reached exactly.

    Example:
        >>> there_and_back(7, 2.0)
        array([ 0.,  1.,  2.,  0., -2., -1.,  0.])
    """
    assert frames >= MIN_FRAMES
    last = frames - 1
    # A quarter of the time out, half of it from end to end, a quarter back, in whole frames.
    turn = max(1, round(last / 4))
    index = np.arange(frames)
    out = _paced(index / turn, motion)
    across = 1 - 2 * _paced((index - turn) / (last - 2 * turn), motion)
    first_half = np.where(index <= turn, out, across)
    # The first half decides and the second is its negative: the middle of an odd number of frames is then exactly 0.
    return path_size * np.where(2 * index < last, first_half, np.where(2 * index > last, -first_half[::-1], 0.0)) + 0.0


def one_way(frames: int, path_size: float, motion: Motion = "smooth") -> np.ndarray:
    """Go from one end through the centre to the other.

    Args:
        frames: Number of frames, at least 2.
        path_size: Distance from the centre to each end, in latent units.
        motion: How the speed changes.

    Returns:
        (frames,) float64 from exactly ``-path_size`` to exactly ``path_size``, and as far from both ends in the middle.

    Example:
        >>> one_way(5, 2.0, "linear")
        array([-2., -1.,  0.,  1.,  2.])
    """
    assert frames >= 2
    going = _paced(np.arange(frames) / (frames - 1), motion)
    return path_size * (going - going[::-1])


def strip(columns: int, path_size: float) -> np.ndarray:
    """Place stills evenly from one end to the other.

    Args:
        columns: Number of stills, at least 2.
        path_size: Distance from the centre to each end, in latent units.

    Returns:
        (columns,) float64 from exactly ``-path_size`` to exactly ``path_size``, with exactly 0 in the middle of an odd
        number.

    Example:
        >>> strip(5, 3.0)
        array([-3. , -1.5,  0. ,  1.5,  3. ])
    """
    twice = 2 * np.arange(columns) - (columns - 1)
    return path_size * (twice / (columns - 1))


def dwell(places: np.ndarray, motion: Motion) -> np.ndarray:
    """Return for how much of a one-way trip each of some stills stands for the place that is passed.

    The gallery shows the same evenly spaced stills on its slider and in its animations; what makes these smooth is how
    long each is shown.

    Args:
        places: (n,) increasing from −1 to 1, at least 2.
        motion: How the speed changes.

    Returns:
        (n,) float64 shares of the time, positive, with the sum 1.

    Example:
        >>> dwell(np.array([-1.0, 0.0, 1.0]), "linear")
        array([0.25, 0.5 , 0.25])
    """
    borders = np.concatenate([[-1.0], (places[1:] + places[:-1]) / 2, [1.0]])
    # A smooth trip's place at time t, from 0 to 1, is −cos(πt): the time at a place is the inverse of that.
    times = np.arccos(-borders) / np.pi if motion == "smooth" else (borders + 1) / 2
    return np.diff(times)


def _paced(time: np.ndarray, motion: Motion) -> np.ndarray:
    """Go from 0 to 1: evenly, or with zero speed at both ends (the cubic Hermite step)."""
    clipped = np.clip(time, 0, 1)
    return clipped * clipped * (3 - 2 * clipped) if motion == "smooth" else clipped
