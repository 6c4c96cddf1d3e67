"""Which files a rendering writes, and how often it asks the generator, before anything is made.

From settings (``settings.py``) and directions to the paths that the writers use; ``--dry-run`` prints it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from directions.direction_file import Directions
from directions.errors import UserError
from directions.rendering.gallery import gallery_files
from directions.rendering.settings import ANIMATIONS, RenderSettings, is_file, resolve_format
from directions.rendering.sheets import COLUMNS

ROWS_PER_PAGE = 12
"""Directions in one overview and one contact sheet; more make several of each."""


@dataclass(frozen=True)
class PlannedPage:
    """Some directions that are rendered together.

    Attributes:
        rows: The directions.
        single: A file for each direction, or none.
        overview: A file with a row for each direction, or ``None``.
        sheet: Their contact sheet, or ``None``.
    """

    rows: list[int]
    single: list[Path] = field(default_factory=list)
    overview: Path | None = None
    sheet: Path | None = None

    @property
    def animations(self) -> list[Path]:
        """The files that show all frames."""
        return [*self.single, *([] if self.overview is None else [self.overview])]


@dataclass(frozen=True)
class Plan:
    """What will be written.

    Attributes:
        out: The folder, or the file if it is only one.
        one_file: Whether ``out`` is a file.
        pages: Directions that are rendered together, each with its files.
        looks_ahead: Whether stills are made first.
        parts: Files that belong to those of the pages: a gallery's pictures.
        evaluations: How many images the generator makes.
    """

    out: Path
    one_file: bool
    pages: list[PlannedPage]
    looks_ahead: bool
    evaluations: int
    parts: list[Path] = field(default_factory=list)

    @property
    def files(self) -> list[Path]:
        """All files but the parts."""
        return [
            path for page in self.pages for path in [*page.animations, *([] if page.sheet is None else [page.sheet])]
        ]


def make_plan(directions: Directions, indices: Sequence[int], settings: RenderSettings, out: Path) -> Plan:
    """Plan a rendering.

    Args:
        directions: What to show.
        indices: Which of them, in order; for a plane, the two.
        settings: How.
        out: A folder, or a file where the format allows one.

    Returns:
        What will be written.

    Raises:
        UserError: If there is nothing to show, a direction is asked for twice, one file cannot hold it all, or its
            ending is another format's.
    """
    resolve_format(out, settings.format, plane=settings.plane is not None)
    chosen = list(indices)
    if not chosen:
        raise UserError("There is no direction to render. Give at least one index or name.")
    if len(set(chosen)) < len(chosen):
        twice = next(index for index in chosen if chosen.count(index) > 1)
        raise UserError(f"Direction {twice} is asked for more than once. Give each direction once.")
    one_file = is_file(out)
    names = [f"{index:03d}-{_file_name(directions.names[index])}" for index in chosen]
    stills = len(chosen) * settings.count * settings.length
    if settings.format == "gallery":
        chosen.sort(key=lambda index: -(directions.activeness[index] or 0.0))
        pages = [PlannedPage(chosen, overview=out / "index.html")]
        parts = [out / name for name in gallery_files(chosen, settings.length)]
        return Plan(out, False, pages, False, stills, parts)
    if settings.format == "plane":
        return _plan_plane(chosen, settings, out, one_file=one_file)
    if settings.format == "strip":
        if one_file:
            return Plan(out, True, [PlannedPage(chosen, overview=out)], False, stills)
        pages = [PlannedPage([index], [out / f"{name}.png"]) for index, name in zip(chosen, names, strict=True)]
        return Plan(out, False, pages, False, stills)
    assert settings.format in ANIMATIONS
    ahead = len(chosen) * settings.count * COLUMNS
    if one_file:
        looks_ahead = settings.format == "gif"
        return Plan(out, True, [PlannedPage(chosen, overview=out)], looks_ahead, stills + ahead * looks_ahead)
    pages = _folder_of_animations(chosen, names, settings.format, out)
    return Plan(out, False, pages, True, stills + ahead)


def _folder_of_animations(chosen: list[int], names: list[str], ending: str, folder: Path) -> list[PlannedPage]:
    starts = range(0, len(chosen), ROWS_PER_PAGE)
    pages = []
    for number, start in enumerate(starts, start=1):
        part = slice(start, start + ROWS_PER_PAGE)
        suffix = "" if len(starts) == 1 else f"-{number}"
        pages.append(
            PlannedPage(
                chosen[part],
                [folder / f"{name}.{ending}" for name in names[part]],
                folder / f"overview{suffix}.{ending}",
                folder / f"contact_sheet{suffix}.png",
            )
        )
    return pages


def _plan_plane(chosen: list[int], settings: RenderSettings, out: Path, *, one_file: bool) -> Plan:
    across, down = chosen
    if one_file and settings.count > 1:
        raise UserError(f"samples must be 1 for a plane in one file, got {settings.count}. Give a folder as --out.")
    stem = f"plane-{across}-{down}"
    numbers = [""] if settings.count == 1 else [f"-sample{number}" for number in range(settings.count)]
    files = [out] if one_file else [out / f"{stem}{number}.png" for number in numbers]
    return Plan(out, one_file, [PlannedPage(chosen, files)], False, settings.count * settings.length**2)


def _file_name(name: str) -> str:
    """Turn a direction's name into a part of a file name that every system takes."""
    return re.sub(r"[^\w+-]+", "-", name).strip("-") or "direction"
