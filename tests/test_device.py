"""Devices by name, TF32 kept out, and errors that say that memory ran out."""

from __future__ import annotations

import pytest
import torch

from directions.device import explained, full_float32, multiplying, resolve_device
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


@pytest.mark.parametrize("before", ["tf32", "float32"])
def test_full_float32_switches_tf32_off_and_back(before):
    """The caller's setting returns, also after an error."""
    backends = torch.backends.cudnn, torch.backends.cuda.matmul

    def fail_inside():
        with full_float32():
            assert not any(backend.allow_tf32 for backend in backends)
            raise RuntimeError("inside")

    with multiplying(before):
        with pytest.raises(RuntimeError, match="inside"):
            fail_inside()
        assert [backend.allow_tf32 for backend in backends] == [before == "tf32"] * 2


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
