"""What several verbs share: option groups, which options were given, progress on stderr, tables on stdout."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from directions.errors import UserError

if TYPE_CHECKING:
    from tqdm import tqdm

SAMPLES = "What to sample"
OUTPUT = "Output"
HARDWARE = "Hardware"


def option(parameter: str) -> str:
    """Return the command-line spelling of a parameter."""
    return "--" + parameter.replace("_", "-")


@contextlib.contextmanager
def options_named(context: typer.Context) -> Iterator[None]:
    """Within the block, an error about a parameter becomes one about the option, as the user knows it.

    Args:
        context: Knows the command's parameters; a message that starts with the name of one is about it.

    Yields:
        Nothing.

    Raises:
        UserError: What the block raised, with the option for the name.
    """
    try:
        yield
    except UserError as error:
        subject, _, rest = str(error).partition(" ")
        if subject not in context.params:
            raise
        raise UserError(f"{option(subject)} {rest}") from error


def given_options(context: typer.Context, names: Iterable[str]) -> tuple[str, ...]:
    """Return those of the parameters that stand on the command line, rather than taking their defaults."""
    sources = {name: context.get_parameter_source(name) for name in names}
    return tuple(name for name, source in sources.items() if source is not None and source.name == "COMMANDLINE")


def direction_file(path: Path) -> Path:
    """Return the direction file that a user means by a path: the file itself, or that of a run folder."""
    inside = path / "directions.safetensors"
    return inside if inside.is_file() else path


def print_json(content: Any) -> None:
    """Print a result for machines."""
    typer.echo(json.dumps(content, indent=2))


def print_table(rows: Sequence[Sequence[str]], right: str) -> None:
    """Print rows as aligned columns.

    Args:
        rows: The first one is the heading.
        right: A letter for each column: ``l`` aligns it to the left, ``r`` to the right.
    """
    widths = [max(len(row[column]) for row in rows) for column in range(len(right))]
    for row in rows:
        cells = [
            cell.rjust(width) if side == "r" else cell.ljust(width)
            for cell, width, side in zip(row, widths, right, strict=True)
        ]
        typer.echo("  ".join(cells).rstrip())


def progress_bar(*, total: int, initial: int = 0, unit: str, quiet: bool, title: str | None = None) -> tqdm[Any]:
    """Make a progress bar on stderr; where that is no terminal it adds a line now and then."""
    from tqdm import tqdm

    interval = 0.2 if sys.stderr.isatty() else 15.0
    return tqdm(
        desc=title, total=total, initial=initial, unit=unit, disable=quiet, mininterval=interval, dynamic_ncols=True
    )
