"""Memory that runs out: telling such an error from others, and saying what to try.

PyTorch raises one kind of error on GPUs and another on the CPU, NumPy a third. Whoever knows what was being done,
discovery with its micro-batches or rendering with its batches, turns them into `OutOfMemoryError`. Torch is not
imported.
"""

from __future__ import annotations

import contextlib
import ctypes
import platform
from collections.abc import Callable, Iterator

from directions.errors import OutOfMemoryError

_PHRASES = ("can't allocate memory", "not enough memory", "out of memory", "STATUS_ALLOC_FAILED")
"""How messages of PyTorch's CPU allocator on Linux and Windows, of CUDA, and of its libraries name it."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out.

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
    if isinstance(error, MemoryError):
        return True
    is_torch_kind = any(kind.__name__ == "OutOfMemoryError" for kind in type(error).__mro__)
    return isinstance(error, RuntimeError) and (is_torch_kind or any(phrase in str(error) for phrase in _PHRASES))


@contextlib.contextmanager
def explained(explain: Callable[[], OutOfMemoryError]) -> Iterator[None]:
    """Within the block, memory that runs out becomes an error that says what to try; an inner block's words are kept.

    Args:
        explain: Makes the error, once it is needed.

    Yields:
        Nothing.

    Raises:
        OutOfMemoryError: What ``explain`` gives, if memory ran out.
        RuntimeError: What the block raised, if it is about something else.
    """
    try:
        yield
    except MemoryError as error:
        raise explain() from error
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        raise explain() from error


def smaller_divisors(batch: int, present: int) -> tuple[int, ...]:
    """List micro-batches to try instead of one that was too large.

    Args:
        batch: What they must divide.
        present: The one that was too large.

    Returns:
        The divisors that are at most half of it, the largest first; none for 1.

    Example:
        >>> smaller_divisors(96, 24)
        (12, 8, 6, 4, 3, 2, 1)
        >>> smaller_divisors(9, 9)
        (3, 1)
    """
    return tuple(size for size in range(present // 2, 0, -1) if batch % size == 0)


def keep_freed_memory() -> bool:
    """Let this process keep memory that it frees for what it needs next, instead of handing it back to the system.

    For programs that make the same large arrays over and over on a CPU: handing them back and getting them anew, page
    by page, costs about a quarter of a step of a BigGAN. The process then looks as large as it ever was.

    Returns:
        Whether it could be arranged; elsewhere than with glibc (Linux) nothing changes.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    # M_MMAP_MAX = 0: nothing gets pages of its own. M_TRIM_THRESHOLD: the heap's free end is not handed back.
    return bool(mallopt(-4, 0)) and bool(mallopt(-1, 2**31 - 1))
