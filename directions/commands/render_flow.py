"""What ``directions render`` does once its options are read: load, fill in what the file decides, render, print."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from directions.commands.common import direction_file, print_json
from directions.config import Classes, parse_classes
from directions.errors import UserError

if TYPE_CHECKING:
    from directions.direction_file import Directions
    from directions.rendering.settings import RenderSettings


_SAID_CLASSES = 20


@dataclass(frozen=True, kw_only=True)
class Request:
    """What the command line asks for, not yet checked."""

    file: Path
    """A direction file, or its run folder."""
    directions: str
    """Indices and names, or ``all``."""
    with_hidden: bool
    """Whether ``all`` means hidden ones too."""
    plane: str | None
    """Two directions."""
    classes: str | None
    """Classes of the samples."""
    out: Path | None
    """A folder or a file."""
    format: str | None
    """Name of the format."""
    generator: str | None
    """Name of the generator."""
    weights: str | None
    """Folder of its weights."""
    device: str
    """Where it runs."""
    truncation: float | None
    """Spread of z."""
    settings: Mapping[str, Any]
    """Fields of `RenderSettings` as they are; ``None`` where nothing was given."""


def carry_out(request: Request, *, dry_run: bool, as_json: bool, quiet: bool) -> None:
    """Render, and print which files were written.

    Args:
        request: What is asked for.
        dry_run: Print which files would be written, and stop.
        as_json: Print JSON.
        quiet: Keep progress off stderr.

    Raises:
        UserError: If something that is asked for does not exist, is out of range, or cannot be written.
    """
    from directions.atomic import require_writable
    from directions.direction_file import load_directions
    from directions.rendering.plan import make_plan
    from directions.rendering.settings import RenderSettings, is_file, resolve_format

    path = direction_file(request.file)
    directions = load_directions(path)
    kind = resolve_format(request.out, request.format, plane=request.plane is not None)
    truncation = request.truncation if request.truncation is not None else directions.header["truncation"] or 1.0
    settings = RenderSettings(
        format=kind, plane=_two(directions, request.plane), truncation=truncation, **request.settings
    )
    indices = _chosen(directions, request, settings)
    out = request.out or path.parent / ("gallery" if kind == "gallery" else "pictures")
    plan = make_plan(directions, indices, settings, out)
    if is_file(out):
        if not out.parent.is_dir():
            raise UserError(f"out must be in a folder that exists, got {out}. Create {out.parent}, or give another.")
        require_writable(out)

    # Only now torch: a wrong file, name or setting is reported at once.
    from directions.generators.edits import chosen_layers
    from directions.generators.registry import load_generator
    from directions.rendering.render import render, require_sizes
    from directions.rendering.scene import Scene
    from directions.runs.folder import RunFolder
    from directions.sampling import resolve_classes

    generator = load_generator(
        request.generator or directions.generator, weights=request.weights, device=request.device
    )
    directions.require_fits(generator)
    classes = None if request.classes is None else parse_classes(request.classes)
    known = resolve_classes(generator, _learned_on(directions.header["classes"]) if classes is None else classes)
    y = _spread(known, settings.count)
    if dry_run:
        require_sizes(Scene.draw(directions, generator, settings, y), plan)
        files = [str(file) for file in [*plan.files, *plan.parts]]
        content = {"files": files, "evaluations": plan.evaluations, "classes": _said(y), "settings": settings.to_dict()}
        layers = chosen_layers(generator, directions.layers if settings.layers is None else settings.layers)
        content |= {"layers": None if layers is None else str(layers)}
        print_json(content | {"directions": [directions.names[index] for index in indices]})
        return
    given = None if settings.format == "plane" else indices
    stats = RunFolder(path.parent).read_stats()
    written = render(directions, generator, settings, out=out, indices=given, y=y, stats=stats, progress=not quiet)
    if as_json:
        print_json([str(file) for file in written])
        return
    for file in plan.files:
        typer.echo(file)


def _two(directions: Directions, plane: str | None) -> tuple[int, int] | None:
    """Find the two directions of a plane."""
    if plane is None:
        return None
    keys = [key.strip() for key in plane.split(",")]
    if len(keys) != 2:
        raise UserError(f"plane must be two directions, such as 0,3, got {plane!r}.")
    across, up = (directions.index(key) for key in keys)
    return across, up


def _chosen(directions: Directions, request: Request, settings: RenderSettings) -> list[int]:
    """Find the directions that are meant; those that are hidden in the file are left out of all."""
    named = request.directions.strip() != "all"
    if settings.plane is not None:
        if named:
            raise UserError("directions are given by --plane for a plane, got both. Leave one of the two out.")
        return list(settings.plane)
    if named:
        return [directions.index(key.strip()) for key in request.directions.split(",")]
    shown = [index for index, hidden in enumerate(directions.hidden) if request.with_hidden or not hidden]
    if not shown:
        raise UserError("All directions of this file are hidden. Show them with --all, or name some with --directions.")
    return shown


def _learned_on(classes: Sequence[int] | str | None) -> Classes:
    return "all" if classes is None or isinstance(classes, str) else tuple(classes)


def _said(classes: Sequence[int] | None) -> list[int | str] | None:
    """Say the classes of a dry run; of very many samples, those of the first."""
    if classes is None or len(classes) <= _SAID_CLASSES:
        return None if classes is None else [*classes]
    return [*classes[:_SAID_CLASSES], f"and {len(classes) - _SAID_CLASSES} more"]


def _spread(classes: Sequence[int], samples: int) -> list[int] | None:
    """Choose a class for each column: all in turn, or, of more classes than columns, some at even distances."""
    if not classes:
        return None
    step = max(1, len(classes) // samples)
    return [classes[(column * step) % len(classes)] for column in range(samples)]
