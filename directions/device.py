"""Devices by name, how precisely they multiply, and memory that runs out; torch is imported only where it is needed."""

from __future__ import annotations

import contextlib
import ctypes
import platform
import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from directions.errors import OutOfMemoryError, UserError

if TYPE_CHECKING:
    import torch

    from directions.settings.discover import Precision

# How messages of PyTorch's CPU allocator on Linux and Windows, of CUDA, and of its libraries name it.
_OUT_OF_MEMORY = ("can't allocate memory", "not enough memory", "out of memory", "STATUS_ALLOC_FAILED")


def to_tensor(value: Any, device: torch.device | None = None) -> torch.Tensor:
    """Make a tensor of numbers; of a NumPy array a copy, which may be read-only, reversed or of another byte order."""
    import torch

    if isinstance(value, np.ndarray):
        value = np.array(value, dtype=value.dtype.newbyteorder("="), order="C")
    return torch.as_tensor(value, device=device)


def resolve_device(name: str) -> str:
    """Turn a device as users name it into one that is there.

    Args:
        name: ``"cpu"``, ``"cuda"``, ``"cuda:N"``, or ``"auto"`` for CUDA where there is one.

    Returns:
        The name of a device that torch can use, never ``"auto"``.

    Raises:
        UserError: If the name is unknown or the device is not there.
    """
    import torch

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
    """Multiply float32 numbers as float32 within the block, also on GPUs that would round them to TF32."""
    # The penalty divides differences of images by epsilon² (0.01), which makes TF32's errors of 2⁻¹¹ a hundred times as
    # large; convolutions use TF32 unless told otherwise.
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
    import torch

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
    import torch

    return torch.autocast(device.type, torch.bfloat16) if precision == "bf16" else contextlib.nullcontext()


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out: PyTorch raises one kind on GPUs, another on the CPU, NumPy a third.

    Args:
        error: Any.

    Returns:
        True for ``MemoryError``, for ``torch.cuda.OutOfMemoryError``, and for a ``RuntimeError`` whose message says so.

    Example:
        >>> is_out_of_memory(RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes."))
        True
        >>> is_out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
        False
    """
    said_so = any(phrase in str(error) for phrase in _OUT_OF_MEMORY)
    return isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and said_so)


@contextlib.contextmanager
def explained(explain: Callable[[], OutOfMemoryError]) -> Iterator[None]:
    """Within the block, memory that runs out becomes an error that says what to try; an inner block's words are kept.

    Args:
        explain: Makes the error, once it is needed.

    Yields:
        Nothing.

    Raises:
        OutOfMemoryError: What ``explain`` gives, if memory ran out; other errors of the block pass.
        RuntimeError: What the block raised, if it is about something else.
    """
    try:
        yield
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        raise explain() from error


def keep_freed_memory() -> bool:
    """Let this process keep memory that it frees for what it needs next, instead of handing it back to the system.

    For programs that make the same large arrays over and over on a CPU: handing them back and getting them anew, page
    by page, costs about a quarter of a step of a BigGAN. The process then looks as large as it ever was.

    Returns:
        Whether it could be arranged; elsewhere than with glibc (Linux) nothing changes.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    # M_MMAP_MAX = 0: nothing gets pages of its own. M_TRIM_THRESHOLD: the heap's free end is not handed back.
    return bool(mallopt(-4, 0)) and bool(mallopt(-1, 2**31 - 1))
