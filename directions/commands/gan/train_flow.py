"""What ``directions gan train`` does once its options are read: start a training or go on with one, print the end."""

from __future__ import annotations

import dataclasses
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from directions.commands.common import option, print_json, progress_bar
from directions.config import ConfigError
from directions.errors import NonFiniteError, UserError
from directions.gan.config import RESUMABLE, UNUSED, TrainConfig

if TYPE_CHECKING:
    from directions.gan.records import Record
    from directions.gan.run_folder import TrainingFolder
    from directions.gan.trainer import Trainer

_TAKEN_OVER = ("arch", "dim_z", "channels", "resolution", "channel_width", "discriminator_width")
"""What a fine-tuned run has from the run that it starts from, unless told otherwise."""


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


def require_used(settings: Mapping[str, Any]) -> None:
    """Refuse settings that the architecture does not look at.

    Args:
        settings: Fields of the configuration that the user gave.

    Raises:
        ConfigError: If one has no effect.
    """
    arch = settings.get("arch", "progan")
    for field in settings:
        if field in UNUSED[arch]:
            raise ConfigError(field, f"has no effect with --arch {arch}. Leave it out.")


def start(settings: Mapping[str, Any], out: Path, name: str | None, reporting: Reporting) -> None:
    """Begin a training in a new folder, which is made only when everything has been checked.

    Args:
        settings: Fields of the configuration that the user gave.
        out: Folder for runs.
        name: Name of the run; ``None`` takes the data folder's.
        reporting: What to tell.

    Raises:
        UserError: If a setting is wrong or missing.
    """
    from directions.gan.run_folder import TrainingFolder
    from directions.runs.folder import check_name

    if "data" not in settings:
        raise UserError("data must be given: the folder of the images to train on.")
    require_used(settings)
    state = None
    if settings.get("fine_tune") is not None:
        from directions.gan.starting import starting_state

        theirs, state = starting_state(settings["fine_tune"])
        settings = {field: getattr(theirs, field) for field in _TAKEN_OVER} | dict(settings)
    config = TrainConfig.of(**settings)
    name = name if name is not None else _as_name(config.data)
    check_name(name)
    trainer = _trainer(config, reporting)
    if state is not None:
        trainer.start_from(state)
    if reporting.dry_run:
        print_json(
            {"config": config.to_dict(), "resolved": _resolved(trainer), "out": str(out), "name": name},
        )
        return
    folder = TrainingFolder.create(out, name, config, trainer.arch.export_config())
    folder.run.log(f"Started on {len(trainer.data)} images of {config.data}, digest {trainer.data.digest}.")
    _run(trainer, folder, reporting)


def go_on(path: Path, settings: Mapping[str, Any], reporting: Reporting) -> None:
    """Go on with a training.

    Args:
        path: Its folder.
        settings: Fields of the configuration that the user gave; most must be what they were.
        reporting: What to tell.

    Raises:
        UserError: If the folder is no training run, or a setting differs that must not.
        ConfigError: If a setting is wrong.
    """
    from directions.gan.run_folder import TrainingFolder
    from directions.runs.environment import environment_changes

    folder = TrainingFolder.open(path)
    recorded = folder.read_config()
    config = dataclasses.replace(recorded, **settings)
    differing = [field for field in recorded.differences(config) if field not in RESUMABLE]
    if differing:
        changes = ", ".join(
            f"{option(field)} is {getattr(recorded, field)}, got {getattr(config, field)}" for field in differing
        )
        raise UserError(
            f"A resumed run keeps its settings: {changes}. Only {', '.join(map(option, RESUMABLE))} may change. "
            "Leave the others out, or start a new run without --resume."
        )
    if config.kimg != recorded.kimg and config.decay_from < 1:
        raise ConfigError("kimg", "cannot change when rates decay towards the end (--decay-from below 1).")
    trainer = _trainer(config, reporting)
    state = folder.read_checkpoint()
    if state is not None:
        trainer.load_state_dict(state)
    elif config.fine_tune is not None:
        from directions.gan.starting import starting_state

        trainer.start_from(starting_state(config.fine_tune)[1])
    if reporting.dry_run:
        resolved = _resolved(trainer) | {"first_kimg": trainer.seen / 1000}
        print_json({"config": config.to_dict(), "resolved": resolved, "resume": str(folder.path)})
        return
    moved = environment_changes(folder.run.environment_path)
    if moved and not reporting.quiet:
        typer.echo(f"Not where it was started, so the last digits may differ: {'; '.join(moved)}.", err=True)
    folder.write_config(config, trainer.arch.export_config())
    folder.run.log("; ".join([f"Resumed after {trainer.seen / 1000:g} kimg", *moved]) + ".")
    _run(trainer, folder, reporting)


