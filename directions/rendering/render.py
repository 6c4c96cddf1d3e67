"""Render a set of directions, in any format: the last step from a direction file to pictures.

Puts together a scene (``scene.py``) and a plan of the files (``plan.py``), and hands them to what writes the format:
``animations.py``, ``sheets.py`` or ``gallery.py``.
"""

from __future__ import annotations

import dataclasses
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from directions.atomic import require_writable
from directions.direction_file import Directions
from directions.direction_file.file import Key
from directions.errors import UserError
from directions.generators.base import Generator
from directions.rendering import animations, gallery
from directions.rendering.animations import write_animations
from directions.rendering.encode import check_rate
from directions.rendering.gallery import write_gallery
from directions.rendering.plan import Plan, make_plan
from directions.rendering.scene import Scene
from directions.rendering.settings import ANIMATIONS, RenderSettings
from directions.rendering.sheets import write_plane, write_strip


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
    settings = settings or RenderSettings()
    directions.require_fits(generator)
    chosen = which(directions, settings, indices)
    plan = make_plan(directions, chosen, settings, Path(out))
    scene = Scene.draw(directions, generator, settings, y)
    require_sizes(scene, plan)
    if not plan.one_file:
        _make_folder(plan.out.parent if settings.format == "gallery" else plan.out)
    if settings.format != "gallery":  # whose folder is begun before its first image
        for path in plan.files:
            require_writable(path)
    title = "render"
    for animation in ANIMATIONS:
        if settings.format == animation:
            title = f"render at {check_rate(animation, settings.rate):.4g} fps"
    with tqdm(total=plan.evaluations, unit="image", desc=title, file=sys.stderr, disable=not progress) as bar:
        scene = dataclasses.replace(scene, made=bar.update)
        if settings.format == "strip":
            for page in plan.pages:
                write_strip(page.animations[0], scene, page.rows)
        elif settings.format == "plane":
            for sample, path in enumerate(plan.files):
                write_plane(path, scene, chosen[0], chosen[1], sample)
        elif settings.format == "gallery":
            write_gallery(scene, plan.pages[0].rows, stats, plan.out)
        else:
            write_animations(scene, settings.format, plan)
    return [*plan.files, *plan.parts]


def require_sizes(scene: Scene, plan: Plan) -> None:
    """Refuse pictures that their format cannot hold, before an image is made.

    Args:
        scene: What to show.
        plan: Where it goes.

    Raises:
        UserError: If one is too large.
    """
    if scene.settings.format == "gallery":
        gallery.require_sizes(scene)
    for animation in ANIMATIONS:
        if scene.settings.format == animation:
            animations.require_sizes(scene, animation, plan)


def which(directions: Directions, settings: RenderSettings, indices: Sequence[Key] | None) -> list[int]:
    """Find out which directions are meant.

    Args:
        directions: All there are.
        settings: Tell the two directions of a plane.
        indices: Indices or names; ``None`` for all, or the two of a plane.

    Returns:
        Indices, in order.

    Raises:
        UserError: If there is no such direction, or directions are given beside those of a plane.
    """
    if settings.plane is not None:
        if indices is not None:
            raise UserError("directions are given by --plane for a plane. Leave --directions out.")
        return [directions.index(key) for key in settings.plane]
    return [directions.index(key) for key in (range(len(directions)) if indices is None else indices)]


def _make_folder(out: Path) -> None:
    """Make the folder for the pictures, if it is not there."""
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"Cannot make the folder {out}: {error.strerror}. Write somewhere else.") from error
