"""The verbs on direction files: ``inspect``, ``name``, ``select``, ``merge`` and ``convert``."""

from __future__ import annotations

import hashlib
import os
import re
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from directions.cli.common import OUTPUT, Device, FilePath, GeneratorName, Weights, print_json, print_table
from directions.direction_file.format import short
from directions.errors import UserError
from directions.joint.notes import joint_notes, verdict
from directions.settings.base import Settings, setting, with_options
from directions.settings.discover import SIGN_VECTORS_UP_TO, parse_classes

if TYPE_CHECKING:
    from directions.direction_file import Directions
    from directions.direction_file.format import DescribesGenerator

_WRITE = "What to write"
_write, _what = partial(setting, panel=_WRITE), partial(setting, panel="What they are")
_BAR_WIDTH, _NOTE_WIDTH = 12, 40
_IMAGENET_CLASSES = 1000
_NAME_HELP = "Its new name: 1 to 64 printable characters, no comma, not a number or all, unique in the file."
_CSV_HELP = (
    "Write on many: a table with the columns index, name, path_size, note, hidden, starred (all but index may be "
    "missing; an empty cell changes nothing). All of it or nothing."
)
_TURN_HELP = "Turn directions that are not perpendicular to those before them until they are."
_FOREIGN_HELP = (
    "The paper's or OroJaR's .pt, a deformator's state dict of GANLatentDiscovery, or a .npy with a direction a row."
)


def option(panel: str | None, text: str, *flags: str, **more: Any) -> Any:
    """An option of a command, in a group of its help."""
    return typer.Option(*flags, help=text, rich_help_panel=panel, **more)


Out = Annotated[Path, option(OUTPUT, "Direction file to write.", "--out", "-o", metavar="FILE")]
To = Annotated[Path, option(OUTPUT, "Direction file to write.", "--to", "-o", metavar="FILE")]
Overwrite = Annotated[bool, option(OUTPUT, "Replace the file if it is there.", "--overwrite")]
AsJson = Annotated[bool, option(OUTPUT, "Print the result as JSON.", "--json")]
History = Annotated[bool, option(None, "Show what was changed in the file, when, and by which version.", "--history")]
Header = Annotated[bool, option(None, "Print the whole header as JSON, or with --history the history.", "--json")]

Suggest = Annotated[bool, option(None, "Suggest names by what pictures of each show; makes images.", "--suggest")]


def require_absent(path: Path, what: str, advice: str) -> None:
    """Refuse to replace a file that the user has not said may be replaced."""
    if os.path.exists(path):  # noqa: PTH110 — a name that is too long is no file, and no error
        raise UserError(f"{what} is there already. {advice}, or --overwrite to replace it.")


def inspect(
    file: FilePath,
    history: History = False,
    suggest: Suggest = False,
    as_json: Header = False,
    generator: GeneratorName = None,
    weights: Weights = None,
    device: Device = "cpu",
) -> None:
    """Show which directions a file holds, how they were found, and what was measured about them."""
    from directions.direction_file import load_directions

    directions = load_directions(file)
    header = directions.header
    if suggest:
        from directions.cli.evaluate import print_suggestions
        from directions.generators.registry import load_generator

        found = load_generator(generator or directions.generator, weights=weights, device=device)
        print_suggestions(directions, found, as_json=as_json)
    elif as_json:
        print_json(header["history"] if history else header)
    elif not history:
        _print_origin(header)
        _print_directions(directions)
    elif not header["history"]:
        typer.echo("Nothing was changed in this file since it was made.")
    else:
        # The newest comes last, as --undo takes them back.
        rows: list[tuple[str, ...]] = [("", "when (UTC)", "version", "what")]
        for number, change in enumerate(header["history"], start=1):
            when = change["time"].replace("T", " ").removesuffix("Z")
            fixed = "" if change["before"] is not None else "  (cannot be undone)"
            rows.append((str(number), *map(_plain, (when, change["tool_version"], change["what"] + fixed))))
        print_table(rows, "rlll")


