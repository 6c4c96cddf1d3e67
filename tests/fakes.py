"""Stand-ins that are small enough to be understood at a glance."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from directions.direction_file import Directions
from directions.direction_file.format import make_header
from directions.generators.base import ClassConditional, normal


class BlobGenerator(ClassConditional):
    """A coloured, softly shaded ball on a ground, whose place, size and hue follow z: quick, smooth, and pretty.

    z components past the fourth tilt the light.
    """

    draw = staticmethod(normal)

    def __init__(self, dim_z: int = 6, resolution: int = 32, num_classes: int = 3) -> None:
        names = ("ball", "soft ball", "ghost")[:num_classes] or None
        super().__init__(
            name="blob", digest="b10b" * 16, dim_z=dim_z, resolution=resolution, num_classes=num_classes, num_layers=1,
            class_names=names,
        )  # fmt: skip
        self.batch_sizes: list[int] = []

    def forward(self, z: torch.Tensor, y: Any = 0, *, truncation: float = 1.0) -> torch.Tensor:
        self.check_z(z)
        self.batch_sizes.append(len(z))
        labels = self.class_indices(y, len(z)).view(-1, 1, 1)
        axis = torch.linspace(-1, 1, self.resolution, dtype=z.dtype)
        down, right = axis.view(1, -1, 1), axis.view(1, 1, -1)
        x, y_, size, hue, tilt = (torch.tanh(z[:, i] / 3).view(-1, 1, 1) for i in (0, 1, 2, 3, 4))
        radius = 0.32 * torch.exp(0.5 * size)
        dx, dy = (right - 0.6 * x) / radius, (down - 0.15 - 0.4 * y_) / radius
        soft = 14.0 / (1 + labels)
        ball = torch.sigmoid(soft * radius * (1 - torch.sqrt(dx**2 + dy**2 + 1e-6)))
        light = torch.exp(-((dx + 0.4 - tilt) ** 2 + (dy + 0.5) ** 2))
        shadow = 0.35 * torch.exp(-((dx * 0.8) ** 2 + ((dy - 1.0) * 2.2) ** 2))
        ground = 0.62 + 0.16 * down - shadow
        phases = torch.tensor([0.0, 2.1, 4.2], dtype=z.dtype).view(1, 3, 1, 1)
        colour = 0.5 + 0.45 * torch.cos(2.5 * hue.unsqueeze(1) + phases)
        shade = (0.35 + 0.75 * light).unsqueeze(1)
        image = ball.unsqueeze(1) * colour * shade + (1 - ball.unsqueeze(1)) * ground.unsqueeze(1)
        return image.clamp(0, 1) * 2 - 1


def blob_directions(generator: BlobGenerator | None = None, **changes: Any) -> Directions:
    """Directions for the blob: its z axes, each under the name of what it changes."""
    generator = generator or BlobGenerator()
    names = ["left-right", "up-down", "size", "hue", "light", *[f"d{i}" for i in range(5, generator.dim_z)]]
    number = changes.pop("ndirs", generator.dim_z)
    settings: dict[str, Any] = {
        "names": names[:number],
        "path_sizes": [3.0, 2.5, 4.0, 5.0, 2.0, 3.0][:number],
        "activeness": [0.5, 0.4, 0.3, 0.2, 0.1, 0.0][:number],
        "classes": [0],
        "truncation": 1.0,
        "space": (0, generator.dim_z),
        "method": "adam",
        "config": {"num_probes": 2, "epsilon": 0.1},
        "steps": 400,
        "seed": 0,
        "penalty": {"before": 20.0, "after": 14.0},
    }
    return Directions(np.eye(generator.dim_z)[:number], make_header(generator, **(settings | changes)))


class Pixels(torch.nn.Module):
    """A feature network of no cost: features are the first pixels, distances squared differences."""

    name, num_features, digest = "effnetlite0", 2, "0" * 64
    seen = 0

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        Pixels.seen += len(images)
        return images.flatten(1)[:, :2]

    def distances(self, first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
        return (first - second).square().flatten(1).mean(dim=1)


def toy_generator(dim_z: int = 4, name: str = "toy", digest: str = "abc") -> SimpleNamespace:
    """What a direction file keeps of a generator, and nothing else."""
    return SimpleNamespace(name=name, digest=digest, dim_z=dim_z, resolution=8)
