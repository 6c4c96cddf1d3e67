"""Read one image file of any common kind as 8-bit RGB, and cut it to a square of the size that training wants.

Used by ``cache`` for every file of a folder. Whatever cannot be shown truly is refused, not guessed.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".ppm", ".pgm")
"""Files that are taken for images; others in a folder are left alone."""

_SIXTEEN_BIT = ("I;16", "I;16B", "I;16L", "I;16N", "I")
_TO_EIGHT_BIT = 257.0  # 65535 becomes 255


class BrokenImageError(Exception):
    """A file is no image, or one that cannot be shown as 8-bit RGB; the message says why."""


def read_rgb(path: Path) -> Image.Image:
    """Read an image file.

    Grey becomes RGB; a palette is looked up; what is transparent is laid on white; 16-bit grey is scaled to 8 bits; the
    camera's orientation is applied; of an animation the first picture is taken.

    Args:
        path: The file.

    Returns:
        The image, in mode RGB.

    Raises:
        BrokenImageError: If it cannot be read whole, or holds floating-point or 32-bit values.
    """
    try:
        with Image.open(path) as image:
            image.load()
            return _as_rgb(ImageOps.exif_transpose(image))
    except BrokenImageError:
        raise
    except Exception as error:  # Pillow raises whatever a damaged file leads to
        raise BrokenImageError(str(error).splitlines()[0] if str(error) else type(error).__name__) from error


def _as_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "F":
        raise BrokenImageError("it holds floating-point values, whose white is not known")
    if image.mode in _SIXTEEN_BIT:
        values = np.asarray(image).astype(np.float64)
        if values.min() < 0 or values.max() > 65535:
            raise BrokenImageError(f"it holds 32-bit values, from {values.min():g} to {values.max():g}")
        image = Image.fromarray((values / _TO_EIGHT_BIT).round().astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return image.convert("RGB")


def cut_to_size(image: Image.Image, size: int) -> Image.Image:
    """Cut the middle square out of an image and scale it.

    Args:
        image: In mode RGB.
        size: Height and width wanted, in pixels.

    Returns:
        The square: averaged over whole pixels where its side is a multiple of ``size``, else by Lanczos' filter.
    """
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    square = image.crop((left, top, left + side, top + side))
    if side % size:
        return square.resize((size, size), Image.Resampling.LANCZOS)
    return square.reduce(side // size) if side > size else square


def halves(image: Image.Image) -> tuple[Image.Image, Image.Image]:
    """Part a picture of two images side by side.

    Args:
        image: Twice as wide as high.

    Returns:
        The left image and the right one.

    Raises:
        BrokenImageError: If it has another shape.
    """
    width, height = image.size
    if width != 2 * height:
        raise BrokenImageError(f"two square images side by side are twice as wide as high, it has {width} × {height}")
    return image.crop((0, 0, height, height)), image.crop((height, 0, width, height))
