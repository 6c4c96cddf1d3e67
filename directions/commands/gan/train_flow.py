"""What ``directions gan train`` does once its options are read: start a training or go on with one, print the end."""

from __future__ import annotations

import contextlib
import dataclasses
import re
import shlex
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from directions import __version__
from directions.commands.common import option, print_json, progress_bar
from directions.config import ConfigError
from directions.errors import NonFiniteError, RankLostError, UserError
from directions.gan.config import RESUMABLE, UNUSED, Arch, TrainConfig

if TYPE_CHECKING:
    from directions.distributed.ranks import Ranks
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


def require_used(settings: Mapping[str, Any], taken_over: Arch | None = None) -> None:
    """Refuse settings that the architecture does not look at.

    Args:
        settings: Fields of the configuration that the user gave.
        taken_over: Architecture of the run to start from, unless told otherwise; ``None`` without one.

    Raises:
        ConfigError: If one has no effect.
    """
    arch: Arch = settings.get("arch", taken_over or "progan")
    whose = "" if "arch" in settings or taken_over is None else ", which the run of --fine-tune has"
    for field in settings:
        if field in UNUSED[arch]:
            raise ConfigError(field, f"has no effect with --arch {arch}{whose}. Leave it out.")


@contextlib.contextmanager
def _denormals_restored() -> Iterator[None]:
    """Take numbers too small for float32's full precision as they are again, once training no longer flushes them."""
    try:
        yield
    finally:
        if "torch" in sys.modules:  # a wrong setting is told before it is loaded
            sys.modules["torch"].set_flush_denormal(False)


@_denormals_restored()
def start(settings: Mapping[str, Any], out: Path, name: str | None, reporting: Reporting, ranks: Ranks) -> None:
    """Begin a training in a new folder, which is made only when everything has been checked.

    Args:
        settings: Fields of the configuration that the user gave.
        out: Folder for runs.
        name: Name of the run; ``None`` takes the data folder's.
        reporting: What to tell.
        ranks: The processes that work on it; rank 0 makes the folder and writes.

    Raises:
        UserError: If a setting is wrong or missing.
    """
    from directions.gan.run_folder import TrainingFolder
    from directions.runs.folder import check_name

    if "data" not in settings:
        raise UserError("data must be given: the folder of the images to train on.")
    state = None
    if settings.get("fine_tune") is None:
        require_used(settings)
    else:
        from directions.gan.starting import starting_state

        theirs, state = ranks.from_first(lambda: starting_state(settings["fine_tune"]))
        require_used(settings, theirs.arch)
        settings = {field: getattr(theirs, field) for field in _TAKEN_OVER} | dict(settings)
    config = TrainConfig.of(**settings)
    name = name if name is not None else _as_name(config.data)
    check_name(name)
    trainer = _trainer(config, reporting, ranks)
    if state is not None:
        trainer.start_from(state)
    if reporting.dry_run:
        _print_first(ranks, {"config": config.to_dict(), "resolved": _resolved(trainer), "out": str(out), "name": name})
        return

    def create() -> Path:
        arch = trainer.arch.export_config()
        return TrainingFolder.create(out, name, config, arch, world_size=ranks.world_size).path

    folder = TrainingFolder.seen_by(ranks, ranks.from_first(create))
    folder.run.log(f"Started on {len(trainer.data)} images of {config.data}, digest {trainer.data.digest}.")
    _run(trainer, folder, reporting)


