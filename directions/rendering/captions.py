"""The page that images are laid on: a grid with a caption for each row, and above the columns where they need one.

Between the images (``frames.py``) and what is written (``sheets.py`` stills, ``render.py`` animations): both lay their
images on the same page.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont

PAPER = (255, 255, 255)
INK = (38, 38, 42)
PALE_INK = (120, 120, 126)
_SHADES = 8

CAPTION_COLOURS: np.ndarray = np.unique(
    np.concatenate([np.linspace(PAPER, ink, _SHADES).round() for ink in (INK, PALE_INK)]), axis=0
).astype(np.uint8)
"""What captions are drawn in, with the steps that make their edges smooth; a palette keeps these exactly."""

_LONGEST_NAME = 12
"""Widest caption, in heights of its letters; a longer name ends in an ellipsis."""


@dataclass(frozen=True)
class RowCaption:
    """What stands to the left of a row.

    Attributes:
        name: The direction's name.
        detail: A second line, paler.
    """

    name: str
    detail: str


class Page:
    """A grid of equal images with captions, at its final size in pixels.

    Args:
        rows: The caption of each row.
        columns: Number of images in a row.
        tile: Height and width of an image, after enlargement.
        column_captions: A caption for each column, or none.
        corner: What the column captions mean; stands at their left.

    Attributes:
        blank: (height, width, 3) uint8, the page with its captions and no images.
    """

    blank: np.ndarray

    def __init__(
        self,
        rows: Sequence[RowCaption],
        columns: int,
        tile: tuple[int, int],
        column_captions: Sequence[str] = (),
        corner: str = "",
    ) -> None:
        self._tile = tile
        size = min(max(min(tile) // 9, 12), 24)
        name_font, detail_font = ImageFont.load_default(size), ImageFont.load_default(max(size - 2, 11))
        names = [_shorten(row.name, name_font, _LONGEST_NAME * size) for row in rows]
        self._gap = max(2, min(tile) // 32)
        margin = 3 * self._gap + 2
        widths = [name_font.getlength(name) for name in names]
        widths += [detail_font.getlength(text) for text in (corner, *(row.detail for row in rows))]
        self._left = margin + int(np.ceil(max(widths))) + margin
        self._top = margin + (round(1.6 * size) if column_captions else 0)
        line = round(1.25 * size)
        self._pitch = max(tile[0], 2 * line) + self._gap
        height = self._top + len(rows) * self._pitch - self._gap + margin
        width = self._left + columns * (tile[1] + self._gap) - self._gap + margin
        page = Image.new("RGB", (width, height), PAPER)
        draw = ImageDraw.Draw(page)
        for index, (name, row) in enumerate(zip(names, rows, strict=True)):
            middle = self._top + index * self._pitch + tile[0] / 2
            draw.text((margin, middle - line / 2), name, INK, name_font, anchor="lm")
            draw.text((margin, middle + line / 2), row.detail, PALE_INK, detail_font, anchor="lm")
        heading = margin + (self._top - margin) / 2 - self._gap
        draw.text((margin, heading), corner, PALE_INK, detail_font, anchor="lm")
        for index, text in enumerate(column_captions):
            centre = self._left + index * (tile[1] + self._gap) + tile[1] / 2
            draw.text((centre, heading), text, PALE_INK, detail_font, anchor="mm")
        self.blank = np.asarray(page).copy()

    def lay(self, page: np.ndarray, images: np.ndarray) -> np.ndarray:
        """Copy a page and lay images on it.

        Args:
            page: (height, width, …), :attr:`blank` or the palette indices of it.
            images: (rows, columns, tile height, tile width, …), of the same kind as the page.

        Returns:
            The filled page.
        """
        filled = page.copy()
        height, width = self._tile
        for row, across in enumerate(images):
            for column, image in enumerate(across):
                top, left = self._top + row * self._pitch, self._left + column * (width + self._gap)
                filled[top : top + height, left : left + width] = image
        return filled


def enlarge(images: np.ndarray, scale: int) -> np.ndarray:
    """Enlarge images by a whole number, smoothly.

    Args:
        images: (…, height, width, 3) uint8.
        scale: How many times larger, from 1.

    Returns:
        (…, scale × height, scale × width, 3) uint8.
    """
    if scale == 1:
        return images
    height, width = images.shape[-3] * scale, images.shape[-2] * scale
    flat = images.reshape(-1, *images.shape[-3:])
    larger = [np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BICUBIC)) for image in flat]
    return np.stack(larger).reshape(*images.shape[:-3], height, width, 3)


def _shorten(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: float) -> str:
    """End a text that is too wide in an ellipsis."""
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "…") > width:
        text = text[:-1]
    return text.rstrip() + "…"
