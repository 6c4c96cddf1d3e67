"""Errors that say that memory ran out, told from others."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest
import torch

from directions.errors import OutOfMemoryError, UserError
from directions.memory import explained, is_out_of_memory, keep_freed_memory, smaller_divisors

SHORT = [
    MemoryError(),
    torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
    RuntimeError("[enforce fail at alloc_cpu.cpp:121] err == 0. DefaultCPUAllocator: can't allocate memory: you tried"),
    RuntimeError("[enforce fail at alloc_cpu.cpp:80] data. DefaultCPUAllocator: not enough memory: you tried to"),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
]  # fmt: skip
OTHER = [RuntimeError("mat1 and mat2 shapes cannot be multiplied"), ValueError("out of memory"), KeyError("a")]


def test_cpu_allocator_s_error_is_recognised():
    """The real one, of this version of torch, for more bytes than any machine has."""
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**60, dtype=torch.uint8)
    assert is_out_of_memory(caught.value)


@pytest.mark.parametrize("error", SHORT, ids=lambda error: str(error)[:40] or type(error).__name__)
def test_explained_says_what_to_try(error):
    """Whatever raises it."""
    with (
        pytest.raises(OutOfMemoryError, match="Try less") as caught,
        explained(lambda: OutOfMemoryError("Try less.", 3)),
    ):
        raise error
    assert caught.value.__cause__ is error
    assert caught.value.micro_batch == 3


@pytest.mark.parametrize("error", OTHER, ids=repr)
def test_explained_lets_other_errors_pass(error):
    """They are not about memory."""
    with pytest.raises(type(error)) as caught, explained(lambda: OutOfMemoryError("Try less.")):
        raise error
    assert caught.value is error


def test_explained_keeps_the_words_of_an_inner_block():
    """Who is nearer knows more."""
    with pytest.raises(UserError, match="inner"), explained(lambda: OutOfMemoryError("outer")):  # noqa: SIM117 - nested
        with explained(lambda: OutOfMemoryError("inner")):
            raise MemoryError


def test_smaller_divisors_halve_at_least():
    """The largest first; none below one."""
    assert smaller_divisors(16, 16) == (8, 4, 2, 1)
    assert smaller_divisors(6, 3) == (1,)
    assert smaller_divisors(5, 5) == (1,)
    assert smaller_divisors(4, 1) == ()


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc hands memory back in this way")
def test_freed_memory_is_kept():
    """In a process of its own: what is freed stays, and is what the next large array gets."""
    code = (
        "import resource, numpy as np\n"
        "from directions.memory import keep_freed_memory\n"
        "assert keep_freed_memory()\n"
        "faults = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_minflt\n"
        "np.ones(8_000_000)\n"
        "before = faults()\n"
        "np.ones(8_000_000)\n"
        "print(faults() - before)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert int(done.stdout) < 100


def test_elsewhere_freed_memory_is_not_spoken_of(monkeypatch):
    """Nothing is done, and nothing fails."""
    monkeypatch.setattr("platform.libc_ver", lambda: ("", ""))
    assert not keep_freed_memory()
