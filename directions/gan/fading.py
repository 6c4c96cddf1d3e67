"""Real images as a growing pair of networks sees them. Between ``data`` and ``trainer``."""

from __future__ import annotations

import torch
from torch import Tensor

from directions.gan.schedule import Stage
from directions.generators.progan_layers import downsample, upsample


def faded(images: Tensor, stage: Stage) -> Tensor:
    """Show images as a stage sees them: reduced to its resolution, and blurred while its block is faded in.

    Args:
        images: (batch, 3, h, w), of the stage's resolution or a multiple.
        stage: Where growth stands.

    Returns:
        (batch, 3, resolution, resolution).

    References:
        Karras et al. 2018, arXiv:1710.10196, section 2 and figure 2.
    """
    images = downsample(images, images.shape[2] // stage.resolution)
    if stage.alpha < 1:
        images = torch.lerp(upsample(downsample(images)), images, stage.alpha)
    return images
