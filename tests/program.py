"""Programs: the command in a process of its own, those of scripts/ and examples/ as modules."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).parents[1]
PROGRAM = [sys.executable, "-m", "directions"]
ENVIRONMENT = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
"""What a process needs to find the package and the tests' modules from any folder."""


def load_program(path: str) -> ModuleType:
    """Run a file as a module, without its main function.

    Args:
        path: Such as ``scripts/render_letters.py``.

    Returns:
        The module.
    """
    spec = importlib.util.spec_from_file_location(Path(path).stem, ROOT / path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module
