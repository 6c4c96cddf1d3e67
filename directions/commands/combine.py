"""``directions select`` and ``directions merge``: new direction files of existing ones."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from directions.commands.common import OUTPUT, direction_file, print_json
from directions.errors import UserError

if TYPE_CHECKING:
    from directions.direction_file import Directions

_Out = Annotated[
    Path, typer.Option("--out", "-o", metavar="FILE", help="Direction file to write.", rich_help_panel=OUTPUT)
]
_Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="Replace the file if it is there.", rich_help_panel=OUTPUT)
]
_AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.", rich_help_panel=OUTPUT)]


def select(
    file: Annotated[Path, typer.Argument(help="A direction file, or the run folder that it is in.")],
    directions: Annotated[
        str, typer.Argument(metavar="DIRECTION,…", help="Which, by index or name, in the order that they shall have.")
    ],
    out: _Out,
    overwrite: _Overwrite = False,
    as_json: _AsJson = False,
) -> None:
    """Take some directions of a file into one of their own, in the order given."""
    from directions.direction_file import load_directions
    from directions.direction_file.combine import select as take

    path = direction_file(file)
    chosen = take(load_directions(path), [key.strip() for key in directions.split(",")], label=path.name)
    _write(chosen, out, overwrite=overwrite, as_json=as_json)


def merge(
    files: Annotated[list[Path], typer.Argument(help="Two or more direction files, or run folders.")],
    out: _Out,
    orthonormalise: Annotated[
        bool,
        typer.Option(
            "--orthonormalise", help="Turn directions that are not perpendicular to those before them until they are."
        ),
    ] = False,
    same_names: Annotated[
        Literal["number", "refuse"],
        typer.Option(help="Where a name comes twice: append a number to the later one, or refuse."),
    ] = "number",
    overwrite: _Overwrite = False,
    as_json: _AsJson = False,
) -> None:
    """Put the directions of several files of the same generator into one."""
    from directions.direction_file import load_directions
    from directions.direction_file.combine import merge as put_together

    paths = [direction_file(file) for file in files]
    sets: dict[str, Directions] = {}
    for path in paths:
        label = str(path)
        if label in sets:
            raise UserError(f"{path} is given twice. Its directions cannot be perpendicular to themselves.")
        sets[label] = load_directions(path)
    merged = put_together(sets, orthonormalise=orthonormalise, same_names=same_names)
    _write(merged, out, overwrite=overwrite, as_json=as_json)
    turned = (merged.header["source"] or {}).get("largest_turn_degrees")
    if turned is not None and not as_json:
        typer.echo(f"Gram–Schmidt turned them by up to {turned:.3g} degrees.")


def _write(directions: Directions, out: Path, *, overwrite: bool, as_json: bool) -> None:
    """Write the new file and say what is in it."""
    if out.exists() and not overwrite:
        raise UserError(f"--out {out} is there already. Give another name, or --overwrite to replace it.")
    directions.save(out)
    if as_json:
        digest = hashlib.sha256(out.read_bytes()).hexdigest()
        print_json({"directions": str(out), "sha256": digest, "names": list(directions.names)})
        return
    shown = ", ".join(directions.names[:8]) + (", …" if len(directions) > 8 else "")
    typer.echo(f"{len(directions)} directions of {directions.generator}: {out} ({shown})")
