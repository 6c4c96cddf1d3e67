"""Stills in one PNG: contact sheets, strips of a direction, planes of two.

Takes images that a scene (``scene.py``) makes at even steps. A contact sheet has a row of stills for each direction; a
strip a row for each sample; a plane shows what two directions do together.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from directions.atomic import atomic_write
from directions.rendering.captions import Page, RowCaption, enlarge
from directions.rendering.path import strip

if TYPE_CHECKING:
    from directions.rendering.scene import Scene

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
    headings, corner = _column_captions(images.shape[1], path_sizes)
    rows = [row_caption(name, size) for name, size in zip(names, path_sizes, strict=True)]
    page = Page(rows, images.shape[1], (tiles.shape[2], tiles.shape[3]), headings, corner)
    _save(path, page.lay(page.blank, tiles))


def write_strip(path: str | os.PathLike[str], scene: Scene, indices: Sequence[int]) -> None:
    """Write stills of directions, a row a sample and a column a step; several directions are below one another.

    Args:
        path: The PNG to write, wholly or not at all; its folder must exist.
        scene: What to show.
        indices: The directions.
    """
    settings = scene.settings
    sizes = [scene.path_size(index) for index in indices]
    captions: list[RowCaption] = []
    for index, size in zip(indices, sizes, strict=True):
        captions += _strip_captions(scene, index, size)
    headings, corner = _column_captions(settings.length, sizes)
    bare = settings.captions == "none"
    page = Page(captions, settings.length, _tile(scene), headings, corner, bare=bare)
    filled = page.blank
    for column, images in enumerate(scene.images(indices, [strip(settings.length, size) for size in sizes])):
        page.lay_column(filled, column, enlarge(images, scene.scale).reshape(-1, *_tile(scene), 3))
    _save(path, filled)


def write_plane(path: str | os.PathLike[str], scene: Scene, across: int, up: int, sample: int) -> None:
    """Write what two directions do to one sample: one across, the other up.

    Args:
        path: The PNG to write, wholly or not at all; its folder must exist.
        scene: What to show.
        across: The direction that grows to the right.
        up: The direction that grows upwards.
        sample: Which sample.
    """
    settings = scene.settings
    names = scene.directions.names
    heights = strip(settings.length, scene.path_size(up))[::-1].copy()
    places = strip(settings.length, scene.path_size(across))
    captions = [RowCaption(names[up] if row == 0 else "", _place(height)) for row, height in enumerate(heights)]
    headings = [_place(place) for place in places]
    bare = settings.captions == "none"
    page = Page(captions, settings.length, _tile(scene), headings, f"{names[across]} →", bare=bare)
    filled = page.blank
    for column, images in enumerate(scene.plane(across, up, places, heights, sample)):
        page.lay_column(filled, column, enlarge(images, scene.scale))
    _save(path, filled)


def _tile(scene: Scene) -> tuple[int, int]:
    return (scene.generator.resolution * scene.scale,) * 2


def _save(path: str | os.PathLike[str], page: np.ndarray) -> None:
    with atomic_write(path) as partial:
        Image.fromarray(page).save(partial, "PNG")


def _strip_captions(scene: Scene, index: int, path_size: float) -> list[RowCaption]:
    """What stands before the rows of a direction: the samples, and with the first of them the direction."""
    samples = scene.classes or [f"sample {k + 1}" for k in range(scene.settings.count)]
    first = row_caption(scene.directions.names[index], path_size)
    if scene.classes and len(samples) > 1:
        first = RowCaption(first.name, f"{first.detail} · {samples[0]}")
    return [first, *(RowCaption("", sample) for sample in samples[1:])]


def _column_captions(columns: int, path_sizes: Sequence[float]) -> tuple[list[str], str]:
    """What stands above the columns, and what it means."""
    same = len(set(path_sizes)) == 1
    places = np.linspace(-1, 1, columns) * (path_sizes[0] if same else 1.0)
    return [_place(place) for place in places], "step" if same else "step / path size"


def _place(place: float) -> str:
    return f"{place:+.2g}" if round(place, 9) else "0"
