"""From directions, starting points and amounts to images: one image for each direction and sample, step by step.

Between the path (``path.py``) and its encoding: ``animations.py``, ``sheets.py`` and ``gallery.py`` lay these images
out and write them. ``maker.py`` calls the
generator. A batch is made at a time, so memory does not grow with the number of steps.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from directions.direction_file import Directions
from directions.rendering.maker import ImageMaker

if TYPE_CHECKING:
    from torch import Tensor


def render_frames(
    maker: ImageMaker,
    directions: Directions,
    indices: Sequence[int],
    starts: Tensor,
    amounts: np.ndarray,
    *,
    remove_projection: bool = False,
) -> Iterator[np.ndarray]:
    """Move the same starting points along each of several directions, step by step.

    Where the images of a step do not fill a batch, those of the next steps are made with them.

    Args:
        maker: The generator and the samples.
        directions: Where to go.
        indices: The directions to show.
        starts: (m · samples, dim_z), the same for every direction; row r is an edit of the maker's sample r % samples.
        amounts: (len(indices), steps) signed distances from the start, in latent units.
        remove_projection: First take from each start its part along the direction, so that all start at the same place
            along it.

    Yields:
        For each step: uint8 images (len(indices), m · samples, height, width, 3).
    """
    centres = [without(starts, directions, index) if remove_projection else starts for index in indices]
    amounts = np.asarray(amounts)
    together = max(1, maker.batch // (len(indices) * len(starts)))
    for start in range(0, amounts.shape[1], together):
        steps = amounts[:, start : start + together].T
        moved = [
            directions.move(centre, index, float(amount))
            for step in steps
            for centre, index, amount in zip(centres, indices, step, strict=True)
        ]
        images = maker.make(torch.cat(moved))
        yield from images.reshape(len(steps), len(indices), len(starts), *images.shape[1:])


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
