"""What ``directions discover`` does once its options are read: start a run or go on with one, and print the result."""

from __future__ import annotations

import dataclasses
import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from directions.commands.common import option, print_json, print_table, progress_bar
from directions.config import RESUMABLE, DiscoverConfig
from directions.errors import UserError

if TYPE_CHECKING:
    from directions.direction_file import Directions
    from directions.discovery import Record, Snapshot
    from directions.generators.base import Generator
    from directions.run_folder import RunFolder


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


def start(config: DiscoverConfig, out: Path, name: str | None, reporting: Reporting) -> None:
    """Begin a run in a new folder, which is made only when everything has been checked.

    Args:
        config: Its settings.
        out: Folder for runs.
        name: Name of the run; ``None`` takes the generator's.
        reporting: What to tell.
    """
    from directions.discovery import discover as steps
    from directions.run_folder import RunFolder, check_name

    name = name if name is not None else _as_name(config.generator)
    check_name(name)
    generator = _load(config, reporting)
    snapshots = steps(generator, config)
    if reporting.dry_run:
        print_json(
            {"config": config.to_dict(), "resolved": _resolved(generator, config), "out": str(out), "name": name}
        )
        return
    folder = RunFolder.create(out, name, config)
    folder.log(f"Started with {generator.name!r}, digest {generator.digest}.")
    _run(snapshots, generator, config, folder, reporting, first=0)


def go_on(path: Path, settings: Mapping[str, Any], reporting: Reporting) -> None:
    """Go on with a run.

    Args:
        path: Its folder.
        settings: Fields of the configuration that the user gave; most must be what they were.
        reporting: What to tell.

    Raises:
        UserError: If the folder is no run, or a setting differs that must not.
    """
    from directions.discovery import discover as steps
    from directions.environment import environment_changes
    from directions.run_folder import RunFolder

    folder = RunFolder.open(path)
    recorded = folder.read_config()
    config = dataclasses.replace(recorded, **settings)
    differing = [field for field in recorded.differences(config) if field not in RESUMABLE]
    if differing:
        changes = ", ".join(f"{option(f)} is {_shown(recorded, f)}, got {_shown(config, f)}" for f in differing)
        raise UserError(
            f"A resumed run keeps its settings: {changes}. Only {', '.join(map(option, RESUMABLE))} may change. "
            "Leave the others out, or start a new run without --resume."
        )
    generator = _load(config, reporting)
    state = folder.read_checkpoint(generator)
    snapshots = steps(generator, config, resume_from=state)
    first = 0 if state is None else state["record"]["step"]
    if reporting.dry_run:
        resolved = _resolved(generator, config) | {"first_step": first}
        print_json({"config": config.to_dict(), "resolved": resolved, "resume": str(folder.path)})
        return
    moved = environment_changes(folder.environment_path)
    if moved and not reporting.quiet:
        typer.echo(f"Not where it was started, so the last digits may differ: {'; '.join(moved)}.", err=True)
    folder.write_config(config)
    folder.log("; ".join([f"Resumed after step {first}", *moved]) + ".")
    _run(snapshots, generator, config, folder, reporting, first=first)


def _load(config: DiscoverConfig, reporting: Reporting) -> Generator:
    from directions.discovery_run import require_tensorboard
    from directions.generators.registry import load_generator

    if reporting.tensorboard:
        require_tensorboard()
    return load_generator(config.generator, weights=config.weights, device=config.device)


def _run(
    snapshots: Iterator[Snapshot],
    generator: Generator,
    config: DiscoverConfig,
    folder: RunFolder,
    reporting: Reporting,
    *,
    first: int,
) -> None:
    from directions.discovery import NonFiniteError
    from directions.discovery_run import record_run
    from directions.signals import Interrupted

    if not reporting.quiet:
        typer.echo(f"Run folder: {folder.path}", err=True)
    scores: dict[str, str] = {}

    def show(record: Record) -> None:
        if record.held_out is not None:
            scores["held-out"] = f"{record.held_out:.4g}"
        if record.penalty is not None:
            scores["penalty"] = f"{record.penalty:.4g}"
        bar.set_postfix(scores, refresh=False)
        bar.update(record.step - bar.n)

    def announce(stage: str) -> None:
        bar.close()
        if not reporting.quiet:
            typer.echo(stage, err=True)

    try:
        with progress_bar(total=config.steps, initial=first, unit="step", quiet=reporting.quiet) as bar:
            directions = record_run(
                snapshots,
                generator,
                config,
                folder,
                tensorboard=reporting.tensorboard,
                on_record=show,
                on_stage=announce,
            )
    except Interrupted as stop:
        resume = f"directions discover --resume {shlex.quote(str(folder.path))}"
        typer.echo(f"{stop} To go on: {resume}", err=True)
        raise typer.Exit(stop.exit_code) from None
    except NonFiniteError as error:
        typer.echo(f"Error: {error} Run folder: {folder.path}", err=True)
        raise typer.Exit(1) from None
    _print_result(directions, folder, as_json=reporting.as_json)


def _print_result(directions: Directions, folder: RunFolder, *, as_json: bool) -> None:
    header = directions.header
    penalty = header["penalty"]
    path = shlex.quote(str(folder.directions_path))
    if as_json:
        result = {"folder": str(folder.path), "directions": str(folder.directions_path), "steps": header["steps"]}
        print_json(result | {"penalty": penalty})
        return
    labels = {
        "after": f"after {header['steps']} steps",
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
    typer.echo(f"\n{len(directions)} directions, most active first: {path}")
    typer.echo(f"Look at them:  directions render {path}\nList them:     directions inspect {path}")


def _resolved(generator: Generator, config: DiscoverConfig) -> dict[str, Any]:
    from directions.search import Search

    search = Search.resolve(generator, config)
    return {
        "generator": {"name": generator.name, "digest": generator.digest, "dim_z": generator.dim_z},
        "ndirs": search.ndirs,
        "space": str(search.space),
        "classes": list(search.classes),
        "device": str(generator.device),
    }


def _shown(config: DiscoverConfig, field: str) -> str:
    return str(config.to_dict()[field])


def _as_name(generator: str) -> str:
    """Make the name of a run of the generator's name or folder."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", Path(generator).resolve().name).strip("-._") or "run"
