"""Images on their way to a network that judges them: rounded as when saved, and brought to the network's size.

Between a generator, or a data set, and the feature networks and the scene reader.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F


def as_saved(images: Tensor) -> Tensor:
    """Round images to the 256 levels that a file holds, so that generated ones are judged as real ones are.

    Args:
        images: (batch, 3, height, width) in [−1, 1]; what is outside is clipped.

    Returns:
        The same shape and type.

    Example:
        >>> import torch
        >>> as_saved(torch.tensor([-1.2, 0.0, 0.001, 1.0]))
        tensor([-1.0000,  0.0039,  0.0039,  1.0000])
    """
    return ((images + 1) * 127.5 + 0.5).floor().clamp(0, 255) / 127.5 - 1


def resized(images: Tensor, size: int) -> Tensor:
    """Bring images to a size, smoothly: bilinear, and without aliasing where they get smaller.

    Args:
        images: (batch, 3, height, width).
        size: Height and width wanted, in pixels.

    Returns:
        (batch, 3, size, size), within the range of the images; the images themselves if they have the size already.
    """
    if images.shape[-2:] == (size, size):
        return images
    return F.interpolate(images, (size, size), mode="bilinear", align_corners=False, antialias=True)