def _print_origin(header: dict[str, Any]) -> None:
    generator, (start, stop), classes = header["generator"], header["space"], header["classes"]
    size = f"|z| {generator['dim_z']}, {generator['resolution']} pixels, weights {generator['digest'][:12] or '?'}"
    typer.echo(f"{len(header['directions'])} directions of {generator['name']} ({size})")
    parts = [f"method {header['method']}"]
    parts += [f"{name} {header[name]}" for name in ("steps", "seed", "truncation") if header[name] is not None]
    parts.append(f"classes {','.join(map(str, classes)) if isinstance(classes, list) else classes or 'none'}")
    parts.append(f"z components {start}:{stop}")
    parts += [f"layers {header['layers'][0]}:{header['layers'][-1] + 1} only"] if header["layers"] else []
    typer.echo(", ".join(parts))
    penalty = header["penalty"] or {}
    hessians = {name: score["off_diagonal"] for name, score in (penalty.get("hessians") or {}).items()}
    # Where z is long, a few sign vectors cannot tell bases apart; the Hessians can.
    told = () if hessians and stop - start > SIGN_VECTORS_UP_TO else ("before", "after", "random", "axes")
    vectors = {name: penalty[name] for name in told if penalty.get(name) is not None}
    for what, scores in (("held-out penalty", vectors), ("held-out Hessians off the diagonal", hessians)):
        if scores:
            typer.echo(f"{what}: {', '.join(f'{name} {score:.4g}' for name, score in scores.items())}")
    if header.get("plan"):
        typer.echo(f"{header['plan']['words']}; took {header['plan']['spent']:.0f} s")
    for line in verdict(header):
        typer.echo(line)
    if joint := header.get("joint"):
        agree = f"{joint['agreeing_starts']} of {joint['starts']} starts agree"
        typer.echo(f"joint start: {joint['base_points']} base points by {joint['measurement']}, {agree}")
        for note in joint_notes(joint, header["directions"]):
            typer.echo(f"note: {note}")
    typer.echo()


def _print_directions(directions: Directions) -> None:
    """Print a row for each direction, in the file's order; columns that only some files have are left out."""
    entries = directions.header["directions"]
    largest = max((entry["activeness"] or 0.0 for entry in entries), default=0.0)
    rows = [("", "name", "activeness", "", "path size", "penalty share", "halves agree", "", "note")]
    for index in directions.order:
        entry = entries[index]
        active, share, agreed = entry["activeness"], entry["penalty_share"], entry.get("confidence")
        line, *more = entry["note"].split("\n")
        shortened = line[: _NOTE_WIDTH - 1] + _symbol("…", "...")
        row = (
            str(index),
            entry["name"],
            "" if active is None else f"{active:.4g}",
            _symbol("█", "#") * round(_BAR_WIDTH * active / largest) if active and largest else "",
            f"{entry['path_size']:g}",
            "" if share is None else f"{share:.1%}",
            "undetermined" if entry.get("undetermined") is not None else "" if agreed is None else f"{agreed:.3f}",
            " ".join([_symbol("★", "*")] * entry["starred"] + ["hidden"] * entry["hidden"]),
            shortened if more or len(line) > _NOTE_WIDTH else line,
        )
        rows.append(row)
    kept = [column for column in range(9) if column < 6 or any(row[column] for row in rows[1:])]
    print_table([[row[column] for column in kept] for row in rows], "".join("rlrlrrrll"[column] for column in kept))


