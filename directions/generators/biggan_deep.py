"""BigGAN-deep of ``pytorch_pretrained_biggan`` as a frozen function, several times lighter than the package's module.

A generator of the flow's first stop. Weights stay in the package's names and are loaded into the package's class; what
runs is the same function, folded as ``frozen`` does it, and without the channels that the image does not use.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from pytorch_pretrained_biggan import BigGAN
from pytorch_pretrained_biggan.model import BigGANBatchNorm, GenBlock, SelfAttn
from torch import Tensor, nn
from torch.nn import functional as F

from directions.generators.frozen import Conditioning, FrozenBigGAN
from directions.generators.frozen_layers import Affine, FrozenAttention, FrozenBlock, FrozenConvolution


def folded_weight(module: nn.Module) -> Tensor:
    """Return a layer's weight with its spectral norm divided out.

    Args:
        module: A layer under ``torch.nn.utils.spectral_norm``, or a plain one.

    Returns:
        The weight, as the layer uses it in evaluation mode.
    """
    tensors = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    if "weight_orig" not in tensors:
        return tensors["weight"].detach()
    weight = tensors["weight_orig"].detach()
    sigma = tensors["weight_u"] @ (weight.flatten(1) @ tensors["weight_v"])
    return weight / sigma


def _convolution(source: nn.Conv2d, channels_out: int | None = None) -> FrozenConvolution:
    # Cut after the norm is divided out: the norm is that of all channels.
    bias = None if source.bias is None else source.bias[:channels_out]
    return FrozenConvolution(folded_weight(source)[:channels_out], bias)


class _Block(FrozenBlock):
    """Four convolutions between bottlenecks; surplus channels of the shortcut are dropped."""

    def __init__(self, source: GenBlock) -> None:
        super().__init__()
        self.upsample = bool(source.up_sample)
        self.channels_kept = source.conv_3.out_channels
        self.widths = tuple(norm.num_features for norm in _norms(source))
        self.convolutions = nn.ModuleList(
            map(_convolution, (source.conv_0, source.conv_1, source.conv_2, source.conv_3))
        )

    def forward(self, x: Tensor, affines: Sequence[Affine]) -> Tensor:
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


def _norms(block: GenBlock) -> tuple[BigGANBatchNorm, ...]:
    return (block.bn_0, block.bn_1, block.bn_2, block.bn_3)


def _layer(source: nn.Module) -> FrozenBlock | FrozenAttention:
    if isinstance(source, GenBlock):
        return _Block(source)
    assert isinstance(source, SelfAttn)
    query, key, value, out = map(
        _convolution, (source.snconv1x1_theta, source.snconv1x1_phi, source.snconv1x1_g, source.snconv1x1_o_conv)
    )
    return FrozenAttention(query, key, value, out, source.gamma)


class BigGANDeep(FrozenBigGAN):
    """A frozen BigGAN-deep.

    Args:
        model: The package's module with its weights; it is copied, not changed.
        name: What `load_generator` was given.
        digest: SHA-256 of the weights.
        class_names: A name for each class, or ``None``.
        class_synonyms: Other names of each class, or ``None``.
    """

    def __init__(
        self,
        model: BigGAN,
        *,
        name: str,
        digest: str,
        class_names: tuple[str, ...] | None = None,
        class_synonyms: Sequence[Sequence[str]] | None = None,
    ) -> None:
        inner = model.generator
        blocks = [layer for layer in inner.layers if isinstance(layer, GenBlock)]
        norms = [norm for block in blocks for norm in _norms(block)]
        super().__init__(
            [_layer(layer) for layer in inner.layers],
            _convolution(inner.conv_to_rgb, channels_out=3),
            Conditioning(
                dim_z=model.config.z_dim,
                embeddings=model.embeddings.weight.mT,
                first=folded_weight(inner.gen_z),
                first_bias=inner.gen_z.bias,
                scales=torch.cat([folded_weight(norm.scale) for norm in norms]),
                shifts=torch.cat([folded_weight(norm.offset) for norm in norms]),
                means=torch.cat([norm.running_means for norm in [*norms, inner.bn]], dim=1),
                variances=torch.cat([norm.running_vars for norm in [*norms, inner.bn]], dim=1),
                last_gain=inner.bn.weight,
                last_bias=inner.bn.bias,
                eps=model.config.eps,
            ),
            name=name,
            digest=digest,
            bottom_width=4,
            resolution=4 * 2 ** sum(block.up_sample for block in blocks),
            class_names=class_names,
            class_synonyms=class_synonyms,
        )
