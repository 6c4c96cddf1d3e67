"""Render a set of directions: a GIF for each, an overview of all, and a contact sheet.

The last step from a direction file to pictures: it takes the path from ``path.py``, the images from ``frames.py``, and
writes them by ``encode.py`` and ``sheets.py``. Many directions are done in pages, each of them finished before the
next: memory and open files stay few, and what is finished stays when the rest is interrupted.
"""

from __future__ import annotations

import contextlib
import math
import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from torch import Tensor
from tqdm import tqdm

from directions.direction_file import Directions
from directions.direction_file.file import Key
from directions.errors import UserError
from directions.rendering.captions import CAPTION_COLOURS, Page, enlarge
from directions.rendering.encode import GifWriter, gif_delay, gif_writer
from directions.rendering.frames import render_frames
from directions.rendering.palette import Palette
from directions.rendering.path import MIN_FRAMES, strip, there_and_back
from directions.rendering.sheets import COLUMNS, row_caption, write_contact_sheet

ROWS_PER_PAGE = 12
"""Directions in one overview and one contact sheet; more make several of each."""

SMALLEST_TILE = 128
"""Small images are enlarged to at least this many pixels, unless a scale is given."""

MAX_SCALE = 16

_SAMPLED_PIXELS = 2**18


class Generator(Protocol):
    """What rendering needs of a generator."""

    name: str
    digest: str
    dim_z: int
    num_classes: int
    resolution: int

    def __call__(self, z: Tensor, y: Any, *, truncation: float) -> Tensor:
        """Make images (batch, 3, height, width) in [-1, 1]."""
        ...

    def sample_z(self, n: int, *, seed: int | None, truncation: float) -> Tensor:
        """Draw (n, dim_z)."""
        ...

    def class_indices(self, y: Any, n: int) -> Tensor:
        """Turn a class in any form into (n,) indices."""
        ...


def render(
    directions: Directions,
    generator: Generator,
    *,
    out: str | os.PathLike[str],
    indices: Sequence[Key] | None = None,
    samples: int = 4,
    frames: int = 60,
    fps: float = 20,
    scale: int | None = None,
    path_size: float | None = None,
    seed: int = 0,
    y: Any = 0,
    truncation: float = 1.0,
    remove_projection: bool = False,
    progress: bool = False,
) -> list[Path]:
    """Show what directions do: the same samples in every row, moved along one direction each, there and back.

    Written to the folder ``out``: ``NNN-name.gif`` for each direction, ``overview.gif`` with a row for each, and
    ``contact_sheet.png`` with stills of the first sample. Beyond 12 directions there are several of these, numbered.
    Each file appears when it is complete.

    Args:
        directions: What to show; must belong to the generator.
        generator: What makes the images.
        out: Folder for the pictures; made if it is not there.
        indices: Which directions, by index or name, in which order; ``None`` shows all.
        samples: Number of columns, each with a z of its own.
        frames: Frames of the animation, at least 4.
        fps: Frames a second, from 1 to 50; a GIF holds the nearest 100 / whole number.
        scale: How many times larger to show the images, from 1; ``None`` enlarges small ones to at least 128 pixels.
        path_size: How far to go to either side, in latent units; ``None`` takes each direction's own.
        seed: Seed of the samples.
        y: The class of all samples, or a list with one for each; not used by a generator without classes.
        truncation: Truncation in (0, 1] of the samples and of the generator.
        remove_projection: First take from each z its part along the direction.
        progress: Show a progress bar on stderr.

    Returns:
        The files written, in the order above for each page.

    Raises:
        UserError: If the directions do not fit the generator, a setting is out of range, or a file cannot be written.
    """
    directions.require_fits(generator)
    chosen = [directions.index(key) for key in (range(len(directions)) if indices is None else indices)]
    _check_settings(chosen, samples=samples, frames=frames, scale=scale, path_size=path_size, truncation=truncation)
    delay = gif_delay(fps)
    z = generator.sample_z(samples, seed=seed, truncation=truncation)
    labels = generator.class_indices(y, samples).to(z.device) if generator.num_classes else None
    folder = _make_folder(out)
    pages = [chosen[start : start + ROWS_PER_PAGE] for start in range(0, len(chosen), ROWS_PER_PAGE)]
    written: list[Path] = []
    total = len(chosen) * samples * (frames + COLUMNS)
    title = f"render at {100 / delay:.4g} fps"
    with tqdm(total=total, unit="image", desc=title, file=sys.stderr, disable=not progress) as bar:
        for number, rows in enumerate(pages, start=1):
            sizes = [path_size or directions.path_sizes[index] for index in rows]

            def make(amounts: list[np.ndarray], rows: list[int] = rows) -> Iterator[np.ndarray]:
                return render_frames(
                    generator,
                    directions,
                    rows,
                    z,
                    labels,
                    np.stack(amounts),
                    truncation=truncation,
                    remove_projection=remove_projection,
                    count=bar.update,
                )

            page = _PageOfDirections(
                names=[directions.names[index] for index in rows],
                path_sizes=sizes,
                gifs=[folder / f"{index:03d}-{_file_name(directions.names[index])}.gif" for index in rows],
                overview=folder / _numbered("overview.gif", number, len(pages)),
                sheet=folder / _numbered("contact_sheet.png", number, len(pages)),
                scale=scale or math.ceil(SMALLEST_TILE / generator.resolution),
            )
            palette = page.write_sheet(make([strip(COLUMNS, size) for size in sizes]))
            page.write_gifs(make([there_and_back(frames, size) for size in sizes]), palette, samples, delay)
            written += [*page.gifs, page.overview, page.sheet]
    return written


