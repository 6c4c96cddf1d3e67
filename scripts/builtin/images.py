"""Images to train the packaged generators on: rendered scenes, in colour, or letters, in grey."""

from __future__ import annotations

import csv
import hashlib
import json
import string
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

SHAPES = ("cube", "sphere", "cylinder")
LETTERS = tuple(string.ascii_uppercase)


class Images:
    """A folder that ``scripts/render_scenes.py`` or ``scripts/render_letters.py`` made.

    Args:
        folder: Holds images.npy, dataset.json, and factors.csv (scenes) or letters.csv.

    Attributes:
        images: (N, size, size, 3) or (N, size, size) uint8, memory-mapped.
        labels: (N,) int64 class indices.
        class_names: Of the classes.
        faces: (N,) index of the typeface.
        channels: 3 for scenes, 1 for letters.
        digest: SHA-256 that the renderer recorded.

    Raises:
        SystemExit: If a file is missing.
    """

    def __init__(self, folder: Path) -> None:
        letters = (folder / "letters.csv").is_file()
        self.table = folder / ("letters.csv" if letters else "factors.csv")
        for path in (folder / "images.npy", folder / "dataset.json", self.table):
            if not path.is_file():
                raise SystemExit(f"Error: {folder} has no {path.name}. Run: make scenes, or: make letters")
        self.class_names, column = (LETTERS, "letter") if letters else (SHAPES, "shape")
        self.channels = 1 if letters else 3
        self.images = np.load(folder / "images.npy", mmap_mode="r", allow_pickle=False)
        with self.table.open(newline="") as file:
            self.rows = list(csv.DictReader(file))
        if len(self.rows) != len(self.images):
            raise SystemExit(f"Error: {folder} is not whole: {len(self.rows)} rows, {len(self.images)} images.")
        self.labels = torch.tensor([self.class_names.index(row[column]) for row in self.rows])
        self.faces = torch.tensor([int(row.get("face", index)) for index, row in enumerate(self.rows)])
        # Where the images of a typeface begin, which stand together; every scene stands for itself.
        self.first = torch.searchsorted(self.faces, self.faces)
        self.count = torch.searchsorted(self.faces, self.faces, right=True) - self.first
        self.digest: str = json.loads((folder / "dataset.json").read_text())["sha256"]

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.images)

    def check_digest(self) -> None:
        """Compare table and pixels with the recorded digest."""
        digest = hashlib.sha256(self.table.read_bytes())
        for image in self.images:
            digest.update(image.tobytes())
        if digest.hexdigest() != self.digest:
            raise SystemExit(f"Error: {self.table.parent} is not what its dataset.json records. Render it anew.")

    def batch(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        """Read (batch, channels, size, size) float32 in [-1, 1], and (batch,) classes."""
        pixels = torch.from_numpy(self.images[indices.numpy()].astype(np.float32)) / 127.5 - 1
        images = pixels[:, None] if self.channels == 1 else pixels.permute(0, 3, 1, 2).contiguous()
        return images, self.labels[indices]

    def measured(self, function: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
        """Apply a function of images and classes to all, in parts, and join what it returns."""
        return torch.cat([function(*self.batch(part)) for part in torch.arange(len(self)).split(500)])

    def of_same_face(self, indices: Tensor, rng: torch.Generator) -> Tensor:
        """Draw for each image another of its typeface, or the same: (batch,) to (batch,)."""
        return self.first[indices] + (torch.rand(len(indices), generator=rng) * self.count[indices]).long()
