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
_SCORES = ("before", "after", "random", "axes")


def inspect(
    file: Annotated[Path, typer.Argument(help="A direction file, or the run folder that it is in.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print the whole header as JSON instead of a table.")] = False,
) -> None:
    """Show which directions a file holds, how they were found, and what was measured about them."""
    from directions.direction_file import load_directions

    directions = load_directions(direction_file(file))
    if as_json:
        print_json(directions.header)
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
    entries = directions.header["directions"]
    largest = max((entry["activeness"] or 0.0 for entry in entries), default=0.0)
    joint = "joint" in directions.header
    rows = [("", "name", "activeness", "", "path size", "penalty share", *(["halves agree"] if joint else []))]
    for index, entry in enumerate(entries):
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
            )
        )
    print_table(rows, "rlrlrr" + "r" * joint)


def _confidence(entry: dict[str, Any]) -> str:
    if entry["undetermined"] is not None:
        return "undetermined"
    return "" if entry["confidence"] is None else f"{entry['confidence']:.3f}"


def _bar(value: float | None, largest: float) -> str:
    block = "█" if (sys.stdout.encoding or "").lower().startswith("utf") else "#"
    return block * round(_BAR_WIDTH * value / largest) if value and largest else ""


def _classes(classes: Any) -> str:
    if isinstance(classes, list):
        return ",".join(map(str, classes))
    return classes or "none"
