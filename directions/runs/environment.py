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

_ROUNDING = ("torch", "machine", "cpu", "threads", "gpu")


def describe_environment() -> dict[str, Any]:
    """Return versions, machine, threads and the command's arguments, as plain JSON types."""
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
        "arguments": sys.argv[1:],
    }


def environment_changes(recorded: Path) -> list[str]:
    """Say in what the present environment differs from a recorded one, as far as it may change the rounding of numbers.

    Args:
        recorded: File with what `describe_environment` returned, JSON.

    Returns:
        One phrase for each difference.
    """
    try:
        before = json.loads(recorded.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return [f"{recorded.name} is missing or damaged"]
    now = describe_environment()
    return [f"{name} was {before.get(name)}, is {now[name]}" for name in _ROUNDING if before.get(name) != now[name]]


def _cpu_name() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor()
