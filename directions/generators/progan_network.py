"""The generator of Progressive Growing, at any resolution of its growth, with its activations within reach.

Trained by ``directions.gan``, whose penalty looks at the activations; ``progan`` wraps a trained one as a generator of
the flow's first stop.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from directions.generators.progan_layers import (
    EqualisedConv,
    EqualisedLinear,
    activate,
    pixel_norm,
    upsample,
)

FIRST_RESOLUTION = 4
_FIRST_GAIN = 2**0.5 / 4  # the first layer counts as a convolution over 4 × 4 pixels, as in the authors' networks


def resolutions(levels: int) -> tuple[int, ...]:
    """Return height and width at each level of growth, from 4 pixels on."""
    return tuple(FIRST_RESOLUTION * 2**level for level in range(levels))


class FirstBlock(nn.Module):
    """From the normalised latent to features of 4 × 4 pixels.

    Args:
        dim_z: |z|.
        channels: Channels that go out.
    """

    def __init__(self, dim_z: int, channels: int) -> None:
        super().__init__()
        self.dense = EqualisedLinear(dim_z, channels * FIRST_RESOLUTION**2, gain=_FIRST_GAIN)
        self.conv = EqualisedConv(channels, channels, 3)

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Map normalised latents, (batch, |z|), to the two normalised activations, each (batch, channels, 4, 4)."""
        x = self.dense(z).unflatten(1, (-1, FIRST_RESOLUTION, FIRST_RESOLUTION))
        first = pixel_norm(activate(x))
        return first, pixel_norm(activate(self.conv(first)))


class GrowBlock(nn.Module):
    """Double height and width, then two convolutions.

    Args:
        channels_in: Channels that come in.
        channels: Channels that go out.
    """

    def __init__(self, channels_in: int, channels: int) -> None:
        super().__init__()
        self.conv_0 = EqualisedConv(channels_in, channels, 3)
        self.conv_1 = EqualisedConv(channels, channels, 3)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Map (batch, channels_in, h, w) to the two normalised activations, each (batch, channels, 2h, 2w)."""
        first = pixel_norm(activate(self.conv_0(upsample(x))))
        return first, pixel_norm(activate(self.conv_1(first)))


class ProGANNetwork(nn.Module):
    """The generator of Progressive Growing: z to an image of the resolution it has grown to.

    Every block has two normalised activations; they are numbered 0, 1 (4 pixels), 2, 3 (8 pixels) and so on.

    Args:
        dim_z: |z|.
        channels: Channels at 4, 8, 16, … pixels; as many as there are levels.

    References:
        Karras et al. 2018, arXiv:1710.10196.
    """

    def __init__(self, dim_z: int, channels: Sequence[int]) -> None:
        super().__init__()
        self.dim_z, self.channels = dim_z, tuple(channels)
        self.resolutions = resolutions(len(self.channels))
        blocks: list[nn.Module] = [FirstBlock(dim_z, self.channels[0])]
        blocks += [GrowBlock(*pair) for pair in zip(self.channels, self.channels[1:], strict=False)]
        self.blocks = nn.ModuleList(blocks)
        self.to_rgb = nn.ModuleList(EqualisedConv(width, 3, 1, gain=1.0) for width in self.channels)

    @property
    def levels(self) -> int:
        """Number of resolutions."""
        return len(self.channels)

    def forward(self, z: Tensor, level: int | None = None, alpha: float = 1.0, *, normalise: bool = True) -> Tensor:
        """Make images.

        Args:
            z: (batch, |z|) latents, as drawn: the network normalises them.
            level: How far it has grown, from 0 (4 pixels); ``None`` is the last level.
            alpha: Weight of the newest block, in [0, 1]; the rest is the level before, enlarged.
            normalise: False takes latents as they are, for edits of latents that have been normalised.

        Returns:
            (batch, 3, 4·2^level, 4·2^level), images in [-1, 1] but for what overshoots.
        """
        level = self.levels - 1 if level is None else level
        features = [pair[1] for pair in self._blocks(pixel_norm(z) if normalise else z, level)]
        return self._image(features, level, alpha)

    def activations(
        self, z: Tensor, layers: Sequence[int], level: int | None = None, alpha: float = 1.0, *, image: bool = False
    ) -> list[Tensor]:
        """Return normalised activations, as the penalty wants them.

        Args:
            z: (batch, |z|) latents, as drawn.
            layers: Numbers of activations, ascending; those of later levels are left out.
            level: How far the network has grown; ``None`` is the last level.
            alpha: Weight of the newest block in the image.
            image: Append the image too.

        Returns:
            Each (batch, channels, height, width).
        """
        level = self.levels - 1 if level is None else level
        # Blocks after the last layer that is wanted are not computed, but for the image.
        deepest = level if image else min(level, max(layers, default=-1) // 2)
        pairs = list(self._blocks(pixel_norm(z), deepest)) if deepest >= 0 else []
        wanted = [pairs[layer // 2][layer % 2] for layer in layers if layer // 2 <= deepest]
        return [*wanted, self._image([pair[1] for pair in pairs], level, alpha)] if image else wanted

    def _blocks(self, x: Tensor, last: int) -> Iterator[tuple[Tensor, Tensor]]:
        for block in self.blocks[: last + 1]:
            pair: tuple[Tensor, Tensor] = block(x)
            yield pair
            x = pair[1]

    def _image(self, features: Sequence[Tensor], level: int, alpha: float) -> Tensor:
        newest: Tensor = self.to_rgb[level](features[level])
        if level == 0 or alpha >= 1:
            return newest
        return torch.lerp(upsample(self.to_rgb[level - 1](features[level - 1])), newest, alpha)
