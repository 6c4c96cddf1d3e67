"""Pictures and animations as another program shows them."""

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
