"""``directions gan train``: train a generator, or go on with an earlier training."""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from directions import __version__
from directions.cli import common
from directions.ranks import Ranks, joined
from directions.settings.base import ConfigError, option_name, with_options
from directions.settings.train import RESUMABLE, TrainConfig

if TYPE_CHECKING:
    from directions.gan.trainer import Line, Trainer
    from directions.run import RunFolder

_OUT = typer.Option(
    help="Folder for runs; this one becomes OUT/NNNNN-NAME.", show_default="outputs", rich_help_panel=common.OUTPUT
)
_NAME = typer.Option(help="Name of the run.", show_default="the data folder's", rich_help_panel=common.OUTPUT)
_RESUME = typer.Option(
    metavar="RUN",
    help="Go on with the run in this folder, with its settings; --kimg may add to them.",
    rich_help_panel=common.OUTPUT,
)


@with_options(TrainConfig)
def train(
    given: dict[str, Any],
    out: Annotated[Path | None, _OUT] = None,
    name: Annotated[str | None, _NAME] = None,
    resume: Annotated[Path | None, _RESUME] = None,
    tensorboard: common.TensorBoard = False,
    wandb: common.WandB = False,
    dry_run: common.DryRun = False,
    as_json: common.Json = False,
    quiet: common.Quiet = False,
) -> None:
    """Train a generator on a folder of images, with the Hessian Penalty or without."""
    from directions.run import RunFolder, StopSignals, check_name, name_after, require_loggers

    with joined() as ranks, StopSignals(ranks):
        if resume is None:
            config = _new_config(given, ranks)
            place = {"out": str(out or "outputs"), "name": name or name_after(config.data, "gan")}
            check_name(place["name"])
        else:
            config = _old_config(resume, given, ranks, out=out, name=name)
            place = {"resume": str(resume)}
        require_loggers(tensorboard=tensorboard, wandb=wandb)

        from directions.gan.recording import content_of, record_training, starting_state

        with _flushing_denormals(), contextlib.closing(common.ProgressBar(quiet or not ranks.first)) as progress:
            trainer = _trainer(config, progress, ranks)
            folder = RunFolder(resume or Path(), writes=ranks.first)
            checkpoint = None if resume is None else ranks.from_first(folder.read_checkpoint)
            if resume is not None and checkpoint is None:  # killed before its first; else the checkpoint knows
                started = ranks.from_first(folder.read_environment).get("data", {"digest": trainer.data.digest})
                if started["digest"] != trainer.data.digest:
                    raise ConfigError("data", f"must be the images of the run, not those of {config.data!r}.")
            if checkpoint is not None:
                trainer.load_state_dict(checkpoint["state"])
            elif config.fine_tune is not None:
                trainer.start_from(ranks.from_first(partial(starting_state, config.fine_tune)))
            if dry_run:
                if ranks.first:
                    common.print_json({"config": config.to_dict(), "resolved": _resolved(trainer)} | place)
                return
            if resume is None:
                folder = _new_folder(place["out"], place["name"], trainer)
            else:
                folder.write_config(content_of(config))
                common.note_resumed(folder, f"{trainer.seen / 1000:g} kimg", ranks, progress)
            progress.say(f"Run folder: {folder.path}")

            def show(trainer: Trainer, line: Line | None) -> None:
                if line is not None:
                    terms = [term for term in ("loss_d", "loss_g", "penalty", "diversity") if term in line]
                    note = ", ".join([f"{line['resolution']} px", *(f"{term} {line[term]:.3g}" for term in terms)])
                    progress("Training", min(trainer.seen, config.images), config.images, note)

            with common.resumable(folder, ranks, "gan train"), contextlib.closing(progress):
                record_training(trainer, folder, tensorboard=tensorboard, wandb=wandb, on_step=show)
        if ranks.first:
            _print_result(trainer, folder, as_json=as_json)


