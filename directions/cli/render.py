"""``directions render``: pictures of what directions do."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from directions.cli.common import OUTPUT, SAMPLES, Device, FilePath, GeneratorName, Quiet, Weights, print_json
from directions.errors import UserError
from directions.settings.base import ConfigError, with_options
from directions.settings.render import RenderSettings, usual_format

if TYPE_CHECKING:
    from directions.direction_file import Directions
    from directions.settings.discover import Classes

_SAID_CLASSES = 20
_move = functools.partial(typer.Option, rich_help_panel="How to move")
_sample = functools.partial(typer.Option, rich_help_panel=SAMPLES)
_output = functools.partial(typer.Option, rich_help_panel=OUTPUT)


@with_options(RenderSettings)
def render(
    given: dict[str, Any],
    file: FilePath,
    directions: Annotated[
        str, _move("--directions", "-d", metavar="DIRECTION,…", help="By index or name; or all.")
    ] = "all",
    with_hidden: Annotated[bool, _move("--all", help="Show hidden directions too.")] = False,
    classes: Annotated[
        str | None,
        _sample(
            "--classes", "-y", metavar="CLASS,…", show_default="those that the directions were learned on",
            help="Classes of the samples by index or name, in turn; or all. Several are named above an animation's "
            "columns and beside a strip's rows.",
        ),
    ] = None,
    word: Annotated[
        str | None,
        _sample(
            metavar="TEXT",
            help="Its letters as classes, in a column each, all of one z: for a generator whose classes are letters.",
        ),
    ] = None,
    generator: GeneratorName = None,
    weights: Weights = None,
    device: Device = "cpu",
    out: Annotated[
        Path | None,
        _output(
            help="A folder, made if it is not there; or one file that ends in .gif, .webp, .mp4 or .png.",
            show_default="pictures, or gallery, beside the file",
        ),
    ] = None,
    dry_run: Annotated[
        bool, _output("--dry-run", help="Print which files would be written and how many images made, and stop.")
    ] = False,
    as_json: Annotated[bool, _output("--json", help="Print the paths of the files as JSON.")] = False,
    quiet: Quiet = False,
) -> None:  # fmt: skip
    """Render directions: animations, strips, planes of two, or a gallery to look through."""
    from directions.direction_file import direction_file, load_directions
    from directions.rendering.render import carry_out, make_plan, prepare

    path = direction_file(file)
    given.setdefault("format", "plane" if "plane" in given else usual_format(out))
    found = load_directions(path)
    given.setdefault("truncation", found.header["truncation"] or 1.0)
    if word is not None and classes is not None:
        raise ConfigError("word", f"gives the classes, got also --classes {classes}. Leave one of the two out.")
    wanted = _wanted(found, word, classes)
    given |= {} if word is None else {"one_z": True}
    if given.get("one_z") and wanted != "all":
        given.setdefault("samples", len(wanted))
    settings = RenderSettings(**given)
    indices: list[int | str] | None = None
    if directions.strip() != "all":
        indices = [key.strip() for key in directions.split(",")]
    elif settings.plane is None:
        indices = [index for index, hidden in enumerate(found.hidden) if with_hidden or not hidden]
        if not indices:
            raise UserError("All directions of this file are hidden. Show them with --all, or name some with -d.")
    default_name = "gallery" if settings.format == "gallery" else "pictures"
    plan = make_plan(found, settings, out or path.parent / default_name, indices)

    # Only now torch: a wrong file, name or setting is reported at once.
    from directions.generators.base import resolve_classes
    from directions.generators.registry import load_generator
    from directions.run import RunFolder

    loaded = load_generator(generator or found.generator, weights=weights, device=device)
    try:
        known = resolve_classes(loaded, wanted)
    except UserError as error:
        raise ConfigError("classes" if word is None else "word", str(error).removeprefix("classes ")) from error
    # All classes in turn, or, of more than there are samples, some at even distances.
    step = max(1, len(known) // settings.samples)
    y = [known[(sample * step) % len(known)] for sample in range(settings.samples)] if known else None
    scene = prepare(plan, loaded, y)
    if dry_run:
        more = [f"and {settings.samples - _SAID_CLASSES} more"] if settings.samples > _SAID_CLASSES else []
        print_json(
            {
                "files": [str(file) for file in [*plan.files, *plan.parts]],
                "evaluations": plan.evaluations,
                "classes": None if y is None else [*y[:_SAID_CLASSES], *more],
                "settings": settings.to_dict(),
                "layers": None if scene.samples.layers is None else str(scene.samples.layers),
                "directions": [found.names[index] for page in plan.pages for index in page.rows],
            }
        )
        return
    stats = RunFolder(path.parent).read_stats() if settings.format == "gallery" else ()
    written = carry_out(plan, scene, stats, progress=not quiet)
    if as_json:
        print_json([str(file) for file in written])
    else:
        typer.echo("\n".join(map(str, plan.files)))


def _wanted(directions: Directions, word: str | None, classes: str | None) -> Classes:
    """Return the classes that are asked for, or those that the directions were learned on."""
    from directions.settings.discover import parse_classes

    learned_on = directions.header["classes"]
    if word is not None or classes is not None:
        return tuple(word) if word is not None else parse_classes(str(classes))
    return tuple(learned_on) if isinstance(learned_on, list) else "all"
