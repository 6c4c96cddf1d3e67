"""Render a set of directions, in any format: which files are written, and what writes them."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from directions.direction_file import Directions
from directions.direction_file.file import Key
from directions.errors import UserError
from directions.files import explained, require_writable
from directions.rendering.animate import PlannedPage, held_rate, page_of, require_ffmpeg, require_size, write_animations
from directions.rendering.gallery import gallery_files, write_gallery
from directions.rendering.stills import COLUMNS, write_plane, write_strip
from directions.settings.base import ConfigError
from directions.settings.render import ANIMATIONS, RenderSettings, check_out, is_file

if TYPE_CHECKING:
    from directions.generators.base import Generator
    from directions.rendering.frames import Scene

ROWS_PER_PAGE = 12
"""Directions in one overview and one contact sheet; more make several of each."""


@dataclass(frozen=True)
class Plan:
    """What will be written.

    Attributes:
        directions: What is shown.
        settings: How.
        out: The folder, or the file if it is only one.
        pages: Directions that are rendered together, each with its files.
        evaluations: How many images the generator makes.
        parts: Files that belong to those of the pages: a gallery's pictures.
    """

    directions: Directions
    settings: RenderSettings
    out: Path
    pages: list[PlannedPage]
    evaluations: int
    parts: list[Path] = field(default_factory=list)

    @property
    def files(self) -> list[Path]:
        """All files but the parts."""
        return [path for page in self.pages for path in (*page.shows, page.sheet) if path is not None]


def render(
    directions: Directions,
    generator: Generator,
    settings: RenderSettings | None = None,
    *,
    out: str | os.PathLike[str],
    indices: Sequence[Key] | None = None,
    y: Any = 0,
    stats: Sequence[Mapping[str, Any]] = (),
    progress: bool = False,
) -> list[Path]:
    """Show what directions do: the same samples for each, moved along one direction or two.

    An animation in a folder: ``NNN-name.gif`` (or ``.webp``, ``.mp4``) for each direction, ``overview.gif`` with a row
    for each, and ``contact_sheet.png`` with stills of the first sample. Beyond 12 directions there are several of
    these, numbered. In a file: one animation with a row for each direction. A strip: ``NNN-name.png`` for each
    direction, or one file with them below one another. A plane: ``plane-A-B.png``, for each sample. A gallery: a folder
    with ``index.html``, the most active first. Each file, and a gallery's folder, appears when it is complete.

    Args:
        directions: What to show; must belong to the generator.
        generator: What makes the images.
        settings: What to make of them and how; ``None`` for GIFs.
        out: Folder for the pictures, made if it is not there; or a file with an ending of the format.
        indices: Which directions, by index or name, in which order; ``None`` shows all, or the two of a plane.
        y: The class of all samples, or a list with one for each; not used by a generator without classes.
        stats: The lines of the run's ``stats.jsonl``, for a gallery's curve.
        progress: Show a progress bar on stderr.

    Returns:
        The files written.

    Raises:
        UserError: If the directions do not fit the generator, a setting is out of range, or a file cannot be written.
    """
    plan = make_plan(directions, settings or RenderSettings(), Path(out), indices)
    return carry_out(plan, prepare(plan, generator, y), stats, progress=progress)


def make_plan(
    directions: Directions, settings: RenderSettings, out: Path, indices: Sequence[Key] | None = None
) -> Plan:
    """Find out which directions are meant and which files will be written, before the generator is known.

    Args:
        directions: All there are.
        settings: How.
        out: A folder, or a file where the format allows one.
        indices: Indices or names, in order; ``None`` for all, or the two of a plane.

    Returns:
        The plan.

    Raises:
        UserError: If there is nothing to show, a direction does not exist or is asked for twice, or ffmpeg is missing.
        ConfigError: If the path is of another format or cannot hold it all.
    """
    kind, samples, frames = settings.format, settings.samples, settings.frames
    check_out(out, kind)
    if kind == "mp4":
        require_ffmpeg()
    if settings.plane is not None and indices is not None:
        raise ConfigError("directions", "are given by --plane for a plane. Leave --directions out.")
    keys: Sequence[Key] = settings.plane or (range(len(directions)) if indices is None else indices)
    rows = [directions.index(key) for key in keys]
    if not rows:
        raise UserError("There is no direction to render. Give at least one index or name.")
    twice = next((index for index in rows if rows.count(index) > 1), None)
    if twice is not None:
        raise UserError(f"Direction {twice} is asked for more than once. Give each direction once.")
    if kind == "plane" and is_file(out) and samples > 1:
        raise ConfigError("samples", f"must be 1 for a plane in one file, got {samples}. Give a folder as --out.")
    made = len(rows) * samples * (1 if settings.against is None else 2)
    if kind == "gallery":
        rows.sort(key=lambda index: -(directions.activeness[index] or 0.0))
        parts = [out / name for index in rows for name in gallery_files(index, frames)]
        pages = [PlannedPage(rows, {out / "index.html": rows})]
        return Plan(directions, settings, out, pages, made * frames, parts)
    pages = _pages(directions, rows, settings, out)
    ahead = kind == "gif" or pages[0].sheet is not None
    evaluations = samples * frames**2 if kind == "plane" else made * (frames + COLUMNS * ahead)
    return Plan(directions, settings, out, pages, evaluations)


def _pages(directions: Directions, rows: list[int], settings: RenderSettings, out: Path) -> list[PlannedPage]:
    """The files of any format but the gallery, and what they show."""
    kind, names = settings.format, [f"{row:03d}-{_file_name(directions.names[row])}" for row in rows]
    if is_file(out):
        return [PlannedPage(rows, {out: rows})]
    if kind == "plane":
        numbers = [""] if settings.samples == 1 else [f"-sample{number}" for number in range(settings.samples)]
        return [PlannedPage(rows, {out / f"plane-{rows[0]}-{rows[1]}{number}.png": rows for number in numbers})]
    if kind == "strip":
        return [PlannedPage([row], {out / f"{name}.png": [row]}) for row, name in zip(rows, names, strict=True)]
    # Animations: one of each direction, overviews, and contact sheets.
    pages, starts = [], range(0, len(rows), ROWS_PER_PAGE)
    for number, start in enumerate(starts, start=1):
        part = slice(start, start + ROWS_PER_PAGE)
        suffix = "" if len(starts) == 1 else f"-{number}"
        shows = {out / f"{name}.{kind}": [row] for row, name in zip(rows[part], names[part], strict=True)}
        shows[out / f"overview{suffix}.{kind}"] = rows[part]
        pages.append(PlannedPage(rows[part], shows, out / f"contact_sheet{suffix}.png"))
    return pages


def prepare(plan: Plan, generator: Generator, y: Any) -> Scene:
    """Draw the samples, and check that the format can hold the pictures, before an image is made.

    Args:
        plan: What will be written.
        generator: What makes the images.
        y: The class of all samples, or a list with one for each.

    Returns:
        What is shown.

    Raises:
        UserError: If the directions do not fit the generator, or a picture would be too large.
    """
    from directions.rendering.frames import Scene

    plan.directions.require_fits(generator)
    settings = plan.settings
    scene = Scene.draw(plan.directions, generator, settings, y)
    if settings.format == "gallery":
        require_size("webp", scene.tile, scene.tile * scene.columns)
    if settings.format in ANIMATIONS:
        for rows in (rows for page in plan.pages for rows in page.shows.values()):
            largest = page_of(scene, rows)
            require_size(settings.format, largest.height, largest.width)
    return scene


def carry_out(
    plan: Plan, scene: Scene, stats: Sequence[Mapping[str, Any]] = (), *, progress: bool = False
) -> list[Path]:
    """Write what is planned.

    Args:
        plan: The files.
        scene: What they show.
        stats: The lines of the run's ``stats.jsonl``, for a gallery's curve.
        progress: Show a progress bar on stderr.

    Returns:
        The files written.

    Raises:
        UserError: If one cannot be written.
    """
    kind, out = plan.settings.format, plan.out
    folder = out.parent if kind == "gallery" or is_file(out) else out
    with explained(folder):
        folder.mkdir(parents=True, exist_ok=True)
    if kind != "gallery":  # whose folder is begun before its first image
        for path in plan.files:
            require_writable(path)
    title = f"render at {held_rate(kind, plan.settings.rate):.4g} fps" if kind in ANIMATIONS else "render"
    with tqdm(total=plan.evaluations, unit="image", desc=title, file=sys.stderr, disable=not progress) as bar:
        scene.samples.made = bar.update
        for page in plan.pages:
            if kind == "gallery":
                write_gallery(scene, page.rows, stats, out)
            elif kind == "strip":
                write_strip(next(iter(page.shows)), scene, page.rows)
            elif kind == "plane":
                for sample, path in enumerate(page.shows):
                    write_plane(path, scene, page.rows[0], page.rows[1], sample)
            else:
                write_animations(scene, kind, page)
    return [*plan.files, *plan.parts]


def _file_name(name: str) -> str:
    """Turn a direction's name into a part of a file name that every system takes."""
    return re.sub(r"[^\w+-]+", "-", name).strip("-") or "direction"
