"""The command line ``directions VERB``: finds the verb, and deals with whatever ends it."""

from __future__ import annotations

import contextlib
import errno
import importlib
import io
import os
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TextIO, cast

import typer
from typer.core import TyperCommand, TyperGroup

from directions import __version__
from directions.device import explained
from directions.errors import Interrupted, NonFiniteError, OutOfMemoryError, RankLostError, UserError
from directions.files import user_path

VERBS = {
    "discover": ("discover", "Learn directions that each change one thing, and write them to a new run folder."),
    "render": ("render", "Render directions: animations, strips, planes of two, or a gallery to look through."),
    "explore": ("explore", "Look at directions in a browser: a slider each; what you write goes into the file."),
    "inspect": ("files", "Show which directions a file holds, how they were found, and what was measured about them."),
    "evaluate": ("evaluate", "Measure a file's directions against random ones and the axes of z."),
    "measure": (
        "evaluate",
        "Fill in activeness, path sizes and penalty shares in a file that has none, such as a converted one.",
    ),
    "compare": ("compare", "Run several methods on a generator and judge their directions at the same places."),
    "name": ("files", "Name directions, set how far they go, and leave notes; every change can be undone."),
    "select": ("files", "Take some directions of a file into one of their own, in the order given."),
    "merge": ("files", "Put the directions of several files of the same generator into one."),
    "push": ("hub", "Put a direction file on the Hub, with a card written from its header."),
    "pull": ("hub", "Fetch a direction file from the Hub. Nothing else is fetched, and no code is run."),
    "convert": ("files", "Make a direction file of other programs' directions. No code from the file is run."),
    "generators": ("files", "List the generators by name, whether they can be loaded here, and what to do if not."),
    "gan": ("gan", "Train generators, with the Hessian Penalty or without, measure them, and make images."),
}
"""Where each verb is (a function or a Typer app of its name) and the first line of its help."""

EXAMPLES = {
    "discover": ("--generator letters --name first", "--resume outputs/00000-first --steps 800"),
    "render": ("outputs/00000-first --against random", "outputs/00000-first --format gallery"),
    "explore": ("outputs/00000-first", "outputs/00000-first --port 8200 --no-open"),
    "inspect": ("outputs/00000-first", "outputs/00000-first --history"),
    "evaluate": ("outputs/00000-first --out evaluation.json --plot evaluation.png",),
    "measure": ("converted.safetensors",),
    "compare": ("builtin", "letters --methods random,pca,hessian --seeds 5"),
    "name": ("outputs/00000-first 1 hue --path-size 4", "outputs/00000-first --undo"),
    "select": ("outputs/00000-first 0,hue,5 --out few.safetensors",),
    "merge": ("few.safetensors others.safetensors --out all.safetensors",),
    "push": ("outputs/00000-first owner/name --license mit --dry-run",),
    "pull": ("owner/name",),
    "convert": ("A.pt --to directions.safetensors --generator biggan-deep-128",),
    "generators": ("", "--json"),
    "gan": ("train --data photos --penalty hessian --device cuda", "sample outputs/00000-photos --sweep all"),
}
"""What may follow each verb, shown below its help."""


class Verbs(TyperGroup):
    """Verbs of which only the one that is asked for is imported, so that help is instant."""

    def __init__(self, **attributes: Any) -> None:
        shown = {verb: TyperCommand(verb, help=summary) for verb, (_, summary) in VERBS.items()}
        super().__init__(**attributes | {"commands": shown})

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Import the verb that is asked for."""
        name, command, rest = super().resolve_command(ctx, args)
        if name is None:
            return name, command, rest
        found = getattr(importlib.import_module(f"directions.cli.{VERBS[name][0]}"), name)
        verb = typer.Typer(context_settings=_HELP, rich_markup_mode="rich", add_completion=False)
        calls = [f"directions {name} {example}".rstrip() for example in EXAMPLES.get(name, ())]
        epilog = "\n\n".join(["Examples:", *calls]) if calls else None
        if isinstance(found, typer.Typer):
            verb.add_typer(found, epilog=epilog)
        else:
            verb.command(name, epilog=epilog)(found)
        command = typer.main.get_command(verb)
        return name, command.commands[name] if isinstance(command, TyperGroup) else command, rest


_HELP = {"help_option_names": ["-h", "--help"]}
app = typer.Typer(
    cls=Verbs,
    name="directions",
    help="Find directions in a generator's latent space that each change one thing, and use them.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    context_settings=_HELP,
    pretty_exceptions_enable=False,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"directions {__version__}")
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
        The exit status: 0; 1 when a run failed; 2 for wrong input, or if the result could not be printed; 130 or 143
        after SIGINT or SIGTERM.
    """
    words = sys.argv[1:] if arguments is None else arguments
    given = [_expanded(before, word) for before, word in zip(("", *words), words, strict=False)]
    with warnings.catch_warnings(), _safe_output() as output:
        warnings.showwarning = _show_warning
        warnings.filterwarnings("default", category=UserWarning, module=r"directions\.")
        status = _status(given)
    if output.fault:
        with contextlib.suppress(OSError, ValueError, AttributeError):
            sys.stderr.write(f"Error: Cannot write to standard output: {output.fault}. Send it somewhere else.\n")
        return status or 2
    return status


