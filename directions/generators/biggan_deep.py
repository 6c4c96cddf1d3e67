"""BigGAN-deep of ``pytorch_pretrained_biggan`` as a frozen function, several times lighter than the package's module.

A generator of the flow's first stop. Weights stay in the package's names and are loaded into the package's class; what
runs is the same function with everything folded that does not depend on z: spectral norm, the truncation's batch
statistics, the class part of every conditional batch norm, and the channels that the image does not use.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from pytorch_pretrained_biggan import BigGAN
from pytorch_pretrained_biggan.model import GenBlock, SelfAttn
from torch import Tensor, nn
from torch.nn import functional as F

from directions.generators.base import ClassConditional, Labels, check_truncation


def folded_weight(module: nn.Module) -> Tensor:
    """Return a layer's weight with its spectral norm divided out.

    Args:
        module: A layer under ``torch.nn.utils.spectral_norm``, or a plain one.

    Returns:
        The weight, as the layer uses it in evaluation mode.
    """
    if not hasattr(module, "weight_orig"):
        return module.weight.detach()
    weight = module.weight_orig.detach()
    sigma = module.weight_u @ (weight.flatten(1) @ module.weight_v)
    return weight / sigma


def truncation_statistics(means: Tensor, variances: Tensor, truncation: float) -> tuple[Tensor, Tensor]:
    """Mean and variance that batch norms use at a truncation.

    Statistics are kept for truncations 0, 0.02, …, 1. Between two rows they are interpolated. The package itself picks
    the row by a division that is off at 0.14, 0.28, 0.56, 0.58 and 0.94, and swaps the two weights of the
    interpolation; on the other rows the two agree.

    Args:
        means: (rows, channels).
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


class _Convolution(nn.Module):
    """A convolution whose weight is a buffer: nothing in a frozen generator has a gradient of its own."""

    weight: Tensor
    bias: Tensor | None

    def __init__(self, source: nn.Conv2d, channels_out: int | None = None) -> None:
        super().__init__()
        # Cut after the norm is divided out: the norm is that of all channels.
        weight = folded_weight(source)[:channels_out].clone(memory_format=torch.channels_last)
        self.register_buffer("weight", weight)
        self.register_buffer("bias", None if source.bias is None else source.bias.detach()[:channels_out].clone())
        self.padding = source.padding

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight, self.bias, padding=self.padding)


class _Block(nn.Module):
    """A residual block; the batch norms' scales and shifts come from outside, computed for all blocks at once."""

    def __init__(self, source: GenBlock) -> None:
        super().__init__()
        self.upsample = source.up_sample
        self.channels_kept = source.conv_3.out_channels
        self.convolutions = nn.ModuleList(
            _Convolution(conv) for conv in (source.conv_0, source.conv_1, source.conv_2, source.conv_3)
        )

    def forward(self, x: Tensor, affines: list[tuple[Tensor, Tensor]]) -> Tensor:
        residual = x
        for number, (conv, (scale, shift)) in enumerate(zip(self.convolutions, affines, strict=True)):
            residual = torch.addcmul(shift, residual, scale).relu_()
            if number == 1 and self.upsample:
                residual = F.interpolate(residual, scale_factor=2, mode="nearest")
            residual = conv(residual)
        shortcut = x[:, : self.channels_kept]
        if self.upsample:
            shortcut = F.interpolate(shortcut, scale_factor=2, mode="nearest")
        return residual + shortcut


class _Attention(nn.Module):
    """Self-attention over positions, through the fused kernel."""

    gamma: Tensor

    def __init__(self, source: SelfAttn) -> None:
        super().__init__()
        self.query, self.key, self.value, self.out = map(
            _Convolution,
            (source.snconv1x1_theta, source.snconv1x1_phi, source.snconv1x1_g, source.snconv1x1_o_conv),
        )
        self.register_buffer("gamma", source.gamma.detach().clone())

    def forward(self, x: Tensor) -> Tensor:
        batch, _, height, width = x.shape
        query = self.query(x).flatten(2).mT
        key = F.max_pool2d(self.key(x), 2).flatten(2).mT
        value = F.max_pool2d(self.value(x), 2).flatten(2).mT
        attended = F.scaled_dot_product_attention(query, key, value, scale=1.0)
        attended = attended.mT.reshape(batch, -1, height, width).contiguous(memory_format=torch.channels_last)
        return torch.addcmul(x, self.gamma, self.out(attended))