@dataclass(frozen=True)
class _PageOfDirections:
    """Some directions that are rendered together, and where they go."""

    names: list[str]
    path_sizes: list[float]
    gifs: list[Path]
    overview: Path
    sheet: Path
    scale: int

    def write_sheet(self, stills: Iterator[np.ndarray]) -> Palette:
        """Write the contact sheet, and choose the animations' palette from its images, which span the whole paths."""
        firsts: list[np.ndarray] = []
        sampled: list[np.ndarray] = []
        for images in stills:
            firsts.append(images[:, 0])
            pixels = images.reshape(-1, 3)
            sampled.append(pixels[:: max(1, COLUMNS * len(pixels) // _SAMPLED_PIXELS)])
        write_contact_sheet(self.sheet, np.stack(firsts, axis=1), self.names, self.path_sizes, self.scale)
        return Palette(np.concatenate(sampled), CAPTION_COLOURS)

    def write_gifs(self, steps: Iterator[np.ndarray], palette: Palette, samples: int, delay: int) -> None:
        """Write a GIF for each direction and one for all, frame by frame and side by side."""
        captions = [row_caption(name, size) for name, size in zip(self.names, self.path_sizes, strict=True)]
        with contextlib.ExitStack() as stack:
            adders: list[Callable[[np.ndarray], None]] = []
            for images in steps:
                tiles = palette.index(enlarge(images, self.scale))
                if not adders:
                    size = (tiles.shape[2], tiles.shape[3])
                    for path, rows in [
                        *zip(self.gifs, ([row] for row in captions), strict=True),
                        (self.overview, captions),
                    ]:
                        writer = stack.enter_context(gif_writer(path, palette.colours, delay))
                        adders.append(_laid_out(writer, Page(rows, samples, size), palette))
                for row, add in enumerate(adders[:-1]):
                    add(tiles[row : row + 1])
                adders[-1](tiles)


def _laid_out(writer: GifWriter, page: Page, palette: Palette) -> Callable[[np.ndarray], None]:
    """Make a function that lays images (rows, columns, height, width) on a page and appends it to a GIF."""
    blank = palette.nearest_fixed(page.blank, len(CAPTION_COLOURS))
    return lambda tiles: writer.add(page.lay(blank, tiles))


def _check_settings(
    chosen: list[int],
    *,
    samples: int,
    frames: int,
    scale: int | None,
    path_size: float | None,
    truncation: float,
) -> None:
    """Check what is not checked where it is used, before anything is made."""
    if not chosen:
        raise UserError("There is no direction to render. Give at least one index or name.")
    if len(set(chosen)) < len(chosen):
        twice = next(index for index in chosen if chosen.count(index) > 1)
        raise UserError(f"Direction {twice} is asked for more than once. Give each direction once.")
    if samples < 1:
        raise UserError(f"samples must be at least 1, got {samples}.")
    if frames < MIN_FRAMES:
        raise UserError(f"frames must be at least {MIN_FRAMES} (centre, end, other end, centre), got {frames}.")
    if scale is not None and not 1 <= scale <= MAX_SCALE:
        raise UserError(f"scale must be a whole number from 1 to {MAX_SCALE}, got {scale}.")
    if path_size is not None and not (math.isfinite(path_size) and path_size > 0):
        raise UserError(f"path_size must be a positive number of latent units, got {path_size}.")
    if not 0 < truncation <= 1:
        raise UserError(f"truncation must be in (0, 1], got {truncation}.")


def _make_folder(out: str | os.PathLike[str]) -> Path:
    """Make the folder for the pictures, if it is not there."""
    folder = Path(out)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"Cannot make the folder {folder}: {error.strerror}. Write somewhere else.") from error
    return folder


def _file_name(name: str) -> str:
    """Turn a direction's name into a part of a file name that every system takes."""
    return re.sub(r"[^\w+-]+", "-", name).strip("-") or "direction"


def _numbered(name: str, number: int, of: int) -> str:
    """Number a file's name where there are several."""
    stem, suffix = name.rsplit(".", 1)
    return name if of == 1 else f"{stem}-{number}.{suffix}"
