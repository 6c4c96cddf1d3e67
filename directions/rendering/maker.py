"""Images of edits of the same samples, in batches that fit into memory.

Between moved latents (``frames.py``) and the generator. It knows on which layers the edits act: what lies before the
first of them is computed once for each sample, however many directions and steps are shown.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np
import torch

from directions.errors import OutOfMemoryError, UserError
from directions.generators.edits import edited_images
from directions.memory import is_out_of_memory

if TYPE_CHECKING:
    from torch import Tensor

    from directions.generators.base import Generator
    from directions.generators.layers import LayerRange

PIXELS_AT_ONCE = 2**17
"""Pixels that a generator makes in one call: 32 images at 64 × 64, 8 at 128 × 128, one at 512 × 512."""

_Block = tuple[slice, slice]
"""Some edits of some samples."""


class ImageMaker:
    """A generator, the samples that are edited, and the batch that its images are made in.

    The batch is halved when memory runs out.

    Args:
        generator: What makes the images.
        z: (samples, dim_z), what the layers see that are not edited.
        y: (samples,) class indices, or ``None`` for a generator without classes.
        layers: The layers that see the edits; ``None`` is all.
        truncation: Truncation that the generator is called with.
        count: Called with the number of images that were just made (a progress bar).
    """

    def __init__(
        self,
        generator: Generator,
        z: Tensor,
        y: Tensor | None,
        *,
        layers: LayerRange | None = None,
        truncation: float = 1.0,
        count: Callable[[int], object] = lambda images: None,
    ) -> None:
        self.batch = max(1, PIXELS_AT_ONCE // generator.resolution**2)
        self._generator, self._z, self._y = generator, z, y
        self._layers, self._truncation, self._count = layers, truncation, count
        self._maps: dict[tuple[int, int], Callable[[Tensor], Tensor]] = {}

    @property
    def samples(self) -> int:
        """The number of samples."""
        return len(self._z)

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
        rows = edited.unflatten(0, (-1, self.samples))
        size = self._generator.resolution
        made = np.empty((*rows.shape[:2], size, size, 3), dtype=np.uint8)
        waiting: list[_Block] = [(slice(0, len(rows)), slice(0, self.samples))]
        while waiting:
            block = waiting.pop()
            parts = list(_parts(block, self.batch))
            if len(parts) > 1:
                waiting += reversed(parts)
                continue
            images = self._made(rows[block].flatten(0, 1), block[1])
            if images is None:
                waiting.append(block)  # to be cut: the batch is smaller now
                continue
            made[block] = images.reshape(made[block].shape)
            self._count(len(images))
        return made.reshape(-1, *made.shape[2:])

    def _made(self, edited: Tensor, samples: slice) -> np.ndarray | None:
        """The images of one batch; ``None``, and a smaller batch from now on, if they did not fit into memory."""
        try:
            with torch.inference_mode():
                return self._checked(self._map(samples)(edited))
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            if len(edited) == 1:
                size = self._generator.resolution
                raise OutOfMemoryError(
                    f"Out of memory with a single image of {size} × {size} pixels. Close other programs, or use "
                    "another --device."
                ) from error
        self.batch = len(edited) // 2
        self._maps.clear()
        return None

    def _map(self, samples: slice) -> Callable[[Tensor], Tensor]:
        key = samples.start, samples.stop
        if key not in self._maps:
            self._maps[key] = edited_images(
                self._generator,
                self._z[samples],
                None if self._y is None else self._y[samples],
                layers=self._layers,
                truncation=self._truncation,
            )
        return self._maps[key]

    @staticmethod
    def _checked(images: Tensor) -> np.ndarray:
        if not bool(torch.isfinite(images).all()):
            raise UserError(
                "The generator gave images with NaN or infinity. Use a smaller path size, a smaller truncation or "
                "other weights."
            )
        return to_uint8(images)


def to_uint8(images: Tensor) -> np.ndarray:
    """Turn images in [-1, 1] into bytes, rounding to the nearest and halves up.

    Args:
        images: (batch, 3, height, width); what is outside [-1, 1] is clipped.

    Returns:
        (batch, height, width, 3) uint8.
    """
    levels = (images.detach().float() + 1) * 127.5
    return (levels + 0.5).floor().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()


def _parts(block: _Block, batch: int) -> Iterator[_Block]:
    """Cut a block into parts of at most a batch, in order: by edits where it holds all samples."""
    edits, samples = block
    width = samples.stop - samples.start
    if width <= batch:
        for start in range(edits.start, edits.stop, batch // width):
            yield slice(start, min(start + batch // width, edits.stop)), samples
        return
    for start in range(samples.start, samples.stop, batch):
        yield edits, slice(start, min(start + batch, samples.stop))
