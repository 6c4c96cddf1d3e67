"""Trainings that take no time, also in processes of their own, which can be killed."""

from __future__ import annotations

import multiprocessing
import time
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import numpy as np
import torch

from directions.gan.data import ImageData
from directions.gan.recording import content_of, record_training
from directions.gan.trainer import Trainer
from directions.ranks import joined
from directions.run import RunFolder
from directions.settings.train import TrainConfig

SETTINGS = {
    "data": "none", "resolution": 8, "channels": (6, 4), "dim_z": 3, "batch_size": (4,), "kimg": 0.08,
    "stable_kimg": (0.012,), "fade_kimg": (0.02,), "stats_every": 3, "sheet_kimg": 0.03, "penalty": "hessian",
    "infogan": 2, "ema_kimg": 0.05,
}  # fmt: skip


def config(**changes: object) -> TrainConfig:
    """Settings of a run of 20 steps, which grows from 4 to 8 pixels at step 3."""
    return TrainConfig(**(SETTINGS | changes))


def pictures(size: int = 8, count: int = 24) -> ImageData:
    """Noise to train on."""
    pixels = np.random.default_rng(0).integers(0, 256, (count, size, size, 3), np.uint8)
    return ImageData(pixels, f"noise-{size}")


def leaves(state: Any) -> Any:
    """Every tensor of a state as its bytes."""
    if isinstance(state, dict):
        return {name: leaves(value) for name, value in state.items()}
    return state.numpy().tobytes() if isinstance(state, torch.Tensor) else state


def outcome(folder: RunFolder) -> tuple[object, ...]:
    """Everything of a run folder that must not depend on interruptions."""
    stats = [{**line, "seconds": None} for line in folder.read_stats()]
    state = torch.load(folder.checkpoint_path, weights_only=True)["state"]
    kept = leaves({name: state[name] for name in ("networks", "optimisers", "counters")})
    sheets = {path.name: path.read_bytes() for path in (folder.path / "samples").iterdir()}
    return stats, kept, (folder.path / "weights.safetensors").read_bytes(), sheets


def spawn(out: Path, name: str) -> BaseProcess:
    """Start a run in ``out``, or go on with the one that is there, with a checkpoint after each step.

    Args:
        out: Folder for runs.
        name: Name of the run.

    Returns:
        The process, started.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["torch", "torch._dynamo", "directions.gan.recording"])
    process = context.Process(target=_run, args=(out, name))
    process.start()
    return process


def _run(out: Path, name: str) -> None:
    torch.set_num_threads(1)
    settings = config(checkpoint_minutes=0.0)
    trainer = Trainer(settings, pictures())
    made = sorted(out.glob(f"*-{name}"))
    if made and (made[-1] / "config.json").exists():
        folder = RunFolder.open(made[-1])
        checkpoint = folder.read_checkpoint()
        if checkpoint is not None:
            trainer.load_state_dict(checkpoint["state"])
    else:
        folder = RunFolder.create(out, name, content_of(settings))
    record_training(trainer, folder, on_step=lambda trainer, line: time.sleep(0.002))


def gan_steps(settings: dict[str, Any], steps: int) -> dict[str, Any]:
    """Steps of a training on shared batches, with what came out on this rank."""
    with joined() as ranks:
        trainer = Trainer(TrainConfig.from_dict(settings), pictures(), ranks=ranks)
        lines, gradients = [], {}
        for _ in range(steps):
            trainer.train_step()
            gradients = gradients or gradients_of(trainer)
            lines.append(trainer.record())
        weights = {name: tensor.numpy() for name, tensor in trainer.arch.generator.state_dict().items()}
        return {"records": lines, "weights": weights, "gradients": gradients}


def gradients_of(trainer: Trainer) -> dict[str, Any]:
    """What the last step of each network went by, as one row of numbers."""
    networks = {"discriminator": trainer.arch.discriminator, "generator": trainer.arch.generator}
    return {
        name: torch.cat([p.grad.flatten() for p in network.parameters() if p.grad is not None]).numpy()
        for name, network in networks.items()
    }