@contextlib.contextmanager
def _flushing_denormals() -> Iterator[None]:
    """Take tiny numbers for 0 within the block: a fading block's first steps make many, and a CPU is slow with them."""
    import torch

    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)


def _new_config(given: dict[str, Any], ranks: Ranks) -> TrainConfig:
    if given.get("fine_tune") is not None:
        from directions.gan.recording import read_training

        theirs = ranks.from_first(lambda: read_training(given["fine_tune"]))
        given = {field: getattr(theirs, field) for field in ("dim_z", "channels", "resolution")} | given
    return TrainConfig(**given)


def _old_config(resume: Path, given: dict[str, Any], ranks: Ranks, **misplaced: object) -> TrainConfig:
    from directions.gan.recording import read_training

    recorded = ranks.from_first(lambda: read_training(resume))
    config = common.resumed_config(recorded, given, RESUMABLE, **misplaced)
    if config.kimg != recorded.kimg and config.decay_from < 1:
        raise ConfigError("kimg", "cannot change when rates decay towards the end (--decay-from below 1).")
    return config


def _trainer(config: TrainConfig, progress: common.ProgressBar, ranks: Ranks) -> Trainer:
    from directions.device import keep_freed_memory, resolve_device
    from directions.gan.data import open_data
    from directions.gan.trainer import Trainer

    device = resolve_device(ranks.device(config.device))
    keep_freed_memory()
    with ranks.in_turn():  # the others find the reduced images
        data = open_data(config, on_image=lambda done, total: progress("Reading images", done, total, ""))
    progress.close()  # a warning may follow
    left_out = f"; left out: {', '.join(data.left_out)}" if data.left_out else ""
    progress.say(f"Images: {len(data)} of {config.data}{left_out}.")
    own = ("data", "cache", "device")
    same = {option_name(field): value for field, value in config.to_dict().items() if field not in own}
    ranks.require_same({"directions": __version__, "the images' digest": data.digest} | same)
    return Trainer(config, data, device, ranks)


def _new_folder(out: str, name: str, trainer: Trainer) -> RunFolder:
    from directions.gan.recording import content_of
    from directions.run import RunFolder

    ranks, data, content = trainer.ranks, trainer.data, content_of(trainer.config)
    facts = {"data": {"path": trainer.config.data, "digest": data.digest}}
    folder = RunFolder.create(out, name, content, ranks=ranks, facts=facts)
    folder.log(f"Started on {len(data)} images of {trainer.config.data!r}, digest {data.digest}.")
    return folder


def _resolved(trainer: Trainer) -> dict[str, Any]:
    """What --dry-run prints beside the settings."""
    networks = {"generator": trainer.arch.generator, "discriminator": trainer.arch.discriminator}
    sizes = {
        f"{name}_parameters_millions": round(sum(p.numel() for p in network.parameters()) / 1e6, 3)
        for name, network in networks.items()
    }
    return {
        "images": len(trainer.data),
        "digest": trainer.data.digest,
        "device": str(trainer.device),
        "world_size": trainer.ranks.world_size,
        "growth_kimg": trainer.config.growth / 1000,
        "first_kimg": trainer.seen / 1000,
    } | sizes


def _print_result(trainer: Trainer, folder: RunFolder, *, as_json: bool) -> None:
    last = (folder.read_stats() or [{}])[-1]
    weights = folder.path / "weights.safetensors"
    if as_json:
        common.print_json({"folder": str(folder.path), "weights": str(weights), "last": last})
        return
    typer.echo(f"Trained for {trainer.seen / 1000:g} kimg: {weights}")
    if "diversity" in last:
        typer.echo(f"Spread of generated images over that of real ones: {last['diversity']:.2f}")
    run = shlex.quote(str(folder.path))
    typer.echo(f"Samples:             {folder.path / 'samples'}")
    typer.echo(f"Find directions:     directions discover --generator {run}")
