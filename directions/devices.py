"""Where tensors live and how precisely they are multiplied: the device by name, and full float32 on GPUs.

Used by whatever runs a generator, before anything is loaded. Nothing here knows about generators.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator

import torch

from directions.config import Precision
from directions.errors import UserError


def resolve_device(name: str) -> str:
    """Turn a device as users name it into one that is there.

    Args:
        name: ``"cpu"``, ``"cuda"``, ``"cuda:N"``, or ``"auto"`` for CUDA where there is one.

    Returns:
        The name of a device that torch can use, never ``"auto"``.

    Raises:
        UserError: If the name is unknown or the device is not there.
    """
    available = torch.cuda.is_available()
    if name == "auto":
        return "cuda" if available else "cpu"
    if name == "cpu":
        return name
    match = re.fullmatch(r"cuda(?::(\d+))?", name)
    if match is None:
        raise UserError(f"device must be cpu, cuda, cuda:N or auto, got {name!r}.")
    if not available:
        raise UserError(f"device {name!r} is not there: torch {torch.__version__} sees no CUDA GPU. Use --device cpu.")
    count = torch.cuda.device_count()
    if int(match[1] or 0) >= count:
        raise UserError(f"device {name!r} is not there: torch sees {count} GPU(s), cuda:0 to cuda:{count - 1}.")
    return name


def full_float32() -> contextlib.AbstractContextManager[None]:
    """Multiply float32 numbers as float32 within the block, also on GPUs that would round them to TF32.

    The penalty divides differences of images by ``epsilon**2`` (0.01 by default), which makes TF32's errors of 2⁻¹¹ a
    hundred times as large; convolutions use TF32 unless told otherwise.

    Returns:
        The block.
    """
    return multiplying("float32")


@contextlib.contextmanager
def multiplying(precision: Precision) -> Iterator[None]:
    """Within the block, multiply float32 numbers on GPUs as TF32 if that is the precision, else as float32.

    For backward passes too, which `in_precision` does not reach.

    Args:
        precision: Of the passes of a step.

    Yields:
        Nothing.
    """
    convolutions = torch.backends.cudnn.allow_tf32
    products = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = convolutions
        torch.backends.cuda.matmul.allow_tf32 = products


def in_precision(precision: Precision, device: torch.device) -> contextlib.AbstractContextManager[object]:
    """Within the block, a generator makes its images in a precision.

    Args:
        precision: Of the passes of a step.
        device: Where the generator is.

    Returns:
        The block: for bf16 torch's autocast, else nothing; see `multiplying` for TF32.
    """
    if precision == "bf16":
        return torch.autocast(device.type, torch.bfloat16)
    return contextlib.nullcontext()
