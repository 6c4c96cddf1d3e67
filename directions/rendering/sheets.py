"""The contact sheet: for each direction a row of stills, from one end of its path to the other.

Takes images that ``render.py`` made at even steps; the PNG shows a whole set of directions at a glance, and in print.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np
from PIL import Image

from directions.atomic import atomic_write
from directions.rendering.captions import Page, RowCaption, enlarge

COLUMNS = 7
"""Stills in a row: three to either side of the centre."""


def row_caption(name: str, path_size: float) -> RowCaption:
    """Caption a direction by its name and by how far it is followed to either side, in latent units.

    Args:
        name: The direction's name.
        path_size: Distance from the centre to each end.

    Returns:
        The caption.
    """
    return RowCaption(name, f"±{path_size:.3g}")


def write_contact_sheet(
    path: str | os.PathLike[str], images: np.ndarray, names: Sequence[str], path_sizes: Sequence[float], scale: int
) -> None:
    """Write a contact sheet.

    Where all path sizes are the same, the columns tell the distance in latent units; otherwise as a share of the path
    size that stands in front of the row.

    Args:
        path: The PNG to write, wholly or not at all; its folder must exist.
        images: (directions, columns, height, width, 3) uint8, at even steps from one end to the other.
        names: The directions' names.
        path_sizes: How far each goes to either side, in latent units.
        scale: How many times larger to show the images.
    """
    tiles = enlarge(images, scale)
    same = len(set(path_sizes)) == 1
    places = np.linspace(-1, 1, images.shape[1]) * (path_sizes[0] if same else 1.0)
    page = Page(
        [row_caption(name, size) for name, size in zip(names, path_sizes, strict=True)],
        images.shape[1],
        (tiles.shape[2], tiles.shape[3]),
        column_captions=[f"{place:+.2g}" if round(place, 9) else "0" for place in places],
        corner="step" if same else "step / path size",
    )
    with atomic_write(path) as partial:
        Image.fromarray(page.lay(page.blank, tiles)).save(partial, "PNG")
