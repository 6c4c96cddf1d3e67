"""What ``directions discover`` does once its options are read: start a run or go on with one, and print the result."""

from __future__ import annotations

import contextlib
import dataclasses
import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from directions import __version__
from directions.commands.common import option, print_json, print_table, progress_bar
from directions.config import RESUMABLE, UNUSED, ConfigError, DiscoverConfig, Method
from directions.errors import UserError
from directions.joint.notes import joint_notes

if TYPE_CHECKING:
    from tqdm import tqdm

    from directions.direction_file import Directions
    from directions.discovery.snapshots import Record, Snapshot
    from directions.distributed.ranks import Ranks
    from directions.generators.base import Generator
    from directions.runs.folder import RunFolder


@dataclass(frozen=True, kw_only=True)
class Reporting:
    """What is told, and where to."""

    as_json: bool
    """Print the result as JSON."""
    quiet: bool
    """Keep progress off stderr."""
    tensorboard: bool
    """Write TensorBoard events too."""
    dry_run: bool
    """Print the settings and do nothing else."""


def require_used(method: Method, settings: Mapping[str, Any]) -> None:
    """Refuse settings that the method does not look at.

    Args:
        method: How directions are found.
        settings: Fields of the configuration that the user gave.

    Raises:
        ConfigError: If one has no effect.
    """
    for field in settings:
        if field in UNUSED[method]:
            others = " or ".join(other for other, unused in UNUSED.items() if field not in unused)
            raise ConfigError(field, f"has no effect with method {method}. Leave it out, or choose --method {others}.")


def start(config: DiscoverConfig, out: Path, name: str | None, reporting: Reporting, ranks: Ranks) -> None:
    """Begin a run in a new folder, which is made only when everything has been checked.

    Args:
        config: Its settings.
        out: Folder for runs.
        name: Name of the run; ``None`` takes the generator's.
        reporting: What to tell.
        ranks: The processes that work on it; rank 0 makes the folder and writes.
    """
    from directions.discovery.loop import discover as steps
    from directions.runs.folder import RunFolder, check_name
    from directions.runs.unwritten import UnwrittenFolder

    name = name if name is not None else _as_name(config.generator)
    check_name(name)
    generator = _load(config, reporting, ranks)
    snapshots = steps(generator, config, ranks=ranks)
    if reporting.dry_run:
        resolved = _resolved(generator, config, ranks)
        _print_first(ranks, {"config": config.to_dict(), "resolved": resolved, "out": str(out), "name": name})
        return
    path = ranks.from_first(lambda: RunFolder.create(out, name, config, world_size=ranks.world_size).path)
    folder = RunFolder(path) if ranks.first else UnwrittenFolder(path)
    folder.log(f"Started with {generator.name!r}, digest {generator.digest}.")
    _run(snapshots, generator, config, folder, reporting, ranks)


def go_on(path: Path, settings: Mapping[str, Any], reporting: Reporting, ranks: Ranks) -> None:
    """Go on with a run.

    Args:
        path: Its folder.
        settings: Fields of the configuration that the user gave; most must be what they were.
        reporting: What to tell.
        ranks: The processes that work on it, of any number; rank 0 alone sees the folder.

    Raises:
        UserError: If the folder is no run, or a setting differs that must not.
    """
    from directions.discovery.loop import discover as steps
    from directions.runs.environment import environment_changes
    from directions.runs.folder import RunFolder
    from directions.runs.unwritten import UnwrittenFolder

    recorded = ranks.from_first(lambda: RunFolder.open(path).read_config())
    folder = RunFolder(path) if ranks.first else UnwrittenFolder(path)
    require_used(recorded.method, settings)
    config = dataclasses.replace(recorded, **settings)
    differing = [field for field in recorded.differences(config) if field not in RESUMABLE]
    if differing:
        changes = ", ".join(f"{option(f)} is {_shown(recorded, f)}, got {_shown(config, f)}" for f in differing)
        raise UserError(
            f"A resumed run keeps its settings: {changes}. Only {', '.join(map(option, RESUMABLE))} may change. "
            "Leave the others out, or start a new run without --resume."
        )
    generator = _load(config, reporting, ranks)
    state = ranks.from_first(lambda: folder.read_checkpoint(generator))
    snapshots = steps(generator, config, resume_from=state, ranks=ranks)
    first = 0 if state is None else state["record"]["step"]
    measured = None if state is None else state["record"].get("base_points")
    if reporting.dry_run:
        resolved = _resolved(generator, config, ranks) | {"first_step": first}
        _print_first(ranks, {"config": config.to_dict(), "resolved": resolved, "resume": str(folder.path)})
        return
    moved = ranks.from_first(lambda: environment_changes(folder.environment_path, ranks.world_size))
    if moved and not reporting.quiet:
        typer.echo(f"Not where it was started, so the last digits may differ: {'; '.join(moved)}.", err=True)
    folder.write_config(config)
    since = f"step {first}" if measured is None else f"base point {measured}"
    folder.log("; ".join([f"Resumed after {since}", *moved]) + ".")
    _run(snapshots, generator, config, folder, reporting, ranks)


def _load(config: DiscoverConfig, reporting: Reporting, ranks: Ranks) -> Generator:
    from directions.generators.registry import load_generator
    from directions.runs.discovery_run import require_tensorboard

    if reporting.tensorboard:
        require_tensorboard()
    with ranks.one_ahead():
        generator = load_generator(config.generator, weights=config.weights, device=ranks.device(config.device))
    settings = {option(field): value for field, value in config.to_dict().items() if field not in ("weights", "device")}
    ranks.require_same({"directions": __version__, "the generator's digest": generator.digest} | settings)
    return generator