@_denormals_restored()
def go_on(path: Path, settings: Mapping[str, Any], reporting: Reporting, ranks: Ranks) -> None:
    """Go on with a training.

    Args:
        path: Its folder.
        settings: Fields of the configuration that the user gave; most must be what they were.
        reporting: What to tell.
        ranks: The processes that work on it, of any number; rank 0 alone sees the folder.

    Raises:
        UserError: If the folder is no training run, or a setting differs that must not.
        ConfigError: If a setting is wrong.
    """
    from directions.gan.run_folder import TrainingFolder
    from directions.runs.environment import environment_changes

    recorded = ranks.from_first(lambda: TrainingFolder.open(path).read_config())
    folder = TrainingFolder.seen_by(ranks, path)
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
    trainer = _trainer(config, reporting, ranks)
    state = ranks.from_first(folder.read_checkpoint)
    if state is not None:
        trainer.load_state_dict(state)
    elif config.fine_tune is not None:
        from directions.gan.starting import starting_state

        start_from = config.fine_tune
        trainer.start_from(ranks.from_first(lambda: starting_state(start_from)[1]))
    if reporting.dry_run:
        resolved = _resolved(trainer) | {"first_kimg": trainer.seen / 1000}
        _print_first(ranks, {"config": config.to_dict(), "resolved": resolved, "resume": str(folder.path)})
        return
    moved = ranks.from_first(lambda: environment_changes(folder.run.environment_path, ranks.world_size))
    if moved and not reporting.quiet:
        typer.echo(f"Not where it was started, so the last digits may differ: {'; '.join(moved)}.", err=True)
    folder.write_config(config, trainer.arch.export_config())
    folder.run.log("; ".join([f"Resumed after {trainer.seen / 1000:g} kimg", *moved]) + ".")
    _run(trainer, folder, reporting)


def _trainer(config: TrainConfig, reporting: Reporting, ranks: Ranks) -> Trainer:
    import torch

    from directions.devices import resolve_device
    from directions.gan.data.source import open_data
    from directions.gan.trainer import Trainer
    from directions.memory import keep_freed_memory
    from directions.runs.discovery_run import require_tensorboard

    if reporting.tensorboard:
        require_tensorboard()
    device = resolve_device(ranks.device(config.device))
    keep_freed_memory()
    torch.set_flush_denormal(True)  # a fading block's first steps make numbers that a CPU is very slow with
    with contextlib.ExitStack() as stack, ranks.one_ahead():  # the others find the reduced images
        bar: Any = None

        def show(done: int, total: int) -> None:
            nonlocal bar
            bar = bar or stack.enter_context(progress_bar(total=total, unit="file", quiet=reporting.quiet))
            bar.update(done - bar.n)
            if done == total:
                bar.close()  # a warning may follow

        data = open_data(config, on_image=show)
    own = ("data", "cache", "device")
    same = {option(field): value for field, value in config.to_dict().items() if field not in own}
    ranks.require_same({"directions": __version__, "the images' digest": data.digest} | same)
    return Trainer(config, data, device, ranks)


def _run(trainer: Trainer, folder: TrainingFolder, reporting: Reporting) -> None:
    from directions.gan.recording import record_training
    from directions.runs.signals import Interrupted

    if not reporting.quiet:
        typer.echo(f"Run folder: {folder.path}", err=True)
    ranks, total = trainer.ranks, trainer.config.images
    resume = f"{ranks.command} gan train --resume {shlex.quote(str(folder.path))}"
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
        if ranks.tells():
            typer.echo(f"{stop} To go on: {resume}", err=True)
        raise typer.Exit(stop.exit_code) from None
    except RankLostError as error:
        raise RankLostError(f"{error} The last checkpoint is kept. To go on: {resume}") from error
    except NonFiniteError as error:
        if ranks.tells():
            typer.echo(f"Error: {error} Run folder: {folder.path}", err=True)
        raise typer.Exit(1) from None
    if ranks.first:
        _print_result(trainer, folder, as_json=reporting.as_json)


def _print_first(ranks: Ranks, content: Mapping[str, Any]) -> None:
    if ranks.first:
        print_json(content)


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
        "world_size": trainer.ranks.world_size,
        "growth_kimg": trainer.config.schedule.growth / 1000,
        "generator_parameters_millions": millions(trainer.arch.generator),
        "discriminator_parameters_millions": millions(trainer.arch.discriminator),
    }


def _as_name(folder: str) -> str:
    """Make the name of a run of the data folder's."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", Path(folder).resolve().name).strip("-._") or "gan"
