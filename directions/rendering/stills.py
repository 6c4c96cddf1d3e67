"""Stills in one PNG: contact sheets, strips of a direction, planes of two."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import imageio.v3 as iio
import numpy as np

from directions.files import write_bytes
from directions.rendering.frames import strip
from directions.rendering.page import Page, RowCaption, enlarge, row_caption
from directions.settings.render import RenderSettings

if TYPE_CHECKING:
    from directions.direction_file import Directions
    from directions.generators.base import Generator
    from directions.rendering.frames import Scene

COLUMNS = 7
"""Stills in a row of a contact sheet: three to either side of the centre."""

_OVERVIEW_ROWS = 8
_OVERVIEW_SECONDS = 4.0


def write_strip(
    path: str | os.PathLike[str],
    scene: Scene,
    indices: Sequence[int],
    stills: Sequence[np.ndarray] | None = None,
    samples: int | None = None,
) -> None:
    """Write stills of directions below one another, with a row a sample and a column a step.

    Of one z it is a row a step and a column a class. Where all path sizes are the same, the columns tell the distance
    in latent units; otherwise as a share of the path size that stands in front of the row.

    Args:
        path: The PNG to write, wholly or not at all; its folder must exist.
        scene: What to show.
        indices: The directions.
        stills: The scene's images at even steps; ``None`` makes them.
        samples: How many of the samples to show, for a contact sheet, which always has captions; ``None`` is all.
    """
    settings, sizes = scene.settings, [scene.path_size(index) for index in indices]
    if stills is None:
        stills = list(scene.images(indices, [strip(settings.frames, size) for size in sizes]))
    groups, steps = len(scene.groups) or 1, len(stills)
    tiles = np.stack(stills, axis=1)
    tiles = tiles.reshape(*tiles.shape[:2], groups, settings.samples, *tiles.shape[3:])
    captions: list[RowCaption] = []
    if settings.one_z:
        headings, corner = scene.classes, ""
        for index, size in zip(indices, sizes, strict=True):
            names = [scene.directions.names[index], *[""] * (steps - 1)]
            captions += map(RowCaption, names, map(_place, strip(steps, size)))
    else:
        # (directions, steps, groups, samples, …) to (directions, samples, groups, steps, …)
        tiles = tiles[:, :, :, :samples].swapaxes(1, 3)
        same = len(set(sizes)) == 1
        headings = list(map(_place, strip(steps, sizes[0] if same else 1.0)))
        corner = "step" if same else "step / path size"
        for index, size in zip(indices, sizes, strict=True):
            captions += _strip_captions(scene, index, size)[:samples]
    tiles = enlarge(tiles.reshape(len(captions), -1, *tiles.shape[4:]), scene.scale)
    bare = settings.captions == "none" and samples is None
    page = Page(captions, tiles.shape[1], scene.tile, headings * groups, corner, groups=scene.groups, bare=bare)
    _save(path, page, tiles)


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
    columns = [enlarge(images, scene.scale) for images in scene.plane(across, up, places, heights, sample)]
    _save(path, page, np.stack(columns, axis=1))


def write_overview(path: str | os.PathLike[str], directions: Directions, generator: Generator) -> None:
    """Write what the first directions do to some samples, beside random directions of the same lengths.

    The sheet of ``directions render --format strip --against random``, with as many directions as a few seconds allow.

    Args:
        path: The PNG to write, wholly or not at all; its folder must exist.
        directions: What to show, the most active first.
        generator: What makes the images.
    """
    from directions.generators.base import resolve_classes
    from directions.rendering.frames import Scene

    learned_on = directions.header["classes"]
    classes = resolve_classes(generator, tuple(learned_on) if isinstance(learned_on, list) else "all")
    settings = RenderSettings(
        format="strip", samples=2, frames=5, against="random", truncation=directions.header["truncation"] or 1.0
    )
    labels = [classes[0], classes[len(classes) // 2]] if classes else 0
    scene = Scene.draw(directions, generator, settings, labels)
    made: list[list[np.ndarray]] = []
    began = time.monotonic()
    for row in range(min(_OVERVIEW_ROWS, len(directions))):
        made.append(list(scene.images([row], [strip(settings.frames, scene.path_size(row))])))
        if (time.monotonic() - began) * (len(made) + 1) / len(made) > _OVERVIEW_SECONDS:
            break
    write_strip(path, scene, range(len(made)), [np.concatenate(step) for step in zip(*made, strict=True)])


def _save(path: str | os.PathLike[str], page: Page, tiles: np.ndarray) -> None:
    """Write a page of images (rows, columns, tile, tile, 3) as a PNG, wholly or not at all."""
    write_bytes(path, iio.imwrite("<bytes>", page.lay(page.blank, tiles), plugin="pillow", extension=".png"))


def _strip_captions(scene: Scene, index: int, path_size: float) -> list[RowCaption]:
    """What stands before the rows of a direction: the samples, and with the first of them the direction."""
    samples = scene.classes or [f"sample {k + 1}" for k in range(scene.settings.samples)]
    first = row_caption(scene.directions.names[index], path_size)
    if scene.classes and len(samples) > 1:
        first = RowCaption(first.name, f"{first.detail} · {samples[0]}")
    return [first, *(RowCaption("", sample) for sample in samples[1:])]


def _place(place: float) -> str:
    return f"{place:+.2g}" if round(place, 9) else "0"
