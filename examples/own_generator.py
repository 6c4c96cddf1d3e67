"""Directions with a generator of your own: all that is needed of it is a function from z to images.

Run it with the path of a direction file::

    python examples/own_generator.py few.safetensors
"""

from __future__ import annotations

import sys

import torch
from torch import Tensor, nn

from directions import load_directions


def my_model(dim_z: int) -> nn.Module:
    """Stand in for your generator."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(dim_z, 3 * 16 * 16), nn.Tanh(), nn.Unflatten(1, (3, 16, 16)))


@torch.no_grad()
def main(path: str) -> Tensor:
    """Move some latents along the first directions; return the images, (steps, batch, 3, 16, 16)."""
    directions = load_directions(path)
    model = my_model(directions.dim_z)
    z = torch.randn(4, directions.dim_z)

    # All the way along the first direction, as far as its file says.
    size = directions.path_sizes[0]
    path_of_z = directions.path(z, 0, [-size, 0.0, size])
    images = torch.stack([model(step) for step in path_of_z])

    # Two directions at once, with an amount for each z.
    both = directions.move(z, [0, 1], [torch.linspace(-1, 1, 4), 0.5])
    print(images.shape, model(both).shape)
    return images


if __name__ == "__main__":
    main(sys.argv[1])
