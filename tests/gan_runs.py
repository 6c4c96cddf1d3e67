"""Trainings that take no time, also in processes of their own, which can be killed."""

from __future__ import annotations

import multiprocessing
import time
from multiprocessing.process import BaseProcess
from pathlib import Path

import numpy as np
import torch

from directions.gan.config import TrainConfig
from directions.gan.data.images import ImageData
from directions.gan.recording import record_training
from directions.gan.run_folder import TrainingFolder
from directions.gan.trainer import Trainer

SETTINGS = {
    "data": "none",
    "resolution": 8,
    "channels": (6, 4),
    "dim_z": 3,
    "batch_size": (4,),
    "kimg": 0.08,
    "stable_kimg": (0.012,),
    "fade_kimg": (0.02,),
    "stats_every": 3,
    "sheet_kimg": 0.03,
    "penalty": "hessian",
    "infogan": 2,
    "ema_kimg": 0.05,
}


def config(**changes: object) -> TrainConfig:
    """Settings of a run of 20 steps, which grows from 4 to 8 pixels at step 3."""
    return TrainConfig.of(**(SETTINGS | changes))


def pictures(size: int = 8, count: int = 24) -> ImageData:
    """Noise to train on."""
    pixels = np.random.default_rng(0).integers(0, 256, (count, size, size, 3), np.uint8)
    return ImageData(pixels, f"noise-{size}")


def outcome(folder: TrainingFolder) -> tuple[object, ...]:
    """Everything of a run folder that must not depend on interruptions."""
    state = torch.load(folder.run.checkpoint_path, weights_only=True)["state"]
    stats = [{**line, "seconds": None} for line in folder.run.read_stats()]
    tensors = {
        f"{network}.{name}": tensor.numpy().tobytes()
        for network, entries in state["networks"].items()
        for name, tensor in entries.items()
    }
    moments = {
        f"{name}.{index}.{key}": value.numpy().tobytes()
        for name, optimiser in state["optimisers"].items()
        for index, entry in optimiser["state"].items()
        for key, value in entry.items()
    }
    sheets = {path.name: path.read_bytes() for path in folder.sheets_path.iterdir()}
    return stats, tensors, moments, state["counters"], folder.weights_path.read_bytes(), sheets


def spawn(out: Path, name: str) -> BaseProcess:
    """Start a run in ``out``, or go on with the one that is there, with a checkpoint after each step.

    Args:
        out: Folder for runs.
        name: Name of the run.

    Returns:
        The process, started.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["torch", "directions.gan.recording"])
    process = context.Process(target=_run, args=(out, name))
    process.start()
    return process


def _run(out: Path, name: str) -> None:
    torch.set_num_threads(1)
    settings = config(checkpoint_minutes=0.0)
    trainer = Trainer(settings, pictures())
    made = sorted(out.glob(f"*-{name}"))
    if made and (made[-1] / "config.json").exists():
        folder = TrainingFolder.open(made[-1])
        state = folder.read_checkpoint()
        if state is not None:
            trainer.load_state_dict(state)
    else:
        folder = TrainingFolder.create(out, name, settings, trainer.arch.export_config())
    record_training(trainer, folder, on_step=lambda trainer, record: time.sleep(0.002))