def _expanded(before: str, word: str) -> str:
    """Write the home folder for ``~`` where no shell has, as in ``--out=~/x``: no folder shall be called so."""
    option, equals, path = word.rpartition("=") if word.startswith("--") else ("", "", word)
    is_text = {before, option} & {"--note", "--name", "--message", "--word"}
    return f"{option}{equals}{user_path(path)}" if path.startswith("~/") and not is_text else word


def _status(arguments: Sequence[str]) -> int:
    try:
        with explained(_out_of_memory):
            app(arguments, prog_name="directions")
    except (UserError, RankLostError, NonFiniteError) as error:
        typer.echo(f"Error: {error}", err=True)
        return 2 if isinstance(error, UserError) else 1
    except Interrupted as stop:
        typer.echo(str(stop), err=True)
        return stop.exit_code
    except OSError as error:
        if error.errno is None:  # of a library, and not of the system
            raise
        advice = "Check the path, who may use it, and the space on the disk."
        typer.echo(f"Error: {error.filename or 'A file'} cannot be used: {error.strerror}. {advice}", err=True)
        return 2
    except SystemExit as end:  # how Typer ends, also when all went well
        return end.code if isinstance(end.code, int) else int(bool(end.code))
    return 0


def _out_of_memory() -> OutOfMemoryError:
    """What is said where nobody nearer knew more, such as while weights are loaded."""
    return OutOfMemoryError("Out of memory. Close other programs, use a smaller generator, or another --device.")


class _Stream:
    """A stream that drops what it cannot write: what a command says must not stop what it does.

    Args:
        stream: What everything goes to.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.fault = ""
        """Why something was dropped, where somebody is there to read it, such as on a full disk."""

    def write(self, text: str) -> int:
        """Write text, if possible."""
        self._attempt(self._stream.write, text)
        return len(text)

    def flush(self) -> None:
        """Write what is held back, if possible."""
        self._attempt(self._stream.flush)

    def __getattr__(self, name: str) -> Any:
        """Give everything else of the stream."""
        return getattr(self._stream, name)

    def _attempt(self, act: Callable[..., object], *arguments: str) -> None:
        try:
            act(*arguments)
        except (OSError, ValueError) as error:  # ValueError: it is closed
            number = getattr(error, "errno", None)
            if number not in (None, errno.EPIPE, errno.EIO, errno.EBADF):  # its reader or its terminal is gone
                self.fault = os.strerror(number)
            # What is still held back goes nowhere, or Python would try, and complain, once more when it ends.
            with contextlib.suppress(OSError, ValueError):
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, self._stream.fileno())
                os.close(nowhere)


@contextlib.contextmanager
def _safe_output() -> Any:
    """Within the block, nothing that is printed can raise; yields what stands for standard output."""
    # One that whoever started the program has closed: the next file would get its number, and what is printed.
    closed = [number for number in (0, 1, 2) if not os.path.exists(number)]  # noqa: PTH110 - not a path
    for _ in closed:
        os.open(os.devnull, os.O_RDWR)
    before: list[TextIO | None] = [sys.stdout, sys.stderr]
    if isinstance(sys.stdout, io.TextIOWrapper):  # file names of any bytes are printed as they are, or spelt out
        utf8 = sys.stdout.encoding.lower().startswith("utf")
        sys.stdout.reconfigure(errors="surrogateescape" if utf8 else "backslashreplace")
    streams = [_Stream(stream if stream is not None else Path(os.devnull).open("w")) for stream in before]  # noqa: SIM115 - it lasts as long as the program
    sys.stdout, sys.stderr = cast("list[TextIO]", streams)
    try:
        yield streams[0]
    finally:
        for stream in streams:
            stream.flush()
        sys.stdout, sys.stderr = cast("list[TextIO]", before)


def _show_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    """Print a warning as a sentence for the user, without the place in the source."""
    typer.echo(f"Warning: {message}", err=True)
