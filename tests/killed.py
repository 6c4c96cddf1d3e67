"""Runs in processes of their own, which are killed; they are forked from one that has imported torch already."""

from __future__ import annotations

import multiprocessing
import random
import time
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import torch
from closed import DoubleGenerator

from directions.discovery import discover
from directions.run import RunFolder, record_run
from directions.settings.discover import DiscoverConfig


def spawn(work: Callable[..., None], *arguments: Any) -> BaseProcess:
    """Start a process.

    Args:
        work: Called in it, by a name that can be imported.
        arguments: What it is called with.

    Returns:
        The process, started.
    """
    context = multiprocessing.get_context("forkserver")
    # The first optimiser of a process imports torch._dynamo, which takes as long as all the rest.
    context.set_forkserver_preload(["torch", "torch._dynamo", "directions.gan.recording"])
    process = context.Process(target=work, args=arguments)
    process.start()
    return process


def kill_at_random(start: Callable[[], BaseProcess], shortest: float, longest: float) -> None:
    """Start four processes that are killed after some seconds, and one that comes to its end."""
    rng = random.Random(0)
    for kills in range(5):
        process = start()
        process.join(rng.uniform(shortest, longest) if kills < 4 else None)
        process.kill()
        process.join()
    assert process.exitcode == 0


def begun(out: Path, name: str, content: dict[str, Any]) -> tuple[RunFolder, dict[str, Any] | None]:
    """The folder of a run, which is made where there is none, and the state from which the run goes on."""
    made = sorted(out.glob(f"*-{name}"))
    if made and (made[-1] / "config.json").exists():
        folder = RunFolder.open(made[-1])
        return folder, (folder.read_checkpoint() or {}).get("state")
    return RunFolder.create(out, name, content), None


def discovery(out: Path, name: str, new: DiscoverConfig) -> None:
    """Start a run in ``out`` with settings of a new one, or go on with the one that is there."""
    torch.set_num_threads(1)
    generator = DoubleGenerator()
    folder, state = begun(out, name, new.to_dict())
    snapshots = discover(generator, DiscoverConfig.from_dict(folder.read_config()), resume_from=state)
    record_run(snapshots, generator, folder, on_record=lambda record: time.sleep(0.002))
