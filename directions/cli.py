"""The command line ``directions VERB``: parse, wire, print. One module a verb in ``directions/commands``.

At the end of the flow, on top of everything. Nothing here imports torch before a verb runs, so that help is instant.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from typing import TextIO

import typer

import directions
from directions.commands.combine import merge, select
from directions.commands.convert import convert
from directions.commands.discover import discover
from directions.commands.evaluate import evaluate
from directions.commands.explore import explore
from directions.commands.gan import gan
from directions.commands.generators import generators
from directions.commands.hub import pull, push
from directions.commands.inspect import inspect
from directions.commands.name import name
from directions.commands.output import explained_output
from directions.commands.render import render
from directions.errors import OutOfMemoryError, RankLostError, UserError
from directions.memory import explained

app = typer.Typer(
    name="directions",
    help="Find directions in a generator's latent space that each change one thing, and use them.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
)
app.command()(discover)
app.command()(render)
app.command()(explore)
app.command()(inspect)
app.command()(evaluate)
app.command()(name)
app.command()(select)
app.command()(merge)
app.command()(push)
app.command()(pull)
app.command()(convert)
app.command()(generators)
app.add_typer(gan)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"directions {directions.__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: bool = typer.Option(
        False, "--version", callback=_print_version, is_eager=True, help="Print the version and exit."
    ),
) -> None:
    pass


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: What follows the program's name; ``None`` takes it from the process.

    Returns:
        The exit status: 0; 1 when a run failed; 2 for wrong input; 130 or 143 after SIGINT or SIGTERM.
    """
    with warnings.catch_warnings():
        warnings.showwarning = _show_warning
        warnings.filterwarnings("default", category=UserWarning, module=r"directions\.")
        try:
            with explained(_out_of_memory), explained_output():
                app(arguments, prog_name="directions")
        except UserError as error:
            typer.echo(f"Error: {error}", err=True)
            return 2
        except RankLostError as error:
            typer.echo(f"Error: {error}", err=True)
            return 1
        except BrokenPipeError:  # nobody reads what is printed, such as after | head
            return 1
        except SystemExit as end:  # how Typer ends, also when all went well
            return end.code if isinstance(end.code, int) else int(bool(end.code))
    return 0


def _out_of_memory() -> OutOfMemoryError:
    """What is said where nobody nearer knew more, such as while weights are loaded."""
    return OutOfMemoryError("Out of memory. Close other programs, use a smaller generator, or another --device.")


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Print a warning as a sentence for the user, without the place in the source."""
    typer.echo(f"Warning: {message}", err=True)


if __name__ == "__main__":
    sys.exit(main())
