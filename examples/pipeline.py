"""Directions in a pipeline that takes latents, as those of diffusers do: one more step before the call.

Run it with the path of a direction file::

    python examples/pipeline.py few.safetensors

Such a pipeline's latents have a shape, (channels, height, width); directions act on the flattened vector, and must have
been found for latents of that size. The pipeline here is a stand-in with the same interface.
"""

from __future__ import annotations

import sys
from types import SimpleNamespace

import torch
from torch import Tensor

from directions import Directions, load_directions


class Pipeline:
    """``pipeline(latents=…).images``, as it is called there."""

    def __call__(self, latents: Tensor) -> SimpleNamespace:
        """Turn latents (batch, channels, height, width) into images (batch, 3, height, width)."""
        return SimpleNamespace(images=latents.mean(dim=1, keepdim=True).tanh().expand(-1, 3, -1, -1))


def moved_latents(directions: Directions, latents: Tensor, direction: int | str, amount: float) -> Tensor:
    """Move latents of any shape along a direction."""
    return directions.move(latents.flatten(1), direction, amount).view_as(latents)


def main(path: str) -> Tensor:
    """Call the pipeline with latents and with moved ones; return the images of both, one after the other."""
    directions = load_directions(path)
    pipeline = Pipeline()
    latents = torch.randn(2, 1, 1, directions.dim_z)  # a shape whose product is |z|
    before = pipeline(latents=latents).images
    after = pipeline(latents=moved_latents(directions, latents, 0, directions.path_sizes[0])).images
    print(f"mean change of a pixel: {float((after - before).abs().mean()):.3f}")
    return torch.cat([before, after])


if __name__ == "__main__":
    main(sys.argv[1])
