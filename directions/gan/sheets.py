"""Sheets of samples: a batch of images as one picture, to look at while training."""

from __future__ import annotations

import torch
from PIL import Image
from torch import Tensor


def sample_sheet(images: Tensor, *, columns: int, gap: int = 2) -> Image.Image:
    """Lay images out in rows.

    Args:
        images: (batch, 3, height, width) in [-1, 1].
        columns: Images in a row.
        gap: Pixels of white between two images.

    Returns:
        The sheet.
    """
    pixels = ((images.float() + 1) * 127.5).round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
    _, height, width, _ = pixels.shape
    rows = -(-len(pixels) // columns)
    sheet = Image.new("RGB", (columns * (width + gap) + gap, rows * (height + gap) + gap), "white")
    for index, image in enumerate(pixels):
        place = (gap + index % columns * (width + gap), gap + index // columns * (height + gap))
        sheet.paste(Image.fromarray(image), place)
    return sheet
