"""Images to train on: a rendered scene folder, memory-mapped, with its classes and factors.

Feeds ``training`` (real images and their classes) and the training of the scene reader's judge figures (factors).
"""

from __future__ import annotations

import csv
import hashlib
import json
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from directions.errors import UserError
from directions.evaluation.scene_reader import FACTORS, SHAPES


class SceneImages:
    """A folder that ``scripts/render_scenes.py`` made.

    Args:
        folder: Holds images.npy, factors.csv and dataset.json.

    Attributes:
        images: (N, size, size, 3) uint8, memory-mapped.
        labels: (N,) int64 class indices into ``SHAPES``.
        factors: (N, 4) float64, columns as ``FACTORS``.
        digest: SHA-256 that the renderer recorded.

    Raises:
        UserError: If a file is missing, or the table does not fit the images.
    """

    def __init__(self, folder: str | Path) -> None:
        folder = Path(folder)
        for name in ("images.npy", "factors.csv", "dataset.json"):
            if not (folder / name).is_file():
                raise UserError(
                    f"{folder} has no {name}; a scene folder holds it when rendered whole. Run: make scenes"
                )
        self.images = np.load(folder / "images.npy", mmap_mode="r", allow_pickle=False)
        with (folder / "factors.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        if len(rows) != len(self.images):
            raise UserError(
                f"{folder}: factors.csv has {len(rows)} rows, images.npy {len(self.images)} images; they must be "
                "as many. Render the folder anew: make scenes"
            )
        self.labels = torch.tensor([SHAPES.index(row["shape"]) for row in rows])
        self.factors = np.array([[float(row[name]) for name in FACTORS] for row in rows])
        self.digest: str = json.loads((folder / "dataset.json").read_text())["sha256"]

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.images)

    def check_digest(self) -> None:
        """Compare pixels and factors with the recorded digest.

        Raises:
            UserError: If they differ.
        """
        folder = Path(self.images.filename).parent
        digest = hashlib.sha256((folder / "factors.csv").read_bytes())
        for image in self.images:
            digest.update(image.tobytes())
        if digest.hexdigest() != self.digest:
            raise UserError(f"{folder} is not what its dataset.json records. Delete it and render anew: make scenes")

    def batch(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        """Read some images.

        Args:
            indices: (batch,) int64.

        Returns:
            (batch, 3, size, size) float32 in [-1, 1], and (batch,) class indices.
        """
        pixels = torch.from_numpy(self.images[indices.numpy()])
        images = pixels.permute(0, 3, 1, 2).float().div_(127.5).sub_(1)
        return images.contiguous(memory_format=torch.channels_last), self.labels[indices]
