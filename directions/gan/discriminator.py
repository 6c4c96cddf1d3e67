"""Progressive Growing's discriminator, and the head that reads latents back for the InfoGAN baseline."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from directions.generators.progan import (
    FIRST_RESOLUTION,
    EqualisedConv,
    EqualisedLinear,
    activate,
    downsample,
    resolutions,
)
from directions.settings.train import GROUP

_STDDEV_EPSILON = 1e-8


def minibatch_stddev(x: Tensor, parts: int = 1) -> Tensor:
    """Append a channel that says how much the images of a group differ.

    Standard deviation over the group for each feature and pixel, then the mean over both.

    Args:
        x: (batch, channels, h, w); images that follow one another form a group, of the largest divisor of a part's size
            that is at most ``GROUP``.
        parts: Number of equal parts of the batch, such as real and generated images, that no group reaches across.

    Returns:
        (batch, channels + 1, h, w).

    References:
        Karras et al. 2018, arXiv:1710.10196, section 3.
    """
    size = len(x) // parts
    group = max(divisor for divisor in range(1, GROUP + 1) if size % divisor == 0)
    groups = x.unflatten(0, (-1, group))
    deviation = (groups.var(dim=1, correction=0) + _STDDEV_EPSILON).sqrt().mean(dim=(1, 2, 3))
    channel = deviation.repeat_interleave(group).view(-1, 1, 1, 1).expand(-1, 1, *x.shape[2:])
    return torch.cat((x, channel), dim=1)


class ShrinkBlock(nn.Module):
    """Two convolutions, then halve height and width.

    Args:
        channels: Channels that come in.
        channels_out: Channels that go out.
    """

    def __init__(self, channels: int, channels_out: int) -> None:
        super().__init__()
        self.conv_0 = EqualisedConv(channels, channels, 3)
        self.conv_1 = EqualisedConv(channels, channels_out, 3)

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, channels, h, w) to (batch, channels_out, h/2, w/2)."""
        return downsample(activate(self.conv_1(activate(self.conv_0(x)))))


class LatentHead(nn.Module):
    """Reads components of z off the discriminator's features: a convolution and two dense layers.

    Args:
        channels: Channels of the features.
        components: Number of components to read.
    """

    def __init__(self, channels: int, components: int) -> None:
        super().__init__()
        self.conv = EqualisedConv(channels, channels, 3)
        self.dense_0 = EqualisedLinear(channels * FIRST_RESOLUTION**2, channels)
        self.dense_1 = EqualisedLinear(channels, components, gain=1.0)

    def forward(self, features: Tensor) -> Tensor:
        """Map (batch, channels, 4, 4) to (batch, components)."""
        x = activate(self.conv(features)).flatten(1)
        read: Tensor = self.dense_1(activate(self.dense_0(x)))
        return read


class ProGANDiscriminator(nn.Module):
    """Score images of the resolution that the two networks have grown to; higher is more real.

    Args:
        channels: Channels at 4, 8, 16, … pixels, as in the generator.
        latent_components: Components of z that a head reads back; 0 for no head.

    References:
        Karras et al. 2018, arXiv:1710.10196; Chen et al. 2016, arXiv:1606.03657 (the head).
    """

    def __init__(self, channels: Sequence[int], latent_components: int = 0) -> None:
        super().__init__()
        self.channels = tuple(channels)
        self.resolutions = resolutions(len(self.channels))
        first = self.channels[0]
        self.from_rgb = nn.ModuleList(EqualisedConv(3, width, 1) for width in self.channels)
        pairs = zip(self.channels[1:], self.channels, strict=False)
        self.blocks = nn.ModuleList(ShrinkBlock(*pair) for pair in pairs)
        self.conv = EqualisedConv(first + 1, first, 3)
        self.dense_0 = EqualisedLinear(first * FIRST_RESOLUTION**2, first)
        self.dense_1 = EqualisedLinear(first, 1, gain=1.0)
        self.latent_head = LatentHead(first, latent_components) if latent_components else None

    def features(self, images: Tensor, level: int | None = None, alpha: float = 1.0) -> Tensor:
        """Reduce images to features of 4 × 4 pixels.

        Args:
            images: (batch, 3, 4·2^level, 4·2^level) in [-1, 1].
            level: How far the network has grown, from 0; ``None`` is the last level.
            alpha: Weight of the newest block, in [0, 1]; the rest is the images, halved, as the level before saw them.

        Returns:
            (batch, channels, 4, 4).
        """
        level = len(self.channels) - 1 if level is None else level
        x = activate(self.from_rgb[level](images))
        for number in range(level, 0, -1):
            x = self.blocks[number - 1](x)
            if number == level and alpha < 1:
                x = torch.lerp(activate(self.from_rgb[level - 1](downsample(images))), x, alpha)
        return x

    def score(self, features: Tensor, parts: int = 1) -> Tensor:
        """Map features to scores.

        Args:
            features: (batch, channels, 4, 4).
            parts: Number of equal parts of the batch whose images are not compared with each other's.

        Returns:
            (batch,).
        """
        x = activate(self.conv(minibatch_stddev(features, parts))).flatten(1)
        scores: Tensor = self.dense_1(activate(self.dense_0(x)))
        return scores.squeeze(1)

    def forward(self, images: Tensor, level: int | None = None, alpha: float = 1.0) -> Tensor:
        """Map images, as for `features`, to scores (batch,)."""
        return self.score(self.features(images, level, alpha))
