"""Devices by name, TF32 kept out, and errors that say that memory ran out."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest
import torch

from directions.device import explained, full_float32, resolve_device
from directions.errors import OutOfMemoryError, UserError


def test_resolve_device_finds_what_is_there(monkeypatch):
    """auto is CUDA exactly where there is one."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert resolve_device("cpu") == resolve_device("auto") == "cpu"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert resolve_device("auto") == "cuda"
    assert resolve_device("cuda:1") == "cuda:1"
    with pytest.raises(UserError, match=r"device 'cuda:2' is not there: torch sees 2 GPU\(s\), cuda:0 to cuda:1"):
        resolve_device("cuda:2")


@pytest.mark.parametrize("before", [True, False])
def test_full_float32_switches_tf32_off_and_back(before):
    """The caller's setting returns, also after an error."""
    backends = torch.backends.cudnn, torch.backends.cuda.matmul
    kept = [backend.allow_tf32 for backend in backends]

    def fail_inside():
        with full_float32():
            assert not any(backend.allow_tf32 for backend in backends)
            raise RuntimeError("inside")

    try:
        for backend in backends:
            backend.allow_tf32 = before
        with pytest.raises(RuntimeError, match="inside"):
            fail_inside()
        assert [backend.allow_tf32 for backend in backends] == [before] * 2
    finally:
        for backend, setting in zip(backends, kept, strict=True):
            backend.allow_tf32 = setting


@pytest.mark.parametrize(
    "error",
    [
        None,
        MemoryError(),
        torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
        RuntimeError("[enforce fail at alloc_cpu.cpp:80] data. DefaultCPUAllocator: not enough memory: you tried to"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    ],
    ids=lambda error: str(error)[:40] or type(error).__name__,
)
def test_explained_says_what_to_try(error):
    """Whatever raises it; who is nearer knows more."""

    def run_out():
        with explained(lambda: OutOfMemoryError("outer")), explained(lambda: OutOfMemoryError("Try less.", 3)):
            if error is None:
                torch.empty(2**60, dtype=torch.uint8)  # the real one, of this version of torch
            raise error

    with pytest.raises(OutOfMemoryError, match="Try less") as caught:
        run_out()
    assert caught.value.micro_batch == 3
    assert error is None or caught.value.__cause__ is error


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc hands memory back in this way")
def test_freed_memory_is_kept():
    """In a process of its own: what is freed stays, and is what the next large array gets."""
    code = (
        "import resource, numpy as np\n"
        "from directions.device import keep_freed_memory\n"
        "assert keep_freed_memory()\n"
        "faults = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_minflt\n"
        "np.ones(8_000_000)\n"
        "before = faults()\n"
        "np.ones(8_000_000)\n"
        "print(faults() - before)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert int(done.stdout) < 100
