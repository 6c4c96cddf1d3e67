"""The page: everything is on it, nothing overlaps, images are where they belong."""

from __future__ import annotations

import numpy as np
import pytest

from directions.rendering.page import CAPTION_COLOURS, PAPER, Page, RowCaption

ROWS = [RowCaption("hue", "±3"), RowCaption("a name that is far too long for any caption", "±2.5")]


@pytest.mark.parametrize("tile", [16, 128])
@pytest.mark.parametrize("captions", [(), ("-1", "0", "+1")])
def test_page_lays_images_without_covering_captions(tile, captions):
    """The space for images is blank, within the margins, and each image appears once, whole, in its order."""
    page = Page(ROWS, 3, tile, captions, "step" if captions else "")
    images = np.arange(1, 7, dtype=np.uint8).reshape(2, 3, 1, 1, 1) * np.ones((tile, tile, 3), np.uint8)
    filled = page.lay(page.blank, images)
    tops = []
    for value in range(1, 7):
        rows, columns = np.nonzero((filled == value).all(axis=-1))
        assert len(rows) == tile**2
        assert rows.max() - rows.min() == tile - 1
        assert (page.blank[rows, columns] == PAPER).all()
        tops.append((rows.min(), columns.min()))
    assert tops == sorted(tops)
    for edge in (filled[0], filled[-1], filled[:, 0], filled[:, -1]):
        assert (edge == PAPER).all()
    assert (page.blank != PAPER).any()


def test_captions_of_a_wide_page_are_larger():
    """It is shown smaller than it is; the usual page keeps the size that its images ask for."""
    heights = [np.ptp(np.nonzero((Page(ROWS[:1], columns, 64).blank < 100).all(axis=-1))[0]) for columns in (1, 8, 20)]
    assert heights[0] == heights[1]
    assert heights[2] > 1.25 * heights[0]


def test_caption_colours_suffice():
    """Captions drawn from the palette's exact colours look like the captions."""
    blank = Page(ROWS, 2, 128).blank
    distance = np.abs(blank.reshape(-1, 1, 3).astype(int) - CAPTION_COLOURS.astype(int)).max(axis=2).min(axis=1)
    assert distance.max() <= 16


def test_page_rewrites_a_detail_in_its_place():
    """Writing the same text changes nothing; another text changes only what is left of the images."""
    page = Page([RowCaption("hue", "step -2.50"), RowCaption("size", "step -2.50")], 2, 64)
    again = page.blank.copy()
    page.write_detail(again, 0, "step -2.50")
    assert (again != page.blank).mean() < 0.001
    other = page.blank.copy()
    page.write_detail(other, 1, "step +0.75")
    rows, columns = np.nonzero((other != page.blank).any(axis=-1))
    assert rows.min() > 64 + 32
    images = page.lay(page.blank, np.full((2, 2, 64, 64, 3), 7, np.uint8))
    assert columns.max() < np.nonzero((images == 7).all(axis=-1))[1].min()
