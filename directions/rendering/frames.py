"""From directions, starting points and amounts to images: one image for each direction and sample, step by step.

Between the path (``path.py``) and its encoding: ``animations.py``, ``sheets.py`` and ``gallery.py`` lay these images
out and write them. A batch is made at a time, so memory does not grow with the number of steps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch

from directions.direction_file import Directions
from directions.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

PIXELS_AT_ONCE = 2**17
"""Pixels that a generator makes in one call: 32 images at 64 × 64, 8 at 128 × 128, one at 512 × 512."""


class MakesImages(Protocol):
    """What rendering needs of a generator."""

    resolution: int

    def __call__(self, z: Tensor, y: Any, *, truncation: float) -> Tensor:
        """Make images (batch, 3, height, width) in [-1, 1]."""
        ...


def render_frames(
    generator: MakesImages,
    directions: Directions,
    indices: Sequence[int],
    z: Tensor,
    y: Tensor | None,
    amounts: np.ndarray,
    *,
    truncation: float = 1.0,
    remove_projection: bool = False,
    count: Callable[[int], object] = lambda images: None,
) -> Iterator[np.ndarray]:
    """Move the same samples along each of several directions, step by step.

    Where the images of a step do not fill a batch, those of the next steps are made with them.

    Args:
        generator: What makes the images.
        directions: Where to go.
        indices: The directions to show.
        z: (samples, dim_z), the same for every direction.
        y: (samples,) class indices, or ``None`` for a generator without classes.
        amounts: (len(indices), steps) signed distances from the centre, in latent units.
        truncation: Truncation that the generator is called with.
        remove_projection: First take from each z its part along the direction, so that all samples start at the same
            place along it.
        count: Called with the number of images that were just made (a progress bar).

    Yields:
        For each step: uint8 images (len(indices), samples, height, width, 3).
    """
    centres = [without(z, directions, index) if remove_projection else z for index in indices]
    amounts = np.asarray(amounts)
    together = max(1, _batch_size(generator) // (len(indices) * len(z)))
    for start in range(0, amounts.shape[1], together):
        steps = amounts[:, start : start + together].T
        moved = [
            directions.move(centre, index, float(amount))
            for step in steps
            for centre, index, amount in zip(centres, indices, step, strict=True)
        ]
        labels = None if y is None else y.repeat(len(moved))
        images = _generate(generator, torch.cat(moved), labels, truncation=truncation, count=count)
        yield from images.reshape(len(steps), len(indices), len(z), *images.shape[1:])


def to_uint8(images: Tensor) -> np.ndarray:
    """Turn images in [-1, 1] into bytes, rounding to the nearest and halves up.

    Args:
        images: (batch, 3, height, width); what is outside [-1, 1] is clipped.

    Returns:
        (batch, height, width, 3) uint8.
    """
    levels = (images.detach().float() + 1) * 127.5
    return (levels + 0.5).floor().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()


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


def _generate(
    generator: MakesImages, z: Tensor, y: Tensor | None, *, truncation: float, count: Callable[[int], object]
) -> np.ndarray:
    """Make images of many z in batches that fit in memory."""
    batch = _batch_size(generator)
    made: list[np.ndarray] = []
    for start in range(0, len(z), batch):
        part = slice(start, start + batch)
        with torch.inference_mode():
            images = generator(z[part], None if y is None else y[part], truncation=truncation)
            if not bool(torch.isfinite(images).all()):
                raise UserError(
                    "The generator gave images with NaN or infinity. Use a smaller path size, a smaller truncation or "
                    "other weights."
                )
            made.append(to_uint8(images))
        count(len(made[-1]))
    return np.concatenate(made)


def _batch_size(generator: MakesImages) -> int:
    """The number of images that are made at once."""
    return max(1, PIXELS_AT_ONCE // generator.resolution**2)
