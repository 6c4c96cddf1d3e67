"""Let torch.compile make one program of a generator's passes, or say why it cannot.

Used by the generators of this package when ``--compile`` asks for it. The program is made at the first call, for the
shapes of that call, which takes a minute or two for a large generator; other shapes make others.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from collections.abc import Callable
from typing import Any

import torch

from directions.errors import UserError

_COMPILERS = ("g++", "clang++", "c++")


def compiled(function: Callable[..., Any], device: torch.device) -> Callable[..., Any]:
    """Return a function that does the same, compiled at its first call.

    Args:
        function: Of tensors, and of what is the same at each call.
        device: Where it runs.

    Returns:
        The compiled function.

    Raises:
        UserError: If there is no compiler. The message begins with "compile".
    """
    require_compiler(device)
    program = torch.compile(function, dynamic=False)

    def call(*arguments: Any) -> Any:
        from torch._dynamo.exc import BackendCompilerFailed

        try:
            return program(*arguments)
        except BackendCompilerFailed as error:
            reason = str(error).strip().partition("\n")[0]
            raise UserError(
                f"compile did not work here, torch.compile says: {reason} Leave --compile out; the result is the same."
            ) from error

    return call


def require_compiler(device: torch.device) -> None:
    """Refuse to compile where that cannot work.

    Args:
        device: Where the compiled function is to run.

    Raises:
        UserError: If what it needs is missing. The message begins with "compile".
    """
    if device.type == "cuda":
        if importlib.util.find_spec("triton") is None:
            raise UserError(
                "compile needs the package triton for a GPU, and it is not installed. Install it, or leave --compile "
                "out."
            )
        return
    wanted = os.environ.get("CXX")
    names = (wanted,) if wanted else (*_COMPILERS, "cl") if sys.platform == "win32" else _COMPILERS
    if not any(shutil.which(name) for name in names):
        raise UserError(
            f"compile needs a C++ compiler, and none of {', '.join(names)} is there. Install one (such as the package "
            "g++), name it in the environment variable CXX, or leave --compile out."
        )
