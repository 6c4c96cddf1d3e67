"""``directions inspect``: what a direction file holds."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from directions.commands.common import direction_file, print_json, print_table
from directions.joint.notes import joint_notes

if TYPE_CHECKING:
    from directions.direction_file import Directions

_BAR_WIDTH = 12
_NOTE_WIDTH = 40
_SCORES = ("before", "after", "random", "axes")


def inspect(
    file: Annotated[Path, typer.Argument(help="A direction file, or the run folder that it is in.")],
    history: Annotated[
        bool, typer.Option("--history", help="Show what was changed in the file, when, and by which version.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the whole header, or with --history that, as JSON.")
    ] = False,
) -> None:
    """Show which directions a file holds, how they were found, and what was measured about them."""
    from directions.direction_file import load_directions

    directions = load_directions(direction_file(file))
    if as_json:
        print_json(directions.header["history"] if history else directions.header)
        return
    if history:
        _print_history(directions)
        return
    _print_origin(directions)
    _print_directions(directions)


def _print_origin(directions: Directions) -> None:
    header = directions.header
    generator = header["generator"]
    size = f"|z| {generator['dim_z']}, {generator['resolution']} pixels"
    typer.echo(
        f"{len(directions)} directions of {generator['name']} ({size}, weights {generator['digest'][:12] or '?'})"
    )
    start, stop = header["space"]
    parts = [f"method {header['method']}"]
    parts += [f"{name} {header[name]}" for name in ("steps", "seed", "truncation") if header[name] is not None]
    parts += [f"classes {_classes(header['classes'])}", f"z components {start}:{stop}"]
    parts += [] if directions.layers is None else [f"layers {directions.layers[0]}:{directions.layers[-1] + 1} only"]
    typer.echo(", ".join(parts))
    if header["penalty"]:
        scores = (
            f"{name} {header['penalty'][name]:.4g}" for name in _SCORES if header["penalty"].get(name) is not None
        )
        typer.echo("held-out penalty: " + ", ".join(scores))
    joint = header.get("joint")
    if joint:
        typer.echo(
            f"joint start: {joint['base_points']} base points by {joint['measurement']}, "
            f"{joint['agreeing_starts']} of {joint['starts']} starts agree"
        )
        for note in joint_notes(joint, header["directions"]):
            typer.echo(f"note: {note}")
    typer.echo()


def _print_directions(directions: Directions) -> None:
    """Print a row for each direction, in the file's order."""
    entries = directions.header["directions"]
    largest = max((entry["activeness"] or 0.0 for entry in entries), default=0.0)
    joint, noted = "joint" in directions.header, any(directions.notes)
    marked = any(directions.hidden) or any(directions.starred)
    heading = ("", "name", "activeness", "", "path size", "penalty share")
    rows = [(*heading, *(["halves agree"] * joint), *([""] * marked), *(["note"] * noted))]
    for index in directions.order:
        entry = entries[index]
        active, share = entry["activeness"], entry["penalty_share"]
        rows.append(
            (
                str(index),
                entry["name"],
                "" if active is None else f"{active:.4g}",
                _bar(active, largest),
                f"{entry['path_size']:g}",
                "" if share is None else f"{share:.1%}",
                *([_confidence(entry)] if joint else []),
                *([_marks(entry)] if marked else []),
                *([_first_line(entry["note"])] if noted else []),
            )
        )
    print_table(rows, "rlrlrr" + "r" * joint + "l" * marked + "l" * noted)


def _print_history(directions: Directions) -> None:
    """Print the changes, the newest last, as --undo takes them back."""
    if not directions.history:
        typer.echo("Nothing was changed in this file since it was made.")
        return
    rows = [("", "when (UTC)", "version", "what")]
    for number, change in enumerate(directions.history, start=1):
        when = change["time"].replace("T", " ").removesuffix("Z")
        fixed = "" if change["before"] is not None else "  (cannot be undone)"
        rows.append((str(number), _plain(when), _plain(change["tool_version"]), _plain(change["what"]) + fixed))
    print_table(rows, "rlll")


def _marks(entry: dict[str, Any]) -> str:
    marks = (_symbol("★", "*"),) * entry["starred"] + ("hidden",) * entry["hidden"]
    return " ".join(marks)


def _first_line(note: str) -> str:
    """Shorten a note to what fits in a table."""
    line, *more = note.split("\n")
    return line if len(line) <= _NOTE_WIDTH and not more else line[: _NOTE_WIDTH - 1] + _symbol("…", "...")


def _plain(text: str) -> str:
    """Show text from a file without letting it control the terminal."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def _symbol(wanted: str, plain: str) -> str:
    """Choose a symbol that the terminal can show."""
    return wanted if (sys.stdout.encoding or "").lower().startswith("utf") else plain


def _confidence(entry: dict[str, Any]) -> str:
    if entry["undetermined"] is not None:
        return "undetermined"
    return "" if entry["confidence"] is None else f"{entry['confidence']:.3f}"


def _bar(value: float | None, largest: float) -> str:
    return _symbol("█", "#") * round(_BAR_WIDTH * value / largest) if value and largest else ""


def _classes(classes: Any) -> str:
    if isinstance(classes, list):
        return ",".join(map(str, classes))
    return classes or "none"
