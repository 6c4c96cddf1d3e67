"""``directions name``: write names, ranges, notes and marks into a direction file, or take that back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from directions.commands.common import OUTPUT, direction_file, print_json
from directions.errors import UserError

if TYPE_CHECKING:
    from directions.direction_file import Directions

_WRITE = "What to write"
_ONE, _CSV, _ORDER, _UNDO = "DIRECTION", "--csv", "--order", "--undo"


def name(
    file: Annotated[Path, typer.Argument(help="A direction file, or the run folder that it is in.")],
    direction: Annotated[
        str | None, typer.Argument(help="Index or present name.", show_default=False, metavar="[DIRECTION]")
    ] = None,
    new_name: Annotated[
        str | None,
        typer.Argument(
            help="Its new name: 1 to 64 printable characters, no comma, not a number or all, unique in the file.",
            show_default=False,
            metavar="[NAME]",
        ),
    ] = None,
    path_size: Annotated[
        float | None,
        typer.Option(
            metavar="0<FLOAT<=100", help="How far to go to either side, in units of z.", rich_help_panel=_WRITE
        ),
    ] = None,
    note: Annotated[
        str | None, typer.Option(help="A remark, up to 2000 characters; '' removes it.", rich_help_panel=_WRITE)
    ] = None,
    hidden: Annotated[
        bool | None,
        typer.Option("--hide/--show", help="Leave it out of galleries and pages, or not.", rich_help_panel=_WRITE),
    ] = None,
    starred: Annotated[
        bool | None,
        typer.Option("--star/--unstar", help="Mark it as worth coming back to, or not.", rich_help_panel=_WRITE),
    ] = None,
    csv: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Write on many: a table with the columns index, name, path_size, note, hidden, starred (all but index "
            "may be missing; an empty cell changes nothing). All of it or nothing.",
            rich_help_panel=_WRITE,
        ),
    ] = None,
    order: Annotated[
        str | None,
        typer.Option(
            metavar="DIRECTION,…",
            help="Show these first, then the others as they are; indices stay.",
            rich_help_panel=_WRITE,
        ),
    ] = None,
    undo: Annotated[bool, typer.Option("--undo", help="Take the last change back.", rich_help_panel=_WRITE)] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would change.", rich_help_panel=OUTPUT)
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the changes as JSON.", rich_help_panel=OUTPUT)] = False,
) -> None:
    """Name directions, set how far they go, and leave notes; every change can be undone."""
    from directions.direction_file import edit_directions, load_directions
    from directions.direction_file.annotations import differences

    wanted = {"name": new_name, "path_size": path_size, "note": note, "hidden": hidden, "starred": starred}
    wanted = {key: value for key, value in wanted.items() if value is not None}
    change = _change(direction, wanted, csv, order, undo=undo)
    path = direction_file(file)
    before: list[Directions] = []

    def recorded(found: Directions) -> Directions:
        before.append(found)
        return change(found)

    after = recorded(load_directions(path)) if dry_run else edit_directions(path, recorded)
    found = differences(before[0].header, after.header)
    if as_json:
        changes = [dict(zip(("index", "field", "before", "after"), row, strict=True)) for row in found]
        print_json({"file": str(path), "written": bool(found) and not dry_run, "changes": changes})
        return
    for index, field, old, new in found:
        where = "" if index is None else f"{index} "
        typer.echo(f"{where}{field}: {_shown(old)} -> {_shown(new)}")
    if not found:
        typer.echo("Nothing changes: the file says so already.")
    elif dry_run:
        typer.echo("Nothing was written (--dry-run).")


def _change(
    direction: str | None, wanted: dict[str, Any], csv: Path | None, order: str | None, *, undo: bool
) -> Callable[[Directions], Directions]:
    """Turn the command line into a change of directions; exactly one kind of change must be asked for."""
    from directions.direction_file.annotation_csv import read_annotations

    given = {_ONE: direction is not None, _CSV: csv is not None, _ORDER: order is not None, _UNDO: undo}
    kinds = [kind for kind, is_given in given.items() if is_given]
    if len(kinds) != 1:
        got = " and ".join(kinds) or "none of them"
        raise UserError(f"Give one of {_ONE} (with what to write), {_CSV}, {_ORDER} and {_UNDO}, got {got}.")
    if direction is None and wanted:
        options = ", ".join(wanted)
        raise UserError(f"{options} is for one direction: say which, such as directions name FILE 5 rotation.")
    if direction is not None:
        if not wanted:
            raise UserError(
                f"There is nothing to write on direction {direction!r}. Give a NAME, --path-size, --note, --hide, "
                "--show, --star or --unstar."
            )
        return lambda found: found.annotated_each({direction: wanted})
    if csv is not None:
        table = read_annotations(csv)
        return lambda found: found.annotated_each(table)
    if order is not None:
        return lambda found: found.reordered([key.strip() for key in order.split(",")])
    return lambda found: found.undone()


def _shown(value: Any) -> str:
    """Show a value on one line."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ",".join(map(str, value))
    if value is None:
        return "as found"
    return f"{value:g}" if isinstance(value, int | float) else repr(value)
