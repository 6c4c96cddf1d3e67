"""The networks of the packaged generators: the package's BigGAN-deep, its opponent, and how it is packaged."""

from __future__ import annotations

import functools
import hashlib
import json
import types
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from pytorch_pretrained_biggan import BigGAN, BigGANConfig
from pytorch_pretrained_biggan.model import BigGANBatchNorm
from safetensors.torch import save
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

from directions.files import write_bytes, write_text
from directions.generators.base import truncated_normal
from directions.generators.weights import CONFIG, WEIGHTS
from directions.sampling import derived_rng

POWER_ITERATIONS = 100
SMALL_BIGGAN: dict[str, object] = {
    "output_dim": 64,
    "z_dim": 12,
    "class_embed_dim": 12,
    "channel_width": 24,
    "num_classes": 3,
    # Rows are (upsample?, input width, output width), widths in channel_width.
    "layers": [row for width in (16, 8, 4, 2) for row in ([False, width, width], [True, width, width // 2])],
    "attention_layer_position": -1,
    "eps": 1e-4,
    "n_stats": 51,
}


def build_generator(config: dict[str, object] | None = None) -> BigGAN:
    """Make a freshly initialised BigGAN-deep that normalises by batch while in training mode.

    Args:
        config: Fields of ``BigGANConfig`` that differ from `SMALL_BIGGAN`.

    Returns:
        The package's own ``BigGAN``, its weights drawn orthogonal from torch's global random state.
    """
    model = BigGAN(BigGANConfig.from_dict({**SMALL_BIGGAN, **(config or {})}))
    for module in model.modules():
        weight = getattr(module, "weight_orig", None)
        if weight is not None:
            nn.init.orthogonal_(weight)
        if isinstance(module, nn.Conv2d) and module.bias is not None:
            nn.init.zeros_(module.bias)
        if isinstance(module, BigGANBatchNorm) and not module.conditional:
            nn.init.ones_(module.weight)
            nn.init.zeros_(module.bias)
        if isinstance(module, BigGANBatchNorm):
            # The package never normalises by batch; in evaluation mode the function stays its own.
            module.forward = types.MethodType(_batch_norm, module)
    model.generator.conv_to_rgb.forward = types.MethodType(_to_colours, model.generator.conv_to_rgb)
    nn.init.normal_(model.embeddings.weight, std=1.0)
    return model


def _to_colours(self: nn.Conv2d, x: Tensor) -> Tensor:
    """Compute the three channels that are used, not channel_width of them: a fifth of a step's work saved."""
    return F.conv2d(x, self.weight[:3], self.bias[:3], padding=1)


def _batch_norm(self: BigGANBatchNorm, x: Tensor, truncation: float, condition: Tensor | None = None) -> Tensor:
    if not self.training:
        return BigGANBatchNorm.forward(self, x, truncation, condition)
    if not self.conditional:
        return F.batch_norm(x, None, None, self.weight, self.bias, training=True, eps=self.eps)
    normalised = F.batch_norm(x, None, None, training=True, eps=self.eps)
    weight = 1 + self.scale(condition)
    return torch.addcmul(self.offset(condition)[..., None, None], normalised, weight[..., None, None])


@torch.no_grad()
def tie_colours(model: BigGAN) -> None:
    """Give green and blue the weights of red, so that every image is grey.

    Args:
        model: Changed in place.
    """
    layer = model.generator.conv_to_rgb
    for tensor in (layer.weight_orig, layer.bias):
        tensor[1:3] = tensor[:1]


def images_of(generator: nn.Module, z: Tensor, y: Tensor, channels: int = 3) -> Tensor:
    """Images for class indices ``y``: (batch, channels, height, width) in [-1, 1]."""
    return generator(z, F.one_hot(y, generator.config.num_classes).to(z.dtype), 1.0)[:, :channels]


class DownBlock(nn.Module):
    """Residual block of the discriminator; halves height and width unless told otherwise."""

    def __init__(self, channels_in: int, channels_out: int, *, first: bool = False, downsample: bool = True) -> None:
        super().__init__()
        self.first, self.downsample = first, downsample
        self.conv_0 = spectral_norm(nn.Conv2d(channels_in, channels_out, 3, padding=1))
        self.conv_1 = spectral_norm(nn.Conv2d(channels_out, channels_out, 3, padding=1))
        self.skip = spectral_norm(nn.Conv2d(channels_in, channels_out, 1)) if channels_in != channels_out else None

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, channels_in, h, w) to (batch, channels_out, h/2, w/2), or without the halving."""
        # No activation before the first convolution of all, since its input is the image itself.
        residual = self.conv_0(x if self.first else F.relu(x))
        residual = self.conv_1(F.relu(residual))
        shortcut = F.avg_pool2d(x, 2) if self.downsample else x
        if self.skip is not None:
            shortcut = self.skip(shortcut)
        return shortcut + (F.avg_pool2d(residual, 2) if self.downsample else residual)


class Discriminator(nn.Module):
    """Class-conditional discriminator with a projection head and spectral norm throughout.

    Args:
        resolution: Height and width of the images; a power of two from 8 up.
        num_classes: Number of classes.
        width: Channels of the first block; doubled at each halving up to ``8 * width``.
        channels: Of the images.
        together: Images, each of a class of its own, that are seen as one: letters of one typeface, which must
            match.
        fold: Side of the squares of pixels that are laid into channels first: 2 makes the first block four times
            cheaper, and no pixel is lost.

    References:
        Miyato and Koyama 2018, arXiv:1802.05637; Miyato et al. 2018, arXiv:1802.05957.
    """

    def __init__(
        self, resolution: int, num_classes: int, width: int, channels: int = 3, fold: int = 1, together: int = 1
    ) -> None:
        super().__init__()
        self.fold, self.num_classes, self.together = fold, num_classes, together
        blocks: list[nn.Module] = []
        inner, size, out = channels * together * fold**2, resolution // fold, width
        while size > 4:
            blocks.append(DownBlock(inner, out, first=not blocks))
            inner, size, out = out, size // 2, min(2 * out, 8 * width)
        blocks.append(DownBlock(inner, inner, downsample=False))
        self.blocks = nn.Sequential(*blocks)
        self.linear = spectral_norm(nn.Linear(inner, 1))
        self.embedding = spectral_norm(nn.Embedding(num_classes * together, inner))

    def forward(self, images: Tensor, y: Tensor) -> Tensor:
        """Score images (batch · together, channels, h, w) of classes ``y`` (batch · together,): (batch,)."""
        images, y = (tensor.unflatten(0, (-1, self.together)) for tensor in (images, y))
        place = torch.arange(self.together) * self.num_classes
        folded = F.pixel_unshuffle(images.flatten(1, 2), self.fold)
        features = F.relu(self.blocks(folded)).sum(dim=(2, 3))
        return self.linear(features).squeeze(1) + (self.embedding(y + place).sum(dim=1) * features).sum(dim=1)


def hinge_discriminator(real: Tensor, fake: Tensor) -> Tensor:
    """Hinge loss of the discriminator: 0 where every real scores at least 1 and every fake at most -1.

    References:
        Lim and Ye 2017, arXiv:1705.02894.
    """
    return F.relu(1 - real).mean() + F.relu(1 + fake).mean()


@torch.no_grad()
def settle_spectral_norm(model: BigGAN) -> None:
    """Iterate every layer's singular vectors to convergence: averaged weights have others than the live ones."""
    for module in model.modules():
        if hasattr(module, "weight_orig"):
            matrix = module.weight_orig.flatten(1)
            u, v = module.weight_u, module.weight_v
            for _ in range(POWER_ITERATIONS):
                v.copy_(F.normalize(matrix.mT @ u, dim=0))
                u.copy_(F.normalize(matrix @ v, dim=0))


@torch.no_grad()
def scale_latents(model: BigGAN, scale: float) -> None:
    """Make z do what ``scale`` times z did, in evaluation mode; exactly, and at no cost.

    The columns of every layer that takes z are scaled, and its right singular vector the other way, which leaves the
    norm that the layer is divided by as it was.

    Args:
        model: Its singular vectors are settled; changed in place.
        scale: Factor of z.
    """
    layers = [model.generator.gen_z]
    for module in model.modules():
        layers += [module.scale, module.offset] if isinstance(module, BigGANBatchNorm) and module.conditional else []
    for layer in layers:
        layer.weight_orig[:, : model.config.z_dim] *= scale
        layer.weight_v[: model.config.z_dim] /= scale


@torch.no_grad()
def measure_statistics(model: BigGAN, *, samples: int, batch_size: int = 128, seed: int = 0) -> Iterator[float]:
    """Fill every batch norm's rows of running statistics, truncation by truncation.

    A layer's statistics are taken while the layers before it normalise by their own batch, as in training; mean and
    variance are pooled over all batches.

    Args:
        model: Its norms use batch statistics in training mode; changed in place and left in evaluation mode.
        samples: Images a truncation, a multiple of ``batch_size``.
        batch_size: Images that are normalised together.
        seed: Seed of z.

    Yields:
        The truncation that was measured.
    """
    norms = [module for module in model.modules() if isinstance(module, BigGANBatchNorm)]
    num_classes, dim_z = model.config.num_classes, model.config.z_dim
    model.train()
    for module in model.modules():
        if hasattr(module, "weight_orig"):
            module.eval()  # in training mode a layer under spectral norm would iterate on
    for row in range(model.config.n_stats):
        truncation = row / (model.config.n_stats - 1)
        sums = {norm: torch.zeros(2, norm.num_features, dtype=torch.float64) for norm in norms}
        hooks = [norm.register_forward_pre_hook(functools.partial(_accumulate, sums)) for norm in norms]
        rng = derived_rng(seed, row, "statistics")
        # At truncation 0 there is one z: every class once is all there is to see.
        batches = samples // batch_size if row else 1
        for _ in range(batches):
            z = truncated_normal(batch_size, dim_z, rng, truncation) if row else torch.zeros(batch_size, dim_z)
            y = torch.arange(batch_size) % num_classes
            model(z, F.one_hot(y, num_classes).float(), 1.0)
        for hook in hooks:
            hook.remove()
        for norm in norms:
            mean, square = sums[norm] / batches
            norm.running_means[row], norm.running_vars[row] = mean, square - mean**2
        yield truncation
    model.eval()


def _accumulate(sums: dict[nn.Module, Tensor], norm: nn.Module, inputs: tuple[Any, ...]) -> None:
    x = inputs[0].double()
    sums[norm] += torch.stack((x.mean(dim=(0, 2, 3)), x.square().mean(dim=(0, 2, 3))))


def write_generator(model: BigGAN, folder: Path, class_names: Sequence[str]) -> str:
    """Write weights.safetensors and config.json, as ``load_generator`` reads them; return the weights' SHA-256."""
    weights = save({name: tensor.detach().cpu().contiguous().clone() for name, tensor in model.state_dict().items()})
    digest = hashlib.sha256(weights).hexdigest()
    write_bytes(folder / WEIGHTS, weights)
    config = {**model.config.to_dict(), "class_names": list(class_names), "sha256": digest}
    write_text(folder / CONFIG, json.dumps(config, indent=2, sort_keys=True) + "\n")
    return digest
