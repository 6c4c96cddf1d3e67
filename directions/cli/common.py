"""What several verbs share: options, the settings of resumed runs, progress on stderr, tables and JSON on stdout."""

from __future__ import annotations

import contextlib
import json
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from directions.errors import Interrupted, NonFiniteError, OutOfMemoryError, RankLostError, UserError
from directions.settings.base import option_name

if TYPE_CHECKING:
    from tqdm import tqdm

    from directions.ranks import Ranks
    from directions.run import RunFolder
    from directions.settings.base import Settings

    _Config = TypeVar("_Config", bound=Settings)

SAMPLES = "What to sample"
OUTPUT = "Output"
HARDWARE = "Hardware"

Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.", rich_help_panel=OUTPUT)]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress on stderr.", rich_help_panel=OUTPUT)]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Check everything, print the settings, do nothing.", rich_help_panel=OUTPUT)
]
TensorBoard = Annotated[
    bool, typer.Option("--tensorboard", help="Write TensorBoard events too.", rich_help_panel=OUTPUT)
]
WandB = Annotated[bool, typer.Option("--wandb", help="Send curves to Weights & Biases too.", rich_help_panel=OUTPUT)]
GeneratorName = Annotated[
    str | None,
    typer.Option(
        help="Generator by name, folder, or FILE.py:FUNCTION.",
        show_default="the one in the file",
        rich_help_panel=HARDWARE,
    ),
]
Weights = Annotated[
    str | None,
    typer.Option(help="Folder with the generator's weights.", show_default="usual places", rich_help_panel=HARDWARE),
]
Device = Annotated[str, typer.Option(help="cpu, cuda, cuda:N, or auto.", rich_help_panel=HARDWARE)]
FilePath = Annotated[Path, typer.Argument(help="A direction file, or the run folder that it is in.")]
Out = Annotated[Path, typer.Option(help="Folder for runs; this one becomes OUT/NNNNN-NAME.", rich_help_panel=OUTPUT)]


def print_json(content: Any) -> None:
    """Print a result for machines."""
    typer.echo(json.dumps(content, indent=2))


def print_table(rows: Sequence[Sequence[str]], right: str) -> None:
    """Print rows as aligned columns.

    Args:
        rows: The first one is the heading.
        right: A letter for each column: ``l`` aligns it to the left, ``r`` to the right.
    """
    columns = list(zip(*rows, strict=True))
    widths = [
        f"{'>' if side == 'r' else '<'}{max(map(len, column))}" for column, side in zip(columns, right, strict=True)
    ]
    for row in rows:
        typer.echo("  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)).rstrip())


def progress_bar(*, total: int, initial: int = 0, unit: str, quiet: bool, title: str | None = None) -> tqdm[Any]:
    """Make a progress bar on stderr; where that is no terminal it adds a line now and then."""
    from tqdm import tqdm

    interval = 0.2 if sys.stderr.isatty() else 15.0
    return tqdm(
        desc=title, total=total, initial=initial, unit=unit, disable=quiet, mininterval=interval, dynamic_ncols=True
    )


class ProgressBar:
    """A `directions.ranks.Progress`: a bar on stderr and a line in the run's log for each phase.

    Args:
        quiet: Say nothing on stderr.
    """

    def __init__(self, quiet: bool) -> None:
        self.quiet = quiet
        self.folder: RunFolder | None = None
        """Whose log gets the lines."""
        self._bar: tqdm[Any] | None = None
        self._phase = ""

    def __call__(self, phase: str, done: int, total: int, note: str) -> None:
        """Show how far a phase is."""
        if phase != self._phase:
            self.close()
            self._phase = phase
            if self.folder is not None:
                self.folder.log(f"{phase}{f': {total} in all' if total else ''}.")
            if not total:
                self.say(f"{phase}.")
            self._bar = (
                progress_bar(total=total, initial=done, unit="", quiet=self.quiet, title=phase) if total else None
            )
        if self._bar is not None:
            self._bar.total = total
            self._bar.set_postfix_str(note, refresh=False)
            self._bar.update(done - self._bar.n)

    def say(self, sentence: str) -> None:
        """Print a sentence between two bars."""
        self.close()
        if not self.quiet:
            typer.echo(sentence, err=True)

    def close(self) -> None:
        """Finish the bar."""
        if self._bar is not None:
            self._bar.close()
        self._bar, self._phase = None, ""


def resumed_config(
    recorded: _Config, given: Mapping[str, Any], resumable: Sequence[str], **misplaced: object
) -> _Config:
    """Put together the configuration of a run that goes on.

    Args:
        recorded: What it was started with.
        given: Settings that the user gave.
        resumable: Names of those that may differ.
        misplaced: Options that only a new run has; ``None`` was not given.

    Returns:
        The configuration.

    Raises:
        UserError: If another setting differs, or an option is misplaced.
    """
    names = " and ".join(option_name(name) for name, value in misplaced.items() if value is not None)
    if names:
        raise UserError(f"{names} cannot be given with --resume: the run goes on in its folder.")
    config = recorded.replace(**given)
    differing = [field for field in recorded.differences(config) if field not in resumable]
    if differing:
        before, now = recorded.to_dict(), config.to_dict()
        changes = ", ".join(f"{option_name(field)} is {before[field]}, got {now[field]}" for field in differing)
        advice = f"Only {', '.join(map(option_name, resumable))} may change. Leave the others out, or start a new run"
        raise UserError(f"A resumed run keeps its settings: {changes}. {advice} without --resume.")
    return config


def note_resumed(folder: RunFolder, since: str, ranks: Ranks, progress: ProgressBar) -> None:
    """Write into a run's log that it goes on, after ``since``; say so if that is not where it was started."""
    moved = ranks.from_first(lambda: folder.environment_changes(ranks.world_size))
    if moved:
        progress.say(f"Not where it was started, so the last digits may differ: {'; '.join(moved)}.")
    folder.log("; ".join([f"Resumed after {since}", *moved]) + ".")


@contextlib.contextmanager
def resumable(folder: RunFolder, ranks: Ranks, verb: str) -> Iterator[None]:
    """Within the block a run is made: what ends it is told together with the command that goes on with it.

    Args:
        folder: Of the run.
        ranks: Of which one speaks.
        verb: ``"discover"`` or ``"gan train"``.

    Yields:
        Nothing.

    Raises:
        Exit: If a signal ended it, with 130 or 143; if its numbers are no numbers any more, with 1.
        UserError: If memory ran out.
        RankLostError: If another rank is gone.
    """
    resume = f"{ranks.command} {verb} --resume {shlex.quote(str(folder.path))}"
    try:
        yield
    except Interrupted as stop:
        if ranks.says_why():
            typer.echo(f"{stop} To go on: {resume}", err=True)
        raise typer.Exit(stop.exit_code) from None
    except OutOfMemoryError as error:
        smaller = "--device …" if error.micro_batch is None else f"--micro-batch {error.micro_batch}"
        raise UserError(f"{error} The run is kept. To go on: {resume} {smaller}") from error
    except RankLostError as error:
        raise RankLostError(f"{error} The last checkpoint is kept. To go on: {resume}") from error
    except NonFiniteError as error:
        if ranks.says_why():
            typer.echo(f"Error: {error} Run folder: {folder.path}", err=True)
        raise typer.Exit(1) from None