def _run(
    snapshots: Iterator[Snapshot],
    generator: Generator,
    config: DiscoverConfig,
    folder: RunFolder,
    reporting: Reporting,
    ranks: Ranks,
) -> None:
    from directions.errors import NonFiniteError, OutOfMemoryError, RankLostError
    from directions.memory import keep_freed_memory
    from directions.runs.discovery_run import record_run
    from directions.runs.signals import Interrupted

    if not reporting.quiet:
        typer.echo(f"Run folder: {folder.path}", err=True)
    keep_freed_memory()
    resume = f"{ranks.command} discover --resume {shlex.quote(str(folder.path))}"
    progress = _Progress(config, quiet=reporting.quiet)
    try:
        with contextlib.closing(progress):
            result = record_run(
                snapshots,
                generator,
                config,
                folder,
                tensorboard=reporting.tensorboard,
                on_record=progress.show,
                on_stage=progress.announce,
                ranks=ranks,
            )
    except Interrupted as stop:
        if ranks.tells():
            typer.echo(f"{stop} To go on: {resume}", err=True)
        raise typer.Exit(stop.exit_code) from None
    except OutOfMemoryError as error:
        smaller = "" if error.micro_batch is None else f" --micro-batch {error.micro_batch}"
        raise UserError(f"{error} The run is kept. To go on: {resume}{smaller or ' --device …'}") from error
    except RankLostError as error:
        raise RankLostError(f"{error} The last checkpoint is kept. To go on: {resume}") from error
    except NonFiniteError as error:
        if ranks.tells():
            typer.echo(f"Error: {error} Run folder: {folder.path}", err=True)
        raise typer.Exit(1) from None
    if ranks.first:
        _print_result(result, folder, as_json=reporting.as_json)


class _Progress:
    """A bar for the base points of a joint start, then one for the optimiser's steps."""

    def __init__(self, config: DiscoverConfig, *, quiet: bool) -> None:
        self._config, self._quiet = config, quiet
        self._bar: tqdm[Any] | None = None
        self._unit = ""
        self._scores: dict[str, str] = {}

    def show(self, record: Record) -> None:
        """Move the bar to a record."""
        measuring = record.base_points is not None
        done = record.step if record.base_points is None else record.base_points
        unit = "base point" if measuring else "step"
        total = self._config.base_points if measuring else self._config.adam_steps
        if unit != self._unit:
            self.close()
            self._unit = unit
            self._bar = progress_bar(total=total, initial=done, unit=unit, quiet=self._quiet) if total else None
        if record.held_out is not None:
            self._scores["held-out"] = f"{record.held_out:.4g}"
        if record.penalty is not None:
            self._scores["penalty"] = f"{record.penalty:.4g}"
        if self._bar is not None:
            self._bar.set_postfix(self._scores, refresh=False)
            self._bar.update(done - self._bar.n)
        if measuring and done == total:
            self.announce("Diagonalising what was measured.")

    def announce(self, stage: str) -> None:
        """Tell what takes time now."""
        self.close()
        if not self._quiet:
            typer.echo(stage, err=True)

    def close(self) -> None:
        """Finish the bar."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None


def _print_result(directions: Directions, folder: RunFolder, *, as_json: bool) -> None:
    header = directions.header
    penalty, joint = header["penalty"], header.get("joint")
    notes = joint_notes(joint, header["directions"]) if joint else []
    path = shlex.quote(str(folder.directions_path))
    if as_json:
        result = {"folder": str(folder.path), "directions": str(folder.directions_path), "steps": header["steps"]}
        print_json(result | {"penalty": penalty} | ({"joint": joint, "notes": notes} if joint else {}))
        return
    labels = {
        "after": "joint solution" if header["steps"] is None else f"after {header['steps']} steps",
        "before": "before training",
        "random": "random directions",
        "axes": "axes of z",
    }
    rows = []
    for key, label in labels.items():
        ratio = "" if key == "after" or not penalty[key] else f"after is {penalty['after'] / penalty[key]:.2f} of it"
        rows.append((label, f"{penalty[key]:.4g}", ratio))
    typer.echo("Held-out penalty (lower is better)")
    print_table(rows, "lll")
    if joint:
        typer.echo(f"\n{joint['agreeing_starts']} of {joint['starts']} starts reached the same joint solution.")
    for note in notes:
        typer.echo(f"Note: {note}")
    chosen = f" of {joint['found']} found" if joint and joint["found"] > len(directions) else ""
    typer.echo(f"\n{len(directions)} directions{chosen}, most active first: {path}")
    for what, verb in (("Look at them:", "render"), ("Move sliders:", "explore"), ("List them:", "inspect")):
        typer.echo(f"{what:<14} directions {verb} {path}")


def _print_first(ranks: Ranks, content: Mapping[str, Any]) -> None:
    if ranks.first:
        print_json(content)


def _resolved(generator: Generator, config: DiscoverConfig, ranks: Ranks) -> dict[str, Any]:
    from directions.search import Search

    search = Search.resolve(generator, config)
    return {
        "generator": {"name": generator.name, "digest": generator.digest, "dim_z": generator.dim_z},
        "ndirs": search.ndirs,
        "space": str(search.space),
        "layers": None if search.layers is None else str(search.layers),
        "classes": list(search.classes),
        "device": str(generator.device),
        "world_size": ranks.world_size,
    }


def _shown(config: DiscoverConfig, field: str) -> str:
    return str(config.to_dict()[field])


def _as_name(generator: str) -> str:
    """Make the name of a run of the generator's name or folder."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", Path(generator).resolve().name).strip("-._") or "run"
