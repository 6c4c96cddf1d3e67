"""The run folder of a training: settings, numbers as they come, checkpoints, sheets of samples, the generator."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from PIL import Image
from torch import Tensor

from directions.errors import Interrupted, NonFiniteError, RankLostError, UserError
from directions.files import atomic_write, explained
from directions.gan.trainer import Line, Trainer, train
from directions.generators.progan import ARCH, write_progan
from directions.generators.weights import WEIGHTS
from directions.rendering.frames import to_uint8
from directions.rendering.page import tiled
from directions.run import RunFolder, StopSignals, event_writer
from directions.settings.base import ConfigError
from directions.settings.train import TrainConfig

_COLUMNS = 12


def content_of(config: TrainConfig) -> dict[str, Any]:
    """Return what config.json holds: what a reader of the weights must know, and the settings."""
    generator = {name: getattr(config, name) for name in ("dim_z", "channels", "resolution")}
    return {"arch": ARCH, **generator, "training": config.to_dict()}


def read_training(path: str | os.PathLike[str]) -> TrainConfig:
    """Read the settings of a training run.

    Args:
        path: Its folder.

    Returns:
        What the run was started with.

    Raises:
        UserError: If it is no run folder, damaged, or that of another kind of run.
    """
    folder = RunFolder.open(path)
    training = folder.read_config().get("training")
    if not isinstance(training, dict):
        raise UserError(f"{path} is not a run of `gan train`: its config.json has no training.")
    try:
        return TrainConfig.from_dict(training)
    except ConfigError as error:
        raise UserError(f"{folder.config_path} cannot be used: {error} Start a new run.") from error


def starting_state(path: str) -> dict[str, Any]:
    """Read the run that ``--fine-tune`` names.

    Args:
        path: Its folder.

    Returns:
        The state of its checkpoint.

    Raises:
        UserError: If it is no training run, or damaged.
        ConfigError: If it has no checkpoint yet.
    """
    read_training(path)  # refuses other kinds of runs
    checkpoint = RunFolder.open(path).read_checkpoint()
    if checkpoint is None:
        raise ConfigError("fine_tune", f"must name a run with a checkpoint, got {path!r}, which has none yet.")
    state: dict[str, Any] = checkpoint["state"]
    return state


def record_training(
    trainer: Trainer,
    folder: RunFolder,
    *,
    tensorboard: bool = False,
    wandb: bool = False,
    on_step: Callable[[Trainer, Line | None], None] = lambda trainer, line: None,
) -> None:
    """Train to the end, or to a signal, and keep everything that a later resume needs.

    Args:
        trainer: Fresh, or as a checkpoint of the folder left it; of several ranks, each calls this with its own.
        folder: Where everything goes; of several ranks the first alone writes.
        tensorboard: Whether to write TensorBoard events too.
        wandb: Whether to send curves to Weights & Biases.
        on_step: Called after each step, with the line of stats.jsonl where there is one.

    Raises:
        NonFiniteError: If a loss or a weight is no number any more; the last good checkpoint is kept.
        RankLostError: If another rank is gone.
        UserError: If a file cannot be written.
        Interrupted: After SIGINT or SIGTERM, when the checkpoint has been written.
    """
    ranks, config = trainer.ranks, trainer.config
    weights_path = folder.path / WEIGHTS
    folder.remove_partial_files()
    folder.keep_stats(lambda line: line["step"] <= trainer.step)
    last = time.monotonic()
    try:
        curves = event_writer(folder, tensorboard=tensorboard, wandb=wandb)
        with curves as write_events, StopSignals(ranks) as stop, stop.deferred():
            for line in train(trainer):
                if line is not None:
                    folder.append_stats(line)
                    write_events(trainer.seen, {key: line[key] for key in line.keys() - {"step", "kimg"}})
                requested, due = stop.requested, False
                # Several ranks must find the same: they ask the first one's clock, and at lines only.
                if line is not None or ranks.world_size == 1:
                    past = time.monotonic() - last >= 60 * config.checkpoint_minutes
                    due = ranks.from_first(partial(bool, past))
                kept = due or requested or trainer.finished
                if kept:
                    trainer.check_finite()
                sheet = max(round(1000 * config.sheet_kimg), 1)
                crossed = trainer.seen // sheet != (trainer.seen - trainer.last_batch) // sheet
                if folder.writes and (crossed or trainer.finished):
                    path = folder.path / "samples" / f"kimg-{trainer.seen / 1000:09.3f}.png"
                    with explained(path.parent):
                        path.parent.mkdir(exist_ok=True)
                    with atomic_write(path) as partial_path:
                        sample_sheet(trainer.samples(_COLUMNS), columns=_COLUMNS).save(partial_path)
                if kept:
                    last = time.monotonic()
                    if folder.writes:
                        stage, kimg = trainer.last_stage, trainer.seen / 1000
                        write_progan(trainer.average, weights_path, level=stage.level, alpha=stage.alpha, kimg=kimg)
                    # Last: after a kill the steps that it has are not taken again, and what they leave must be there.
                    folder.write_checkpoint(trainer.state_dict())
                on_step(trainer, line)
                if requested:
                    ranks.wait()  # none leaves before the checkpoint is written
                    break
    except Interrupted:
        folder.log(f"Interrupted after step {trainer.step}; checkpoint written.")
        raise
    except (NonFiniteError, RankLostError, UserError) as error:
        folder.log(str(error))
        raise
    folder.log(f"Finished after {trainer.seen / 1000:g} kimg: {weights_path.name} written.")


def sample_sheet(images: Tensor, *, columns: int) -> Image.Image:
    """Lay images (batch, 3, height, width) in [-1, 1] out in rows, with two pixels of white between them."""
    return Image.fromarray(tiled(to_uint8(images), columns, gap=2))
