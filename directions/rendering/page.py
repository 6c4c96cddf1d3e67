"""The page that images are laid on: a grid with a caption for each row, and above the columns where they need one."""

from __future__ import annotations

import contextlib
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
    """A grid of equal square images with captions, at its final size in pixels.

    Args:
        rows: The caption of each row.
        columns: Number of images in a row.
        tile: Height and width of an image, after enlargement.
        headings: A caption for each column, or none.
        corner: What the headings mean; stands at their left.
        groups: What stands beside each other: columns are cut into as many equal parts, each under its name.
        bare: Leave captions, gaps and margins away: nothing but the images.

    Attributes:
        height: In pixels.
        width: In pixels.
    """

    def __init__(
        self, rows: Sequence[RowCaption], columns: int, tile: int, headings: Sequence[str] = (), corner: str = "", *,
        groups: Sequence[str] = (), bare: bool = False,
    ) -> None:  # fmt: skip
        self._tile, self._columns, self._groups = tile, columns, len(groups) or 1
        self._gap = self._margin = self._left = self._top = 0
        self._pitch = tile
        self._texts: list[tuple[tuple[float, float], str, tuple[int, int, int], _Font, str]] = []
        if not bare:
            self._place_captions(rows, headings, corner, groups)
        self.height = self._top + len(rows) * self._pitch - self._gap + self._margin
        self.width = self._at(columns - 1) + tile + self._margin

    def _place_captions(
        self, rows: Sequence[RowCaption], headings: Sequence[str], corner: str, groups: Sequence[str]
    ) -> None:
        # A page of many columns is shown smaller than it is.
        size = min(max(self._tile // 9, 12, min(self._columns * self._tile // 80, self._tile // 4)), 48)
        longest, high = _LONGEST_NAME * size, round(1.6 * size)
        name_font = font_for("".join(row.name for row in rows), size)
        small = font_for("".join([corner, *headings, *(row.detail for row in rows)]), max(size - 2, 11))
        names = [_shorten(row.name, name_font, longest) for row in rows]
        details = [_shorten(row.detail, small, longest) for row in rows]
        widths = [*map(name_font.getlength, names), *map(small.getlength, [corner, *details])]
        gap = self._gap = max(2, self._tile // 32)
        margin = self._margin = 3 * gap + 2
        self._small, self._line = small, round(1.25 * size)
        self._left = margin + int(np.ceil(max(widths))) + margin
        under_groups = margin + (high if groups else 0)
        self._top = under_groups + (high if headings else 0)
        self._pitch = max(self._tile, 2 * self._line) + gap
        for row, (name, detail) in enumerate(zip(names, details, strict=True)):
            self._texts.append(((margin, self._middle(row) - self._line / 2), name, INK, name_font, "lm"))
            self._texts.append(((margin, self._middle(row) + self._line / 2), detail, PALE_INK, small, "lm"))
        for number, text in enumerate(groups):
            left, down = self._at(number * self._columns // len(groups)), (margin + under_groups) / 2 - gap
            self._texts.append(((left, down), text, INK, name_font, "lm"))
        if headings:
            down = (under_groups + self._top) / 2 - gap
            self._texts.append(((margin, down), corner, PALE_INK, small, "lm"))
            for column, text in enumerate(headings):
                middle = self._at(column) + self._tile / 2
                self._texts.append(((middle, down), _shorten(text, small, self._tile), PALE_INK, small, "mm"))

    @functools.cached_property
    def blank(self) -> np.ndarray:
        """The page with its captions and no images, (height, width, 3) uint8."""
        page = Image.new("RGB", (self.width, self.height), PAPER)
        draw = ImageDraw.Draw(page)
        for place, text, ink, font, anchor in self._texts:
            draw.text(place, text, ink, font, anchor=anchor)
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
        middle = self._middle(row)
        top = round(middle)
        part = Image.new("RGB", (self._left - self._margin, self._line), PAPER)
        place = (0, middle + self._line / 2 - top)
        ImageDraw.Draw(part).text(place, text, PALE_INK, self._small, anchor="lm")
        page[top : top + self._line, self._margin : self._left] = drawing(np.asarray(part))

    def lay(self, page: np.ndarray, images: np.ndarray) -> np.ndarray:
        """Copy a page and lay images on it.

        Args:
            page: (height, width, …), `blank` or the palette indices of it.
            images: (rows, columns, tile, tile, …), of the same kind as the page.

        Returns:
            The filled page.
        """
        filled, tile = page.copy(), self._tile
        for row, column in np.ndindex(images.shape[:2]):
            top, left = self._top + row * self._pitch, self._at(column)
            filled[top : top + tile, left : left + tile] = images[row, column]
        return filled

    def _middle(self, row: int) -> float:
        """How far down the middle of a row's images is."""
        return self._top + row * self._pitch + self._tile / 2

    def _at(self, column: int) -> int:
        """Where a column begins; between groups there is more space than between columns."""
        group = column * self._groups // self._columns
        return self._left + column * (self._tile + self._gap) + 4 * group * self._gap


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


def tiled(images: np.ndarray, columns: int, gap: int = 0, ground: int = 255) -> np.ndarray:
    """Lay images out row by row, without captions.

    Args:
        images: (n, height, width, 3) uint8.
        columns: Images in a row; the last row may be shorter.
        gap: Pixels around each image.
        ground: The grey where no image is.

    Returns:
        The page, (…, …, 3) uint8.
    """
    number, height, width, _ = images.shape
    columns, down, across = min(columns, number), height + gap, width + gap
    page = np.full((-(-number // columns) * down + gap, columns * across + gap, 3), ground, dtype=np.uint8)
    for index, image in enumerate(images):
        top, left = gap + index // columns * down, gap + index % columns * across
        page[top : top + height, left : left + width] = image
    return page


def font_for(text: str, size: float) -> _Font:
    """Choose a font that has the letters of a text.

    Pillow's own has Latin letters without accents; for others, fonts that many systems have are looked for.

    Args:
        text: What will be written.
        size: In pixels.

    Returns:
        The first font that has all the letters, or Pillow's own, which shows boxes for what it lacks.
    """
    own: _Font = ImageFont.load_default(size)
    fonts = [own]
    for name in _WIDER_FONTS if not _has_letters(own, text) else ():
        with contextlib.suppress(OSError):
            fonts.append(ImageFont.truetype(name, size))
    return next((font for font in fonts if _has_letters(font, text)), own)


def _has_letters(font: _Font, text: str) -> bool:
    """Whether a font has a picture for each letter, other than the one that it has for what it lacks."""
    lacking = bytes(font.getmask("\uffff"))
    return all(letter.isspace() or bytes(font.getmask(letter)) != lacking for letter in set(text))


def _shorten(text: str, font: _Font, width: float) -> str:
    """End a text that is too wide in an ellipsis."""
    short = text
    while short and font.getlength(short if short == text else short + "…") > width:
        short = short[:-1]
    return text if short == text else short.rstrip() + "…"
