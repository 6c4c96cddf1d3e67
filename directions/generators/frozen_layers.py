"""The layers of a frozen BigGAN, and the statistics that its batch norms use.

Put together by ``frozen``. Weights are buffers: nothing here has a gradient of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from directions.generators.frozen_operations import attend, convolve, convolve_doubled, doubling_weight

Affine = tuple[Tensor, Tensor]
"""Scale and shift of one batch norm, (batch, channels, 1, 1) each."""


class FrozenConvolution(nn.Module):
    """A convolution whose weight is a buffer: nothing in a frozen generator has a gradient of its own.

    Args:
        weight: (out, in, size, size), as the layer uses it; copied.
        bias: (out,) or ``None``; copied.
    """

    weight: Tensor
    bias: Tensor | None

    def __init__(self, weight: Tensor, bias: Tensor | None = None) -> None:
        super().__init__()
        self.register_buffer("weight", weight.detach().clone(memory_format=torch.channels_last))
        self.register_buffer("bias", None if bias is None else bias.detach().clone())

    def forward(self, x: Tensor) -> Tensor:
        """Convolve, keeping height and width."""
        return convolve(x, self.weight, self.bias)


class FrozenDoubling(nn.Module):
    """A convolution of repeated pixels: height and width double.

    Args:
        weight: (out, in, 3, 3), as the layer uses it on the repeated pixels.
    """

    weight: Tensor

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        doubled = doubling_weight(weight.detach())
        self.register_buffer("weight", doubled.clone(memory_format=torch.channels_last))

    def forward(self, x: Tensor) -> Tensor:
        """Repeat each pixel in a 2×2 square and convolve."""
        return convolve_doubled(x, self.weight)


class FrozenAttention(nn.Module):
    """Self-attention over positions, which never holds the whole matrix.

    Args:
        weights: Of the 1×1 convolutions to query (out, in, 1, 1), key, value, and back to all channels.
        gamma: Weight of the attention's part, one number.
        carried: (channels,) what is to be added to the input given here to have the layer's own.
    """

    def __init__(self, weights: Iterable[Tensor], gamma: Tensor, carried: Tensor) -> None:
        super().__init__()
        query, key, value, out = weights
        self.widths = (len(query), len(key) + len(value))
        self.key_width = len(key)
        projections = torch.cat((query, key, value))
        self.projections = FrozenConvolution(projections, projections.flatten(1) @ carried)
        self.out = FrozenConvolution(gamma.detach().reshape(1, 1, 1, 1) * out)

    def forward(self, x: Tensor) -> Tensor:
        """Add what attention gathers; keys and values are pooled 2×2."""
        height, width = x.shape[2:]
        query, others = self.projections(x).split(self.widths, dim=1)
        key, value = F.max_pool2d(others, 2).flatten(2).mT.tensor_split((self.key_width,), dim=2)
        gathered = attend(query.flatten(2).mT, key, value)
        return self.out(gathered.unflatten(1, (height, width)).permute(0, 3, 1, 2)).add_(x)


class FrozenBlock(nn.Module):
    """A residual block; the scales and shifts of its norms come from outside, computed for all blocks at once.

    Attributes:
        widths: Channels of each of its norms, in the order of use.
        upsample: Whether it doubles height and width.
    """

    widths: tuple[int, ...]
    upsample: bool

    def forward(self, x: Tensor, affines: Sequence[Affine]) -> Tensor:
        """Apply the block."""
        raise NotImplementedError


def truncation_statistics(means: Tensor, variances: Tensor, truncation: float) -> Affine:
    """Mean and variance that batch norms use at a truncation.

    BigGAN-deep keeps statistics for truncations 0, 0.02, …, 1; between two rows they are interpolated. The package
    ``pytorch_pretrained_biggan`` picks the row by a division that is off at 0.14, 0.28, 0.56, 0.58 and 0.94, and swaps
    the two weights of the interpolation; on the other rows the two agree.

    Args:
        means: (rows, channels); a single row is for every truncation.
        variances: (rows, channels).
        truncation: In (0, 1].

    Returns:
        Mean and variance, (channels,) each.
    """
    position = truncation * (len(means) - 1)
    row = round(position)
    if abs(position - row) < 1e-6:
        return means[row], variances[row]
    row = int(position)
    share = position - row
    return torch.lerp(means[row], means[row + 1], share), torch.lerp(variances[row], variances[row + 1], share)
