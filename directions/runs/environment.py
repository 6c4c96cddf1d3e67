"""Where a run takes place: versions, processor, threads, as far as they may change the last digits of its numbers.

Written into the run folder at the start of a run, and compared when it is resumed.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import directions

_ROUNDING = ("torch", "machine", "cpu", "threads", "gpu", "world_size")


def describe_environment(world_size: int = 1) -> dict[str, Any]:
    """Describe where a run takes place.

    Args:
        world_size: Number of processes that work on it.

    Returns:
        Versions, machine, threads, number of processes and the command's arguments, as plain JSON types.
    """
    import torch

    return {
        "directions": directions.__version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": metadata.version("numpy"),
        "system": platform.platform(),
        "machine": platform.machine(),
        "cpu": _cpu_name(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "world_size": world_size,
        "arguments": sys.argv[1:],
    }


def environment_changes(recorded: Path, world_size: int = 1) -> list[str]:
    """Say in what the present environment differs from a recorded one, as far as it may change the rounding of numbers.

    Args:
        recorded: File with what `describe_environment` returned, JSON.
        world_size: Number of processes now.

    Returns:
        One phrase for each difference.
    """
    try:
        before = {"world_size": 1} | json.loads(recorded.read_text(encoding="utf-8"))  # not in older ones
    except (OSError, ValueError, TypeError):
        return [f"{recorded.name} is missing or damaged"]
    now = describe_environment(world_size)
    return [f"{name} was {before.get(name)}, is {now[name]}" for name in _ROUNDING if before.get(name) != now[name]]


def _cpu_name() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor()
