"""The layers of a frozen BigGAN, and the statistics that its batch norms use.

Put together by ``frozen``. Weights are buffers: nothing here has a gradient of its own.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

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

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        self.register_buffer("weight", weight.detach().clone(memory_format=torch.channels_last))
        self.register_buffer("bias", None if bias is None else bias.detach().clone())

    def forward(self, x: Tensor) -> Tensor:
        """Convolve, keeping height and width."""
        return F.conv2d(x, self.weight, self.bias, padding=self.weight.shape[-1] // 2)


class FrozenAttention(nn.Module):
    """Self-attention over positions, through the fused kernel.

    Args:
        query: 1×1 convolution to an eighth of the channels.
        key: 1×1 convolution to an eighth of the channels.
        value: 1×1 convolution to half of the channels.
        out: 1×1 convolution back to all of them.
        gamma: Weight of the attention's part, one number.
    """

    gamma: Tensor

    def __init__(
        self,
        query: FrozenConvolution,
        key: FrozenConvolution,
        value: FrozenConvolution,
        out: FrozenConvolution,
        gamma: Tensor,
    ) -> None:
        super().__init__()
        self.query, self.key, self.value, self.out = query, key, value, out
        self.register_buffer("gamma", gamma.detach().reshape(1).clone())

    def forward(self, x: Tensor) -> Tensor:
        """Add what attention gathers; keys and values are pooled 2×2."""
        batch, _, height, width = x.shape
        query = self.query(x).flatten(2).mT
        key = F.max_pool2d(self.key(x), 2).flatten(2).mT
        value = F.max_pool2d(self.value(x), 2).flatten(2).mT
        attended = F.scaled_dot_product_attention(query, key, value, scale=1.0)
        attended = attended.mT.reshape(batch, -1, height, width).contiguous(memory_format=torch.channels_last)
        return torch.addcmul(x, self.gamma, self.out(attended))


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
