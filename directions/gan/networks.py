"""Networks for adversarial training: the package's BigGAN-deep made trainable, and a projection discriminator.

First stop of the training flow: ``networks`` and ``losses`` are put together by ``training``, fed by ``data``, and
``export`` turns what was learnt into a file that ``generators.biggan_deep`` loads.
"""

from __future__ import annotations

import types

import torch
from pytorch_pretrained_biggan import BigGAN, BigGANConfig
from pytorch_pretrained_biggan.model import BigGANBatchNorm
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

SMALL_BIGGAN = {
    "output_dim": 64,
    "z_dim": 12,
    "class_embed_dim": 12,
    "channel_width": 24,
    "num_classes": 3,
    "layers": [
        [False, 16, 16],
        [True, 16, 8],
        [False, 8, 8],
        [True, 8, 4],
        [False, 4, 4],
        [True, 4, 2],
        [False, 2, 2],
        [True, 2, 1],
    ],
    "attention_layer_position": -1,
    "eps": 1e-4,
    "n_stats": 51,
}
"""Configuration of the built-in generator: rows of ``layers`` are (upsample?, input width, output width)."""


def build_generator(config: dict[str, object] | None = None) -> BigGAN:
    """Make a freshly initialised BigGAN-deep that uses batch statistics in training mode.

    Args:
        config: Fields of ``BigGANConfig``; ``None`` means `SMALL_BIGGAN`.

    Returns:
        The package's own ``BigGAN``, its weights drawn orthogonal from torch's global random state.
    """
    fields = {**SMALL_BIGGAN, **(config or {})}
    model = BigGAN(BigGANConfig.from_dict(fields))
    for module in model.modules():
        weight = getattr(module, "weight_orig", None)
        if weight is not None:
            nn.init.orthogonal_(weight)
        if isinstance(module, nn.Conv2d) and module.bias is not None:
            nn.init.zeros_(module.bias)
        if isinstance(module, BigGANBatchNorm) and not module.conditional:
            nn.init.ones_(module.weight)
            nn.init.zeros_(module.bias)
    nn.init.normal_(model.embeddings.weight, std=1.0)
    use_batch_statistics(model)
    return model


def use_batch_statistics(model: nn.Module) -> None:
    """Let every ``BigGANBatchNorm`` normalise by its batch while in training mode (the package never does).

    Args:
        model: Changed in place; in evaluation mode the function stays the package's.
    """
    for module in model.modules():
        if isinstance(module, BigGANBatchNorm):
            module.forward = types.MethodType(_batch_norm_forward, module)


def _batch_norm_forward(self: BigGANBatchNorm, x: Tensor, truncation: float, condition: Tensor | None = None) -> Tensor:
    if not self.training:
        return BigGANBatchNorm.forward(self, x, truncation, condition)
    if not self.conditional:
        return F.batch_norm(x, None, None, self.weight, self.bias, training=True, eps=self.eps)
    normalised = F.batch_norm(x, None, None, training=True, eps=self.eps)
    weight = 1 + self.scale(condition)
    return torch.addcmul(self.offset(condition)[..., None, None], normalised, weight[..., None, None])


class DownBlock(nn.Module):
    """Residual block of the discriminator; halves height and width unless told otherwise.

    Args:
        channels_in: Channels that come in.
        channels_out: Channels that go out.
        first: No activation before the first convolution, since the input is the image itself.
        downsample: Halve height and width by averaging.
    """

    def __init__(self, channels_in: int, channels_out: int, *, first: bool = False, downsample: bool = True) -> None:
        super().__init__()
        self.first, self.downsample = first, downsample
        self.conv_0 = spectral_norm(nn.Conv2d(channels_in, channels_out, 3, padding=1))
        self.conv_1 = spectral_norm(nn.Conv2d(channels_out, channels_out, 3, padding=1))
        self.skip = spectral_norm(nn.Conv2d(channels_in, channels_out, 1)) if channels_in != channels_out else None

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, channels_in, h, w) to (batch, channels_out, h/2, w/2), or without the halving."""
        residual = self.conv_0(x if self.first else F.relu(x))
        residual = self.conv_1(F.relu(residual))
        shortcut = F.avg_pool2d(x, 2) if self.downsample else x
        if self.skip is not None:
            shortcut = self.skip(shortcut)
        return shortcut + (F.avg_pool2d(residual, 2) if self.downsample else residual)


class ProjectionDiscriminator(nn.Module):
    """Class-conditional discriminator with a projection head (Miyato & Koyama 2018) and spectral norm throughout.

    Args:
        resolution: Height and width of the images; a power of two from 8 up.
        num_classes: Number of classes.
        width: Channels at full resolution; doubled at each halving up to ``8 * width``.

    References:
        Miyato and Koyama 2018, arXiv:1802.05637; Miyato et al. 2018, arXiv:1802.05957.
    """

    def __init__(self, resolution: int = 64, num_classes: int = 3, width: int = 24) -> None:
        super().__init__()
        blocks: list[nn.Module] = []
        channels, size, out = 3, resolution, width
        while size > 4:
            blocks.append(DownBlock(channels, out, first=not blocks))
            channels, size, out = out, size // 2, min(2 * out, 8 * width)
        blocks.append(DownBlock(channels, channels, downsample=False))
        self.blocks = nn.Sequential(*blocks)
        self.linear = spectral_norm(nn.Linear(channels, 1))
        self.embedding = spectral_norm(nn.Embedding(num_classes, channels))

    def forward(self, images: Tensor, y: Tensor) -> Tensor:
        """Score images; higher is more real.

        Args:
            images: (batch, 3, resolution, resolution) in [-1, 1].
            y: (batch,) class indices.

        Returns:
            (batch,) scores.
        """
        features = F.relu(self.blocks(images)).sum(dim=(2, 3))
        return self.linear(features).squeeze(1) + (self.embedding(y) * features).sum(dim=1)