def _plain(text: str) -> str:
    """Show text from a file without letting it control the terminal."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def _symbol(wanted: str, plain: str) -> str:
    """Choose a symbol that the terminal can show."""
    return wanted if (sys.stdout.encoding or "").lower().startswith("utf") else plain


class Annotations(Settings):
    """What ``directions name`` writes on one direction, beside its name."""

    path_size: float | None = _write(None, "How far to go to either side, in units of z.", metavar="0<FLOAT<=100")
    note: str | None = _write(None, "A remark, up to 2000 characters; '' removes it.", metavar="TEXT")
    hidden: bool | None = _write(None, "Leave it out of galleries and pages, or not.", flags=("--hide/--show",))
    starred: bool | None = _write(None, "Mark it as worth coming back to, or not.", flags=("--star/--unstar",))


@with_options(Annotations)
def name(
    given: dict[str, Any],
    file: FilePath,
    direction: Annotated[
        str | None, typer.Argument(help="Index or present name.", show_default=False, metavar="[DIRECTION]")
    ] = None,
    new_name: Annotated[str | None, typer.Argument(help=_NAME_HELP, show_default=False, metavar="[NAME]")] = None,
    csv: Annotated[Path | None, option(_WRITE, _CSV_HELP, metavar="FILE")] = None,
    order: Annotated[
        str | None,
        option(_WRITE, "Show these first, then the others as they are; indices stay.", metavar="DIRECTION,…"),
    ] = None,
    undo: Annotated[bool, option(_WRITE, "Take the last change back.", "--undo")] = False,
    dry_run: Annotated[bool, option(OUTPUT, "Only say what would change.", "--dry-run")] = False,
    as_json: Annotated[bool, option(OUTPUT, "Print the changes as JSON.", "--json")] = False,
) -> None:
    """Name directions, set how far they go, and leave notes; every change can be undone."""
    from directions.direction_file import direction_file, edit_directions, load_directions
    from directions.direction_file.annotate import differences

    change = _change(direction, ({} if new_name is None else {"name": new_name}) | given, csv, order, undo=undo)
    path = direction_file(file)
    before: list[Directions] = []

    def recorded(found: Directions) -> Directions:
        before.append(found)
        return change(found)

    after = recorded(load_directions(path)) if dry_run else edit_directions(path, recorded)
    found = differences(before[0].header, after.header)
    if as_json:
        changes = [dict(zip(("index", "field", "before", "after"), row, strict=True)) for row in found]
        written = after.header != before[0].header and not dry_run
        print_json({"file": str(path), "written": written, "changes": changes})
        return
    for index, field, old, new in found:
        typer.echo(f"{'' if index is None else f'{index} '}{field}: {_shown(old)} -> {_shown(new)}")
    if undo and not found:
        last = before[0].history[-1]["what"]
        typer.echo(f"Taken back: {_plain(last)}, which had changed nothing that is written by hand.")
    elif not found:
        typer.echo("Nothing changes: the file says so already.")
    if dry_run and (found or undo):
        typer.echo("Nothing was written (--dry-run).")


def _change(
    direction: str | None, wanted: dict[str, Any], csv: Path | None, order: str | None, *, undo: bool
) -> Callable[[Directions], Directions]:
    """Turn the command line into a change of directions; exactly one kind of change must be asked for."""
    from directions.direction_file.annotate import read_annotations

    given = {"DIRECTION": direction is not None, "--csv": csv is not None, "--order": order is not None, "--undo": undo}
    kinds = [kind for kind, is_given in given.items() if is_given]
    if len(kinds) != 1:
        got = " and ".join(kinds) or "none of them"
        raise UserError(f"Give one of DIRECTION (with what to write), --csv, --order and --undo, got {got}.")
    if direction is None and wanted:
        raise UserError(f"To write {', '.join(wanted)}, say on which direction: directions name FILE 5 rotation.")
    if direction is not None and not wanted:
        options = "a NAME, --path-size, --note, --hide, --show, --star or --unstar"
        raise UserError(f"There is nothing to write on direction {direction!r}. Give {options}.")
    if order is not None:
        keys = [key.strip() for key in order.split(",")]
        return lambda found: found.reordered(keys)
    changes = {direction: wanted} if csv is None else read_annotations(csv)
    return lambda found: found.undone() if undo else found.annotated_each(changes)


def _shown(value: Any) -> str:
    """Show a value on one line."""
    if value is None or isinstance(value, bool):
        return {None: "as found", True: "yes", False: "no"}[value]
    if isinstance(value, list):
        return ",".join(map(str, value))
    return f"{value:g}" if isinstance(value, int | float) else repr(value)


def select(
    file: FilePath,
    directions: Annotated[
        str, typer.Argument(metavar="DIRECTION,…", help="Which, by index or name, in the order that they shall have.")
    ],
    out: Out,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Take some directions of a file into one of their own, in the order given."""
    from directions.direction_file import direction_file, load_directions
    from directions.direction_file.combine import select as take

    path = direction_file(file)
    chosen = take(load_directions(path), [key.strip() for key in directions.split(",")], label=path.name)
    _save(chosen, out, overwrite=overwrite, as_json=as_json)


