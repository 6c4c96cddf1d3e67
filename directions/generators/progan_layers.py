"""Building blocks of Progressive Growing: equalised learning rate, pixel norm, fading from one resolution to the next.

Used by the generator in ``progan_network`` and by the discriminator in ``directions.gan.progan_discriminator``.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

LEAK = 0.2
PIXEL_NORM_EPSILON = 1e-8
GAIN = math.sqrt(2.0)


def pixel_norm(x: Tensor) -> Tensor:
    """Give the feature vector at each pixel a mean square of 1.

    Args:
        x: (batch, channels, …), also a latent (batch, |z|).

    Returns:
        The same shape.

    References:
        Karras et al. 2018, arXiv:1710.10196, section 4.2.

    Example:
        >>> pixel_norm(torch.tensor([[3.0, 4.0]])).square().mean().round(decimals=4)
        tensor(1.)
    """
    normalised: Tensor = _PixelNorm.apply(x)
    return normalised


class _PixelNorm(torch.autograd.Function):
    """Pixel norm with a derivative written out: a third of the passes over memory that autograd would take.

    With y = x·r and r = (mean x² + ε)^(−1/2), the Jacobian at a pixel is r (I − y yᵀ / channels), a symmetric matrix.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        return x * _scale(x)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs, output)
        ctx.save_for_forward(*inputs, output)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return _times_jacobian(gradient, *ctx.saved_tensors)

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor) -> Tensor:
        return _times_jacobian(tangent, *ctx.saved_tensors)


def _scale(x: Tensor) -> Tensor:
    square = torch.linalg.vector_norm(x, dim=1, keepdim=True).square() / x.shape[1]
    return (square + PIXEL_NORM_EPSILON).rsqrt()


def _times_jacobian(vector: Tensor, x: Tensor, normalised: Tensor) -> Tensor:
    along = (vector * normalised).mean(dim=1, keepdim=True)
    return torch.addcmul(vector, normalised, along, value=-1) * _scale(x)


def activate(x: Tensor) -> Tensor:
    """Leaky ReLU with slope 0.2 below 0, for a tensor of any shape."""
    return F.leaky_relu(x, LEAK)


def upsample(x: Tensor, factor: int = 2) -> Tensor:
    """Repeat each pixel ``factor`` times in height and width: (batch, c, h, w) to (batch, c, f·h, f·w)."""
    return F.interpolate(x, scale_factor=factor, mode="nearest") if factor > 1 else x


def downsample(x: Tensor, factor: int = 2) -> Tensor:
    """Average over squares of ``factor`` pixels: (batch, c, h, w) to (batch, c, h/f, w/f)."""
    return F.avg_pool2d(x, factor) if factor > 1 else x


class EqualisedConv(nn.Conv2d):
    """Convolution whose weights are drawn from N(0, 1) and scaled by He's constant each time they are used.

    Adam's steps do not depend on the size of a gradient, so all layers then learn at the same rate relative to their
    weights.

    Args:
        channels_in: Channels that come in.
        channels_out: Channels that go out.
        kernel_size: Height and width of the kernel, odd; borders are padded with zeros.
        gain: Of the activation that follows; sqrt(2) for leaky ReLU, 1 for none.

    References:
        Karras et al. 2018, arXiv:1710.10196, section 4.1.
    """

    def __init__(self, channels_in: int, channels_out: int, kernel_size: int, *, gain: float = GAIN) -> None:
        super().__init__(channels_in, channels_out, kernel_size, padding=kernel_size // 2)
        self.scale = gain / math.sqrt(channels_in * kernel_size**2)
        nn.init.normal_(self.weight)
        assert self.bias is not None
        nn.init.zeros_(self.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, channels_in, h, w) to (batch, channels_out, h, w)."""
        return F.conv2d(x, self.weight * self.scale, self.bias, padding=self.padding)


class EqualisedLinear(nn.Linear):
    """Linear layer with an equalised learning rate, see `EqualisedConv`.

    Args:
        features_in: Features that come in.
        features_out: Features that go out.
        gain: Of the activation that follows.
    """

    def __init__(self, features_in: int, features_out: int, *, gain: float = GAIN) -> None:
        super().__init__(features_in, features_out)
        self.scale = gain / math.sqrt(features_in)
        nn.init.normal_(self.weight)
        nn.init.zeros_(self.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, features_in) to (batch, features_out)."""
        return F.linear(x, self.weight * self.scale, self.bias)
