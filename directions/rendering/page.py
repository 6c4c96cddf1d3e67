"""The page that images are laid on: a grid with a caption for each row, and above the columns where they need one."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
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

_WIDER_FONTS = (
    "DejaVuSans.ttf", "NotoSans-Regular.ttf", "Arial Unicode.ttf", "arialuni.ttf", "NotoSansCJK-Regular.ttc",
)  # fmt: skip

_LONGEST_NAME = 12
"""Widest caption, in heights of its letters; a longer name ends in an ellipsis."""

_Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


@dataclass(frozen=True)
class RowCaption:
    """What stands to the left of a row.

    Attributes:
        name: The direction's name.
        detail: A second line, paler.
    """

    name: str
    detail: str


def row_caption(name: str, path_size: float) -> RowCaption:
    """Caption a direction by its name and by how far it is followed to either side, in latent units."""
    return RowCaption(name, f"±{path_size:.3g}")


class Page:
    """A grid of equal images with captions, at its final size in pixels.

    Args:
        rows: The caption of each row.
        columns: Number of images in a row.
        tile: Height and width of an image, after enlargement.
        column_captions: A caption for each column, or none.
        corner: What the column captions mean; stands at their left.
        groups: What stands beside each other: columns are cut into as many equal parts, each under its name.
        bare: Leave captions, gaps and margins away: nothing but the images.

    Attributes:
        height: In pixels.
        width: In pixels.
    """

    def __init__(
        self,
        rows: Sequence[RowCaption],
        columns: int,
        tile: tuple[int, int],
        column_captions: Sequence[str] = (),
        corner: str = "",
        *,
        groups: Sequence[str] = (),
        bare: bool = False,
    ) -> None:
        self._rows, self._tile, self._headings, self._corner, self._bare = rows, tile, column_captions, corner, bare
        self._groups, self._columns = groups, columns
        self._gap = self._margin = self._left = self._top = 0
        self._pitch = tile[0]
        if not bare:
            size = min(max(min(tile) // 9, 12), 48)
            self._longest = _LONGEST_NAME * size
            self._name_font = font_for("".join(row.name for row in rows), size)
            small = [corner, *column_captions, *(row.detail for row in rows)]
            self._detail_font = font_for("".join(small), max(size - 2, 11))
            self._gap = max(2, min(tile) // 32)
            self._margin = 3 * self._gap + 2
            widths = [self._name_font.getlength(self._short_name(row)) for row in rows]
            widths += [self._detail_font.getlength(text) for text in (corner, *map(self._short_detail, rows))]
            self._left = self._margin + int(np.ceil(max(widths))) + self._margin
            self._heading = self._margin + (round(1.6 * size) if groups else 0)
            self._top = self._heading + (round(1.6 * size) if column_captions else 0)
            self._line = round(1.25 * size)
            self._pitch = max(tile[0], 2 * self._line) + self._gap
        self.height = self._top + len(rows) * self._pitch - self._gap + self._margin
        self.width = self._at(columns - 1) + tile[1] + self._margin

    @functools.cached_property
    def blank(self) -> np.ndarray:
        """The page with its captions and no images, (height, width, 3) uint8."""
        page = Image.new("RGB", (self.width, self.height), PAPER)
        draw, margin = ImageDraw.Draw(page), self._margin
        for index, row in enumerate(self._rows if not self._bare else ()):
            middle = self._top + index * self._pitch + self._tile[0] / 2
            draw.text((margin, middle - self._line / 2), self._short_name(row), INK, self._name_font, anchor="lm")
            place = margin, middle + self._line / 2
            draw.text(place, self._short_detail(row), PALE_INK, self._detail_font, anchor="lm")
        for number, text in enumerate(self._groups if not self._bare else ()):
            place = self._at(number * self._columns // len(self._groups)), (margin + self._heading) / 2 - self._gap
            draw.text(place, text, INK, self._name_font, anchor="lm")
        if self._headings and not self._bare:
            heading = (self._heading + self._top) / 2 - self._gap
            draw.text((margin, heading), self._corner, PALE_INK, self._detail_font, anchor="lm")
            for index, text in enumerate(self._headings):
                centre = self._at(index) + self._tile[1] / 2
                shown = _shorten(text, self._detail_font, self._tile[1])
                draw.text((centre, heading), shown, PALE_INK, self._detail_font, anchor="mm")
        return np.asarray(page).copy()

    def write_detail(
        self, page: np.ndarray, row: int, text: str, drawing: Callable[[np.ndarray], np.ndarray] = lambda part: part
    ) -> None:
        """Replace the second line of a row's caption, in place.

        Args:
            page: (height, width, …), a page of this grid.
            row: Which row.
            text: What to write; must not be longer than what the page was made with.
            drawing: Turns (height, width, 3) uint8 captions into what the page holds.
        """
        middle = self._top + row * self._pitch + self._tile[0] / 2
        top, bottom = round(middle), round(middle) + self._line
        part = Image.new("RGB", (self._left - self._margin, bottom - top), PAPER)
        place = (0, middle + self._line / 2 - top)
        ImageDraw.Draw(part).text(place, text, PALE_INK, self._detail_font, anchor="lm")
        page[top:bottom, self._margin : self._left] = drawing(np.asarray(part))

    def lay(self, page: np.ndarray, images: np.ndarray) -> np.ndarray:
        """Copy a page and lay images on it.

        Args:
            page: (height, width, …), `blank` or the palette indices of it.
            images: (rows, columns, tile height, tile width, …), of the same kind as the page.

        Returns:
            The filled page.
        """
        filled = page.copy()
        for column in range(images.shape[1]):
            self.lay_column(filled, column, images[:, column])
        return filled

    def lay_column(self, page: np.ndarray, column: int, images: np.ndarray) -> None:
        """Lay the images of a column on a page, in place.

        Args:
            page: (height, width, …).
            column: Which column.
            images: (rows, tile height, tile width, …), of the same kind as the page.
        """
        height, width = self._tile
        left = self._at(column)
        for row, image in enumerate(images):
            top = self._top + row * self._pitch
            page[top : top + height, left : left + width] = image

    def _at(self, column: int) -> int:
        """Where a column begins; between groups there is more space than between columns."""
        group = column * (len(self._groups) or 1) // self._columns
        return self._left + column * (self._tile[1] + self._gap) + 4 * group * self._gap

    def _short_name(self, row: RowCaption) -> str:
        return _shorten(row.name, self._name_font, self._longest)

    def _short_detail(self, row: RowCaption) -> str:
        return _shorten(row.detail, self._detail_font, self._longest)


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


def font_for(text: str, size: float) -> _Font:
    """Choose a font that has the letters of a text.

    Pillow's own has Latin letters without accents; for others, fonts that many systems have are looked for.

    Args:
        text: What will be written.
        size: In pixels.

    Returns:
        The first font that has all the letters, or Pillow's own, which shows boxes for what it lacks.
    """
    own = ImageFont.load_default(size)
    if _has_letters(own, text):
        return own
    for name in _WIDER_FONTS:
        try:
            font = ImageFont.truetype(name, size)
        except OSError:
            continue
        if _has_letters(font, text):
            return font
    return own


def _has_letters(font: _Font, text: str) -> bool:
    """Whether a font has a picture for each letter, other than the one that it has for what it lacks."""
    lacking = bytes(font.getmask("\uffff"))
    return all(letter.isspace() or bytes(font.getmask(letter)) != lacking for letter in set(text))


def _shorten(text: str, font: _Font, width: float) -> str:
    """End a text that is too wide in an ellipsis."""
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "…") > width:
        text = text[:-1]
    return text.rstrip() + "…"