def _trainer(config: TrainConfig, reporting: Reporting) -> Trainer:
    import torch

    from directions.devices import resolve_device
    from directions.gan.data.source import open_data
    from directions.gan.trainer import Trainer
    from directions.runs.discovery_run import require_tensorboard

    if reporting.tensorboard:
        require_tensorboard()
    device = resolve_device(config.device)
    torch.set_flush_denormal(True)  # a fading block's first steps make numbers that a CPU is very slow with
    bar = None

    def show(done: int, total: int) -> None:
        nonlocal bar
        bar = bar or progress_bar(total=total, unit="file", quiet=reporting.quiet)
        bar.update(done - bar.n)

    data = open_data(config, on_image=show)
    if bar is not None:
        bar.close()
    return Trainer(config, data, device)


def _run(trainer: Trainer, folder: TrainingFolder, reporting: Reporting) -> None:
    from directions.gan.recording import record_training
    from directions.runs.signals import Interrupted

    if not reporting.quiet:
        typer.echo(f"Run folder: {folder.path}", err=True)
    total = trainer.config.images
    bar = progress_bar(total=total, initial=trainer.seen, unit="img", quiet=reporting.quiet)
    bar.unit_scale = True

    def show(trainer: Trainer, record: Record | None) -> None:
        bar.update(min(trainer.seen, total) - bar.n)
        if record is not None:
            shown = {name: f"{record.terms[name]:.3g}" for name in ("loss_d", "loss_g", "penalty", "diversity")
                     if name in record.terms}  # fmt: skip
            bar.set_postfix({"px": record.resolution, **shown}, refresh=False)

    def announce(stage: str) -> None:
        bar.close()
        if not reporting.quiet:
            typer.echo(stage, err=True)

    try:
        with bar:
            record_training(trainer, folder, tensorboard=reporting.tensorboard, on_step=show, on_stage=announce)
    except Interrupted as stop:
        resume = f"directions gan train --resume {shlex.quote(str(folder.path))}"
        typer.echo(f"{stop} To go on: {resume}", err=True)
        raise typer.Exit(stop.exit_code) from None
    except NonFiniteError as error:
        typer.echo(f"Error: {error} Run folder: {folder.path}", err=True)
        raise typer.Exit(1) from None
    _print_result(trainer, folder, as_json=reporting.as_json)


def _print_result(trainer: Trainer, folder: TrainingFolder, *, as_json: bool) -> None:
    stats = folder.run.read_stats()
    last = stats[-1] if stats else {}
    if as_json:
        print_json({"folder": str(folder.path), "weights": str(folder.weights_path), "last": last})
        return
    run = shlex.quote(str(folder.path))
    typer.echo(f"Trained for {trainer.seen / 1000:g} kimg: {folder.weights_path}")
    if "diversity" in last:
        typer.echo(f"Spread of generated images over that of real ones: {last['diversity']:.2f}")
    typer.echo(f"Samples:             {folder.sheets_path}\nFind directions:     directions discover --generator {run}")


def _resolved(trainer: Trainer) -> dict[str, Any]:
    def millions(network: Any) -> float:
        return round(sum(parameter.numel() for parameter in network.parameters()) / 1e6, 3)

    return {
        "images": len(trainer.data),
        "digest": trainer.data.digest,
        "device": str(trainer.device),
        "growth_kimg": trainer.config.schedule.growth / 1000,
        "generator_parameters_millions": millions(trainer.arch.generator),
        "discriminator_parameters_millions": millions(trainer.arch.discriminator),
    }


def _as_name(folder: str) -> str:
    """Make the name of a run of the data folder's."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", Path(folder).resolve().name).strip("-._") or "gan"