def merge(
    files: Annotated[list[Path], typer.Argument(help="Two or more direction files, or run folders.")],
    out: Out,
    orthonormalise: Annotated[bool, option(None, _TURN_HELP, "--orthonormalise")] = False,
    same_names: Annotated[
        Literal["number", "refuse"],
        option(None, "Where a name comes twice: append a number to the later one, or refuse."),
    ] = "number",
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Put the directions of several files of the same generator into one."""
    from directions.direction_file import direction_file, load_directions
    from directions.direction_file.combine import merge as put_together

    sets = {str(direction_file(file)): load_directions(file) for file in files}
    if len(sets) < len(files):
        raise UserError("A file is given twice. Its directions cannot be perpendicular to themselves.")
    merged = put_together(sets, orthonormalise=orthonormalise, same_names=same_names)
    _save(merged, out, overwrite=overwrite, as_json=as_json)
    if orthonormalise and not as_json:
        turned = merged.header["source"]["largest_turn_degrees"]
        typer.echo(f"Gram–Schmidt turned them by up to {turned:.3g} degrees.")


def _save(directions: Directions, out: Path, *, overwrite: bool, as_json: bool) -> None:
    """Write the new file and say what is in it."""
    if not overwrite:
        require_absent(out, f"--out {out}", "Give another name")
    directions.save(out)
    if as_json:
        digest = hashlib.sha256(out.read_bytes()).hexdigest()
        print_json({"directions": str(out), "sha256": digest, "names": list(directions.names)})
        return
    shown = ", ".join(directions.names[:8]) + (", …" if len(directions) > 8 else "")
    typer.echo(f"{len(directions)} directions of {directions.generator}: {out} ({shown})")


class Foreign(Settings):
    """What ``directions convert`` is told about another program's file."""

    generator: str = _what("biggan-128", "Generator that they belong to, by name.", metavar="TEXT")
    weights: str | None = _what(
        None, "Its weights; their digest is recorded then.", metavar="TEXT", shown="not looked at"
    )
    published: str | None = _what(
        None, "Which of the paper's files it is: gives names, classes and space.",
        metavar="goldens|goldens-coarse|goldens-mid|goldens-fine|church|voynov", shown="recognised by its digest",
    )  # fmt: skip
    name: list[str] | None = _what(
        None, "Name a direction, such as 5=rotation; may be repeated.", metavar="INDEX=NAME",
        shown="the paper's, else d0, d1, …",
    )  # fmt: skip
    classes: str | None = _what(
        None, "Classes that they were learned on, by index or name; or all.", metavar="CLASS,…",
        shown="the paper's, else all",
    )  # fmt: skip
    space: str | None = _what(
        None, "z components that they move; STOP is excluded.", metavar="START:STOP", shown="the paper's, else all of z"
    )
    path_size: float = _what(5.0, "How far they go to either side, in units of z.", metavar="0<FLOAT<=100")


@with_options(Foreign)
def convert(
    given: dict[str, Any],
    file: Annotated[Path, typer.Argument(help=_FOREIGN_HELP)],
    to: To,
    as_json: AsJson = False,
) -> None:
    """Make a direction file of other programs' directions. No code from the file is run."""
    from directions.convert import convert as make

    told = Foreign(**given)
    described = _describe(told.generator, told.weights)
    names: dict[int, str] = {}
    for text in told.name or []:
        match = re.fullmatch(r"(\d+)=(.+)", text)
        if match is None:
            raise UserError(f"name must be INDEX=NAME, such as 5=rotation, got {short(text)}.")
        names[int(match[1])] = match[2].strip()
    classes = None if told.classes is None else _indices(described, told.classes)
    scope: dict[str, Any] = {"classes": classes, "space": told.space, "path_size": told.path_size}
    directions = make(file, described, published=told.published, names=names, **scope)
    directions.save(to)
    source = directions.header["source"]
    if as_json:
        print_json({"directions": str(to), "ndirs": len(directions), "dim_z": directions.dim_z, "source": source})
        return
    known = f" (the paper's {source['published']})" if source["published"] else ""
    typer.echo(f"{len(directions)} directions of {told.generator}, from {source['form']}{known}: {to}")
    turned = f"Gram–Schmidt turned them by up to {source['largest_turn_degrees']:.3g} degrees"
    typer.echo(f"{turned}, as it does in the paper's own code, which moves along rows made orthonormal so.")
    named = [f"{index} {label}" for index, label in enumerate(directions.names) if label != f"d{index}"]
    if named:
        typer.echo(f"Named: {', '.join(named)}")


def _describe(name: str, weights: str | None) -> DescribesGenerator:
    """What a direction file says of its generator; nothing is loaded where the name alone tells."""
    from directions.generators.registry import list_generators, load_generator

    if weights is None:
        for status in list_generators():
            if status.name == name and status.num_classes == _IMAGENET_CLASSES and status.dim_z is not None:
                return SimpleNamespace(name=name, digest="", dim_z=status.dim_z, resolution=status.resolution)
    return load_generator(name, weights=weights)


def _indices(described: Any, text: str) -> Sequence[int] | str:
    """Classes as the header records them."""
    from directions.generators.base import ClassNames, imagenet_names, resolve_classes

    classes = parse_classes(text)
    if classes == "all":
        return "all"
    if hasattr(described, "class_indices"):
        return resolve_classes(described, classes)
    names = ClassNames(*imagenet_names())  # of the generators that are known by name without loading them
    return [names.find(str(entry)) for entry in classes]


def generators(as_json: Annotated[bool, option(None, "Print JSON instead of a table.", "--json")] = False) -> None:
    """List the generators by name, whether they can be loaded here, and what to do if not."""
    from directions.generators.registry import list_generators

    statuses = list_generators()
    if as_json:
        print_json([vars(status) for status in statuses])
        return
    rows = [["name", "state", "|z|", "classes", "pixels", ""]]
    for status in statuses:
        numbers = ["" if n is None else str(n) for n in (status.dim_z, status.num_classes, status.resolution)]
        rows.append([status.name, status.state, *numbers, status.detail])
    print_table(rows, "llrrrl")
