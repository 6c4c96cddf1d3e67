"""Stills in one PNG: contact sheets, strips of a direction, planes of two."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

import imageio.v3 as iio
import numpy as np

from directions.atomic import write_bytes
from directions.rendering.page import Page, RowCaption, enlarge, row_caption
from directions.rendering.path import strip

if TYPE_CHECKING:
    from directions.rendering.frames import Scene

COLUMNS = 7
"""Stills in a row of a contact sheet: three to either side of the centre."""


def write_contact_sheet(path: str | os.PathLike[str], scene: Scene, indices: Sequence[int], images: np.ndarray) -> None:
    """Write a contact sheet, with a row of stills for each direction.

    Where all path sizes are the same, the columns tell the distance in latent units; otherwise as a share of the path
    size that stands in front of the row.

    Args:
        path: The PNG to write, wholly or not at all; its folder must exist.
        scene: What is shown.
        indices: The directions.
        images: (directions, columns, height, width, 3) uint8, at even steps from one end to the other.
    """
    sizes = [scene.path_size(index) for index in indices]
    headings, corner = _column_captions(images.shape[1], sizes)
    rows = [row_caption(scene.directions.names[index], size) for index, size in zip(indices, sizes, strict=True)]
    page = Page(rows, images.shape[1], scene.tile, headings, corner)
    _save(path, page.lay(page.blank, enlarge(images, scene.scale)))


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
    headings, corner = _column_captions(settings.frames, sizes)
    page = Page(captions, settings.frames, scene.tile, headings, corner, bare=settings.captions == "none")
    filled = page.blank
    for column, images in enumerate(scene.images(indices, [strip(settings.frames, size) for size in sizes])):
        page.lay_column(filled, column, enlarge(images, scene.scale).reshape(-1, *scene.tile, 3))
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
    settings, names = scene.settings, scene.directions.names
    heights = strip(settings.frames, scene.path_size(up))[::-1].copy()
    places = strip(settings.frames, scene.path_size(across))
    captions = [RowCaption(names[up] if row == 0 else "", _place(height)) for row, height in enumerate(heights)]
    headings, corner = [_place(place) for place in places], f"{names[across]} →"
    page = Page(captions, settings.frames, scene.tile, headings, corner, bare=settings.captions == "none")
    filled = page.blank
    for column, images in enumerate(scene.plane(across, up, places, heights, sample)):
        page.lay_column(filled, column, enlarge(images, scene.scale))
    _save(path, filled)


def _save(path: str | os.PathLike[str], page: np.ndarray) -> None:
    write_bytes(path, iio.imwrite("<bytes>", page, plugin="pillow", extension=".png"))


def _strip_captions(scene: Scene, index: int, path_size: float) -> list[RowCaption]:
    """What stands before the rows of a direction: the samples, and with the first of them the direction."""
    samples = scene.classes or [f"sample {k + 1}" for k in range(scene.settings.samples)]
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
