"""``directions render``: pictures of what directions do."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from directions.commands.common import (
    HARDWARE,
    OUTPUT,
    SAMPLES,
    direction_file,
    options_named,
    print_json,
)
from directions.config import Classes, parse_classes

_MOTION = "How to move"
_PICTURE = "The pictures"


def render(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="A direction file, or the run folder that it is in.")],
    directions: Annotated[
        str,
        typer.Option(
            "--directions", "-d", metavar="DIRECTION,…", help="By index or name; or all.", rich_help_panel=_MOTION
        ),
    ] = "all",
    path_size: Annotated[
        float | None,
        typer.Option(
            metavar="FLOAT>0",
            help="How far to go to either side, in units of z.",
            show_default="each direction's own",
            rich_help_panel=_MOTION,
        ),
    ] = None,
    remove_projection: Annotated[
        bool,
        typer.Option(
            "--remove-projection",
            help="First take from each z its part along the direction, so that all start alike.",
            rich_help_panel=_MOTION,
        ),
    ] = False,
    samples: Annotated[
        int, typer.Option(metavar="INT>=1", help="Columns, each with a z of its own.", rich_help_panel=SAMPLES)
    ] = 4,
    classes: Annotated[
        str | None,
        typer.Option(
            "--classes",
            "-y",
            metavar="CLASS,…",
            help="Classes of the columns by index or name, repeated as needed; or all.",
            show_default="those that the directions were learned on",
            rich_help_panel=SAMPLES,
        ),
    ] = None,
    seed: Annotated[int, typer.Option(metavar="INT>=0", help="Seed of the samples.", rich_help_panel=SAMPLES)] = 0,
    truncation: Annotated[
        float | None,
        typer.Option(
            metavar="0<FLOAT<=1",
            help="Spread of z and the generator's truncation.",
            show_default="as in learning",
            rich_help_panel=SAMPLES,
        ),
    ] = None,
    frames: Annotated[
        int, typer.Option(metavar="INT>=4", help="Frames of an animation.", rich_help_panel=_PICTURE)
    ] = 60,
    fps: Annotated[
        float,
        typer.Option(
            metavar="1..50", help="Frames per second; a GIF takes the nearest 100 / n.", rich_help_panel=_PICTURE
        ),
    ] = 20.0,
    scale: Annotated[
        int | None,
        typer.Option(
            metavar="1..16",
            help="How many times larger to show the images.",
            show_default="at least 128 pixels",
            rich_help_panel=_PICTURE,
        ),
    ] = None,
    generator: Annotated[
        str | None,
        typer.Option(help="Generator by name or folder.", show_default="the one in the file", rich_help_panel=HARDWARE),
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option(
            help="Folder with the generator's weights.", show_default="usual places", rich_help_panel=HARDWARE
        ),
    ] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:N, or auto.", rich_help_panel=HARDWARE)] = "cpu",
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder for the pictures; made if it is not there.",
            show_default="pictures, beside the file",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the paths of the pictures as JSON.", rich_help_panel=OUTPUT)
    ] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="No progress on stderr.", rich_help_panel=OUTPUT)
    ] = False,
) -> None:
    """Render a GIF of each direction, an overview of all, and a contact sheet."""
    with options_named(context):
        written = _render(
            direction_file(file),
            None if directions.strip() == "all" else [key.strip() for key in directions.split(",")],
            None if classes is None else parse_classes(classes),
            out=out,
            generator=generator,
            weights=weights,
            device=device,
            truncation=truncation,
            samples=samples,
            frames=frames,
            fps=fps,
            scale=scale,
            path_size=path_size,
            seed=seed,
            remove_projection=remove_projection,
            progress=not quiet,
        )
    if as_json:
        print_json([str(picture) for picture in written])
        return
    for picture in written:
        typer.echo(picture)


def _render(
    path: Path,
    keys: list[str] | None,
    classes: Classes | None,
    *,
    out: Path | None,
    generator: str | None,
    weights: str | None,
    device: str,
    truncation: float | None,
    samples: int,
    **settings: Any,
) -> list[Path]:
    """Load what is asked for, fill in what the file decides, and render."""
    from directions.direction_file import load_directions

    directions = load_directions(path)
    indices = None if keys is None else [directions.index(key) for key in keys]

    # Only now torch: a wrong file or name is reported at once.
    from directions.generators.registry import load_generator
    from directions.rendering.render import render as render_to
    from directions.sampling import resolve_classes

    model = load_generator(generator or directions.generator, weights=weights, device=device)
    directions.require_fits(model)
    known = resolve_classes(model, _learned_on(directions.header["classes"]) if classes is None else classes)
    return render_to(
        directions,
        model,
        out=out if out is not None else path.parent / "pictures",
        indices=indices,
        samples=samples,
        y=_spread(known, samples),
        truncation=truncation if truncation is not None else directions.header["truncation"] or 1.0,
        **settings,
    )


def _learned_on(classes: Sequence[int] | str | None) -> Classes:
    return "all" if classes is None or isinstance(classes, str) else tuple(classes)


def _spread(classes: Sequence[int], samples: int) -> list[int] | None:
    """Choose a class for each column: all in turn, or, of more classes than columns, some at even distances."""
    if not classes:
        return None
    step = max(1, len(classes) // max(1, samples))  # render itself refuses samples below 1
    return [classes[(column * step) % len(classes)] for column in range(samples)]
