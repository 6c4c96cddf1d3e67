"""Stills in one PNG: contact sheets, strips of a direction, planes of two."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

import imageio.v3 as iio
import numpy as np

from directions.files import write_bytes
from directions.rendering.page import Page, RowCaption, enlarge, row_caption
from directions.rendering.path import strip

if TYPE_CHECKING:
    from directions.rendering.frames import Scene

COLUMNS = 7
"""Stills in a row of a contact sheet: three to either side of the centre."""


def write_strip(
    path: str | os.PathLike[str],
    scene: Scene,
    indices: Sequence[int],
    sheet: Sequence[np.ndarray] | None = None,
) -> None:
    """Write stills of directions below one another, with a row a sample and a column a step.

    Of one z it is a row a step and a column a class. Where all path sizes are the same, the columns tell the distance
    in latent units; otherwise as a share of the path size that stands in front of the row.

    Args:
        path: The PNG to write, wholly or not at all; its folder must exist.
        scene: What to show.
        indices: The directions.
        sheet: For a contact sheet, of the first sample only, the scene's images at `COLUMNS` even steps.
    """
    settings, sizes = scene.settings, [scene.path_size(index) for index in indices]
    captions: list[RowCaption] = []
    stills = sheet
    if stills is None:
        stills = list(scene.images(indices, [strip(settings.frames, size) for size in sizes]))
    elif settings.one_z:
        stills = stills[:: COLUMNS // 2]
    groups = len(scene.groups) or 1
    tiles = np.stack(stills, axis=1)
    tiles = tiles.reshape(*tiles.shape[:2], groups, settings.samples, *tiles.shape[3:])
    if settings.one_z:
        headings, corner = scene.classes * groups, ""
        for index, size in zip(indices, sizes, strict=True):
            names = [scene.directions.names[index], *[""] * (len(stills) - 1)]
            captions += map(RowCaption, names, map(_place, strip(len(stills), size)))
    else:
        # (directions, steps, groups, samples, …) to (directions, samples, groups, steps, …)
        tiles = tiles[:, :, :, : settings.samples if sheet is None else 1].swapaxes(1, 3)
        headings, corner = _column_captions(len(stills), sizes)
        headings = headings * groups
        for index, size in zip(indices, sizes, strict=True):
            captions += _strip_captions(scene, index, size)[: tiles.shape[1]]
    tiles = enlarge(tiles.reshape(len(captions), -1, *tiles.shape[4:]), scene.scale)
    bare = settings.captions == "none" and sheet is None
    page = Page(captions, tiles.shape[1], scene.tile, headings, corner, groups=scene.groups, bare=bare)
    _save(path, page.lay(page.blank, tiles))


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
