"""Devices by name, and TF32 kept out."""

from __future__ import annotations

import pytest
import torch

from directions.devices import full_float32, resolve_device
from directions.errors import UserError


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


@pytest.mark.parametrize("name", ["cuda", "cuda:0"])
def test_resolve_device_refuses_missing_gpu(name, monkeypatch):
    """The error says what to use instead."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match=f"device '{name}' is not there: .* Use --device cpu"):
        resolve_device(name)


def test_resolve_device_refuses_unknown_names():
    """Only CPU and CUDA are offered."""
    with pytest.raises(UserError, match="device must be cpu, cuda, cuda:N or auto, got 'tpu'"):
        resolve_device("tpu")


@pytest.fixture
def tf32(request):
    """Set the caller's choice, and put back what was there."""
    kept = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = request.param
    yield request.param
    torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = kept


@pytest.mark.parametrize("tf32", [True, False], indirect=True)
def test_full_float32_switches_tf32_off_and_back(tf32):
    """The caller's setting returns, also after an error."""

    def fail_inside():
        with full_float32():
            assert not torch.backends.cudnn.allow_tf32
            assert not torch.backends.cuda.matmul.allow_tf32
            raise RuntimeError("inside")

    with pytest.raises(RuntimeError, match="inside"):
        fail_inside()
    assert torch.backends.cudnn.allow_tf32 is tf32
    assert torch.backends.cuda.matmul.allow_tf32 is tf32
