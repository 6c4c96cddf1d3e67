"""BigGAN-deep of ``pytorch_pretrained_biggan`` as a frozen function, several times lighter than the original."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from pytorch_pretrained_biggan import BigGAN, BigGANConfig
from pytorch_pretrained_biggan.model import BigGANBatchNorm, GenBlock, SelfAttn
from torch import Tensor, nn
from torch.nn import functional as F

from directions.errors import UserError
from directions.generators import frozen
from directions.generators.weights import load_into

# Weights stay in the package's names and are loaded into the package's class; what runs is the same function, folded,
# and without the channels that the image does not use.


def read_model(path: Path, config: Mapping[str, Any], config_name: str) -> BigGAN:
    """Read the weights of a BigGAN-deep into the package's module.

    Args:
        path: The weights: safetensors, or what ``torch.save`` wrote of the package's state dict.
        config: Fields of ``BigGANConfig``.
        config_name: Where the configuration comes from, for messages.

    Returns:
        The module in evaluation mode.

    Raises:
        UserError: If the file is damaged, or does not fit the configuration.
    """
    try:
        model = BigGAN(BigGANConfig.from_dict({name: config[name] for name in vars(BigGANConfig())}))
    except (KeyError, TypeError, ValueError, RuntimeError, IndexError, AttributeError) as error:
        raise UserError(f"{config_name} is no BigGAN-deep configuration: {error!r}.") from None
    load_into(model, path, config_name)
    return model.eval()


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
    return weight / (tensors["weight_u"] @ (weight.flatten(1) @ tensors["weight_v"]))


class _Block(frozen.FrozenBlock):
    """Four convolutions between bottlenecks; surplus channels of the shortcut are dropped.

    The biases of the convolutions are not added: a norm follows each of them, whose mean is lowered by as much.
    """

    def __init__(self, source: GenBlock) -> None:
        super().__init__()
        self.upsample = bool(source.up_sample)
        self.channels_kept = source.conv_3.out_channels
        self.widths = tuple(norm.num_features for norm in _norms(source))
        self.narrow = frozen.FrozenConvolution(folded_weight(source.conv_0))
        self.first = frozen.FrozenConvolution(folded_weight(source.conv_1), doubled=self.upsample)
        self.second = frozen.FrozenConvolution(folded_weight(source.conv_2))
        self.widen = frozen.FrozenConvolution(folded_weight(source.conv_3))

    def residual(self, x: Tensor, affines: Sequence[frozen.Affine]) -> Tensor:
        residual = self.narrow(frozen.affine_relu(x, *affines[0]))
        residual = self.first(frozen.affine_relu(residual, *affines[1]))
        residual = self.second(frozen.affine_relu(residual, *affines[2]))
        shortcut = x[:, : self.channels_kept]
        if self.upsample:
            shortcut = F.interpolate(shortcut, scale_factor=2, mode="nearest")
        return self.widen(frozen.affine_relu(residual, *affines[3])).add_(shortcut)


def _norms(block: GenBlock) -> tuple[BigGANBatchNorm, ...]:
    return (block.bn_0, block.bn_1, block.bn_2, block.bn_3)


class BigGANDeep(frozen.FrozenBigGAN):
    """A frozen BigGAN-deep.

    Args:
        model: The package's module with its weights; it is copied, not changed.
        **identity: ``name``, ``digest``, ``class_names`` and ``class_synonyms`` of `ClassConditional`.
    """

    def __init__(self, model: BigGAN, **identity: Any) -> None:
        inner = model.generator
        blocks: list[_Block] = []
        norms: list[BigGANBatchNorm] = []
        # What the biases of the convolutions would have added to the input of each norm, the last one included.
        added: list[Tensor] = []
        carried = torch.zeros(16 * inner.config.channel_width).to(inner.bn.running_means)
        for source in inner.layers:
            if isinstance(source, SelfAttn):
                parts = (source.snconv1x1_theta, source.snconv1x1_phi, source.snconv1x1_g, source.snconv1x1_o_conv)
                blocks[-1].attention = frozen.FrozenAttention(map(folded_weight, parts), source.gamma, carried)
                continue
            blocks.append(_Block(source))
            norms += _norms(source)
            added += [carried, source.conv_0.bias, source.conv_1.bias, source.conv_2.bias]
            carried = carried[: source.conv_3.out_channels] + source.conv_3.bias.detach()
        every = [*norms, inner.bn]
        super().__init__(
            blocks,
            # Cut after the norm is divided out: the norm is that of all channels.
            frozen.FrozenConvolution(folded_weight(inner.conv_to_rgb)[:3], inner.conv_to_rgb.bias[:3]),
            dim_z=model.config.z_dim,
            bottom_width=4,
            resolution=4 * 2 ** sum(block.upsample for block in blocks),
            eps=model.config.eps,
            tensors={
                "embeddings": model.embeddings.weight.mT,
                "first_weight": folded_weight(inner.gen_z),
                "first_bias": inner.gen_z.bias,
                "scales": torch.cat([folded_weight(norm.scale) for norm in norms]),
                "shifts": torch.cat([folded_weight(norm.offset) for norm in norms]),
                "means": torch.cat([norm.running_means for norm in every], dim=1) - torch.cat([*added, carried]),
                "variances": torch.cat([norm.running_vars for norm in every], dim=1),
                "last_affine": torch.stack((inner.bn.weight, inner.bn.bias)),
            },
            **identity,
        )
