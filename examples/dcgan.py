"""Bring a generator of your own: an unconditional DCGAN as ``directions`` loads it.

From the folder that holds ``examples``::

    directions discover --generator examples.dcgan:load --weights generator.pt
    directions render outputs/00000-examples.dcgan-load/directions.safetensors

A function that returns a torch module from z to images in [-1, 1] is all it takes. The module here is the generator of
Radford et al. 2016 (arXiv:1511.06434): transposed convolutions from a z that is one pixel with |z| channels.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class DCGAN(nn.Module):
    """Images of 64 pixels from z.

    Args:
        dim_z: |z|; ``directions`` reads it here.
        width: Channels before the last layer; the first layer has eight times as many.
    """

    def __init__(self, dim_z: int = 100, width: int = 64) -> None:
        super().__init__()
        self.dim_z = dim_z
        channels = [8 * width, 4 * width, 2 * width, width]
        layers: list[nn.Module] = [nn.ConvTranspose2d(dim_z, channels[0], 4, bias=False)]
        for before, after in zip(channels, [*channels[1:], None], strict=True):
            layers += [nn.BatchNorm2d(before), nn.ReLU()]
            layers.append(nn.ConvTranspose2d(before, after or 3, 4, stride=2, padding=1, bias=after is None))
        self.layers = nn.Sequential(*layers, nn.Tanh())

    def forward(self, z: Tensor) -> Tensor:
        """Map (batch, |z|, 1, 1) to (batch, 3, 64, 64)."""
        return self.layers(z)


def load(weights: str | None = None) -> nn.Module:
    """Return the generator; ``--weights`` names a file that ``torch.save(model.state_dict(), …)`` wrote."""
    if weights is None:
        torch.manual_seed(0)
        return DCGAN()  # not trained: for a first try
    state = torch.load(weights, map_location="cpu", weights_only=True)
    dim_z, widest = state["layers.0.weight"].shape[:2]
    model = DCGAN(dim_z, widest // 8)
    model.load_state_dict(state)
    return model
