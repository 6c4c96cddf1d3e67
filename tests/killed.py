"""Runs in processes of their own, which can be killed; they are forked from one that has imported torch already."""

from __future__ import annotations

import multiprocessing
import time
from multiprocessing.process import BaseProcess
from pathlib import Path

import torch
from closed import DoubleGenerator

from directions.discovery import discover
from directions.run import RunFolder, record_run
from directions.settings.discover import DiscoverConfig


def spawn(out: Path, name: str, config: DiscoverConfig) -> BaseProcess:
    """Start a run in ``out``, or go on with the one that is there.

    Args:
        out: Folder for runs.
        name: Name of the run.
        config: Settings of a new run.

    Returns:
        The process, started.
    """
    context = multiprocessing.get_context("forkserver")
    # The first optimiser of a process imports torch._dynamo, which takes as long as all the rest.
    context.set_forkserver_preload(["torch", "torch._dynamo", "directions.run"])
    process = context.Process(target=_run, args=(out, name, config))
    process.start()
    return process


def _run(out: Path, name: str, new: DiscoverConfig) -> None:
    torch.set_num_threads(1)
    generator = DoubleGenerator()
    made = sorted(out.glob(f"*-{name}"))
    if made and (made[-1] / "config.json").exists():
        folder = RunFolder.open(made[-1])
        config = DiscoverConfig.from_dict(folder.read_config())
        state = (folder.read_checkpoint() or {}).get("state")
    else:
        config, state = new, None
        folder = RunFolder.create(out, name, config.to_dict())
    snapshots = discover(generator, config, resume_from=state)
    record_run(snapshots, generator, folder, on_record=lambda record: time.sleep(0.002))
