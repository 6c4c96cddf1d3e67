"""Stand-ins that are small enough to be understood at a glance."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from closed import ClosedFormGenerator

from directions.direction_file import Directions
from directions.direction_file.format import make_header
from directions.generators.base import normal


class BlobGenerator(ClosedFormGenerator):
    """The closed-form generator with larger images, whose classes have names; counts the images of each call."""

    draw = staticmethod(normal)

    def __init__(
        self, dim_z: int = 6, resolution: int = 32, *, num_classes: int = 3,
        class_names: tuple[str, ...] = ("ball", "soft ball", "ghost"),
    ) -> None:  # fmt: skip
        super().__init__(dim_z, resolution, num_classes=num_classes, name="blob", class_names=class_names)
        self.digest = "b10b" * 16
        self.batch_sizes: list[int] = []

    def forward(self, z: torch.Tensor, y: Any = 0, *, truncation: float = 1.0) -> torch.Tensor:
        self.batch_sizes.append(len(z))
        return super().forward(z, y, truncation=truncation)


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


class Evil:
    """What must never be unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (print, ("this was run",))


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
