"""Pictures: some to read, and what another program shows of those that were written."""

from __future__ import annotations

from pathlib import Path
from typing import IO

import numpy as np
from PIL import Image, ImageSequence


def shown(file: str | Path | IO[bytes]) -> tuple[np.ndarray, list[int | None]]:
    """Return every picture of a file, (pictures, height, width, 3), and for how many milliseconds each is shown."""
    with Image.open(file) as image:
        pages = [(np.asarray(page.convert("RGB")), page.info.get("duration")) for page in ImageSequence.Iterator(image)]
    pictures, times = zip(*pages, strict=True)
    return np.stack(pictures).astype(int), list(times)


def write_noise(folder: Path, count: int, height: int, width: int, seed: int = 0) -> Path:
    """Make a folder of pictures, ``0.png``, ``1.png``, …, and return it."""
    folder.mkdir()
    rng = np.random.default_rng(seed)
    for number in range(count):
        Image.fromarray(rng.integers(0, 256, (height, width, 3), np.uint8)).save(folder / f"{number}.png")
    return folder
