"""Adversarial losses: scores of the discriminator to scalars that the two optimisers minimise."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

GREY_LEVELS = 127.5


def hinge_discriminator(real: Tensor, fake: Tensor) -> Tensor:
    """Hinge loss of the discriminator.

    Args:
        real: (batch,) scores of real images.
        fake: (batch,) scores of generated images.

    Returns:
        Scalar; 0 where every real scores at least 1 and every fake at most -1.

    References:
        Lim and Ye 2017, arXiv:1705.02894.
    """
    return F.relu(1 - real).mean() + F.relu(1 + fake).mean()


def hinge_generator(fake: Tensor) -> Tensor:
    """Loss of the generator against a hinge discriminator: the negative mean score of what it made.

    Args:
        fake: (batch,) scores of generated images.

    Returns:
        Scalar.
    """
    return -fake.mean()


def high_pass(images: Tensor) -> Tensor:
    """What is left of images when their mean over 3 by 3 pixels is taken away.

    Args:
        images: (batch, channels, height, width) in [-1, 1].

    Returns:
        The same shape, in grey levels of 255.
    """
    padded = F.pad(images, (1, 1, 1, 1), mode="replicate")
    return (images - F.avg_pool2d(padded, 3, stride=1)) * GREY_LEVELS


@dataclass(frozen=True)
class TextureStatistics:
    """Mean and mean square of the high-pass of images, pixel by pixel.

    Attributes:
        mean: (channels, height, width), in grey levels.
        square: (channels, height, width), in grey levels squared.
    """

    mean: Tensor
    square: Tensor

    def to(self, device: torch.device) -> TextureStatistics:
        """Move to a device."""
        return TextureStatistics(self.mean.to(device), self.square.to(device))

    @classmethod
    def of(cls, images: Tensor) -> TextureStatistics:
        """Measure a batch of images in [-1, 1]."""
        residual = high_pass(images)
        return cls(residual.mean(dim=0), residual.square().mean(dim=0))


def texture_matching(fake: TextureStatistics, real: TextureStatistics) -> Tensor:
    """How far the texture of generated images is from that of real ones: feature matching on the finest scale.

    A grid that stays at the same pixels shows in the mean, grain in the mean square. The discriminator, smooth by its
    spectral norm, gives a weak gradient for either; this gives a direct one.

    Args:
        fake: Of a batch of generated images.
        real: Of the data.

    Returns:
        Scalar: the mean squared difference of the means, plus the mean relative difference of the squares (relative to
        one grey level more than the data's).

    References:
        Salimans et al. 2016, arXiv:1606.03498, section 3.1 (feature matching).
    """
    means = (fake.mean - real.mean).square().mean()
    squares = ((fake.square - real.square).abs() / (real.square + 1)).mean()
    return means + squares


def chroma(images: Tensor, angles: int = 8) -> Tensor:
    """Mean colour of each image without its brightness, projected on axes around the colour circle.

    Args:
        images: (batch, 3, height, width) in [-1, 1].
        angles: Number of axes, spread evenly over half a turn.

    Returns:
        (batch, angles), in grey levels of 255.
    """
    red, green, blue = (images.mean(dim=(2, 3)) * GREY_LEVELS).unbind(dim=1)
    plane = torch.stack(((2 * red - green - blue) / 6**0.5, (green - blue) / 2**0.5), dim=1)
    angle = torch.arange(angles, device=images.device) * (torch.pi / angles)
    return plane @ torch.stack((angle.cos(), angle.sin())).to(plane)


def colour_matching(fake: Tensor, real: Tensor) -> Tensor:
    """Squared sliced Wasserstein distance between two sets of mean colours, in variances of the real one.

    The tails of a distribution are what a small generator leaves out first. Here each image is held against the real
    one of its rank, so that the extremes are asked for.

    Args:
        fake: (batch, angles) from `chroma`, of generated images.
        real: (images, angles) of the data, at least as many.

    Returns:
        Scalar, 0 for equal distributions.

    References:
        Bonneel et al. 2015, doi:10.1007/s10851-014-0506-3.
    """
    ranks = (torch.arange(len(fake), dtype=real.dtype, device=real.device) + 0.5) / len(fake)
    wanted = torch.quantile(real, ranks, dim=0)
    return ((fake.sort(dim=0).values - wanted).square().mean(dim=0) / real.var(dim=0)).mean()