class BigGANDeep(ClassConditional):
    """A frozen BigGAN-deep.

    Args:
        model: The package's module with its weights; it is copied, not changed.
        name: What `load_generator` was given.
        digest: SHA-256 of the weights.
        class_names: A name for each class, or ``None``.
        class_synonyms: Other names of each class, or ``None``.
    """

    first_weight: Tensor
    first_bias: Tensor
    embeddings: Tensor
    modulation: Tensor
    means: Tensor
    variances: Tensor
    last_affine: Tensor

    def __init__(
        self,
        model: BigGAN,
        *,
        name: str,
        digest: str,
        class_names: tuple[str, ...] | None = None,
        class_synonyms: Sequence[Sequence[str]] | None = None,
    ) -> None:
        config, inner = model.config, model.generator
        blocks = [layer for layer in inner.layers if isinstance(layer, GenBlock)]
        super().__init__(
            name=name,
            dim_z=config.z_dim,
            num_classes=config.num_classes,
            resolution=4 * 2 ** sum(block.up_sample for block in blocks),
            num_layers=1 + len(blocks),
            digest=digest,
            class_names=class_names,
            class_synonyms=class_synonyms,
        )
        self.eps = config.eps
        self.layers = nn.ModuleList(_Block(x) if isinstance(x, GenBlock) else _Attention(x) for x in inner.layers)
        self.to_rgb = _Convolution(inner.conv_to_rgb, channels_out=3)
        self.register_buffer("embeddings", model.embeddings.weight.detach().mT.clone())
        self.register_buffer("first_weight", folded_weight(inner.gen_z).clone())
        self.register_buffer("first_bias", inner.gen_z.bias.detach().clone())

        # All conditional batch norms in one matrix: a single product gives every scale and shift of the network.
        norms = [norm for block in blocks for norm in (block.bn_0, block.bn_1, block.bn_2, block.bn_3)]
        self.widths = [norm.num_features for norm in norms]
        rows = [folded_weight(norm.scale) for norm in norms] + [folded_weight(norm.offset) for norm in norms]
        self.register_buffer("modulation", torch.cat(rows))
        self.register_buffer("means", torch.cat([norm.running_means for norm in [*norms, inner.bn]], dim=1))
        self.register_buffer("variances", torch.cat([norm.running_vars for norm in [*norms, inner.bn]], dim=1))
        self.register_buffer("last_affine", torch.stack((inner.bn.weight.detach(), inner.bn.bias.detach())))
        self._class_parts: dict[tuple[int, ...], tuple[Tensor, Tensor]] = {}
        self._statistics: dict[float, tuple[Tensor, Tensor]] = {}
        self.eval().requires_grad_(False)

    def _apply(self, fn: object, recurse: bool = True) -> BigGANDeep:
        # What was computed from the weights follows them to another device or precision by being computed anew.
        self._class_parts.clear()
        self._statistics.clear()
        return super()._apply(fn, recurse)  # type: ignore[arg-type]

    def forward(self, z: Tensor, y: Labels | None = 0, *, truncation: float = 1.0) -> Tensor:
        """Generate images.

        Args:
            z: (batch, dim_z).
            y: Classes; one for all, or one for each.
            truncation: Row of batch statistics, in (0, 1]; z must have been drawn with the same.

        Returns:
            (batch, 3, resolution, resolution) in [-1, 1].
        """
        self.check_z(z)
        check_truncation(truncation)
        first, modulation = self._conditions(z, self.class_indices(y, len(z)))
        rate, mean = self._normalisation(truncation)

        # x -> (x - mean)/std · (1 + scale) + offset, as one multiplication and one addition a channel.
        split = sum(self.widths)
        scale = torch.addcmul(rate[:split], modulation[:, :split], rate[:split])
        shift = torch.addcmul(modulation[:, split:], scale, mean[:split], value=-1)
        affines = list(zip(self._per_norm(scale), self._per_norm(shift), strict=True))

        x = first.view(len(z), 4, 4, -1).permute(0, 3, 1, 2)
        position = 0
        for layer in self.layers:
            if isinstance(layer, _Block):
                x = layer(x, affines[position : position + 4])
                position += 4
            else:
                x = layer(x)
        gain, bias = self.last_affine
        last_scale = gain * rate[split:]
        last_shift = bias - mean[split:] * last_scale
        x = torch.addcmul(last_shift[:, None, None], x, last_scale[:, None, None]).relu_()
        return self.to_rgb(x).tanh()

    def _conditions(self, z: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Outputs of the first layer, and scales and offsets of all norms: a part from z and a part from the class."""
        classes, rows = y.unique(return_inverse=True)
        key = tuple(classes.tolist())
        if key not in self._class_parts:
            if len(self._class_parts) >= 64:
                self._class_parts.clear()
            embedded = self.embeddings[classes]
            self._class_parts[key] = (
                F.linear(embedded, self.first_weight[:, self.dim_z :], self.first_bias),
                F.linear(embedded, self.modulation[:, self.dim_z :]),
            )
        first, modulation = self._class_parts[key]
        z = z.to(self.modulation)
        return (
            torch.addmm(first[rows], z, self.first_weight[:, : self.dim_z].mT),
            torch.addmm(modulation[rows], z, self.modulation[:, : self.dim_z].mT),
        )

    def _normalisation(self, truncation: float) -> tuple[Tensor, Tensor]:
        """1/std and mean of every norm's channels at a truncation."""
        if truncation not in self._statistics:
            mean, variance = truncation_statistics(self.means, self.variances, truncation)
            self._statistics[truncation] = ((variance + self.eps).rsqrt(), mean)
        return self._statistics[truncation]

    def _per_norm(self, values: Tensor) -> tuple[Tensor, ...]:
        """Split (batch, channels of all norms) into one (batch, channels, 1, 1) a norm."""
        return values[..., None, None].split(self.widths, dim=1)
