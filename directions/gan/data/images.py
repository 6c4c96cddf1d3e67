"""Images of one size in one memory-mapped array, as the trainer reads them.

Made by ``open_data`` from whatever the images come from; the first stop of the training flow.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


@dataclass(frozen=True)
class ImageData:
    """Images to train on."""

    images: NDArray[np.uint8]
    """(N, size, size, 3), memory-mapped."""
    digest: str
    """SHA-256 that tells these images from others."""
    labels: Tensor | None = None
    """(N,) int64 classes; ``None`` without classes."""
    class_names: tuple[str, ...] = ()
    """A name for each class."""

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.images)

    @property
    def resolution(self) -> int:
        """Height and width of the images, in pixels."""
        return int(self.images.shape[1])

    def batch(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        """Read some images.

        Args:
            indices: (batch,) int64.

        Returns:
            (batch, 3, size, size) float32 in [-1, 1], channels last, and (batch,) classes, zeros without classes.
        """
        pixels = torch.from_numpy(self.images[indices.numpy()])
        # A view of pixels that lie channels last already is that in memory.
        images = pixels.permute(0, 3, 1, 2).to(torch.float32).div_(127.5).sub_(1)
        labels = torch.zeros(len(indices), dtype=torch.int64) if self.labels is None else self.labels[indices]
        return images, labels
