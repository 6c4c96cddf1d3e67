"""Make the architecture that a configuration names; ``trainer`` trains it."""

from __future__ import annotations

import torch

from directions.gan.architecture import Architecture
from directions.gan.biggan import SmallBigGAN
from directions.gan.config import TrainConfig
from directions.gan.data.images import ImageData
from directions.gan.progan import GrowingGAN


def build_architecture(config: TrainConfig, data: ImageData, device: torch.device) -> Architecture:
    """Make the two networks and their losses.

    Args:
        config: Settings.
        data: Images; their classes are the BigGAN's.
        device: Where the networks go.

    Returns:
        The architecture, its weights drawn from the configuration's seed.
    """
    if config.arch == "biggan":
        return SmallBigGAN(config, data, device)
    return GrowingGAN(config, device)
