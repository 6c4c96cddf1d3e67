"""Ranks share, exchange and agree; one that is lost ends the others, and one of them says so."""

from __future__ import annotations

import signal

import pytest
import torch
from ranks import Started, exchanges, told

from directions.errors import UserError
from directions.ranks import Processes, joined


def test_exchanges_give_all_ranks_the_same():
    """Shares are disjoint and come back in order; sums and decisions are the same everywhere."""
    one, other = Started(exchanges).results()
    assert (one.pop("rank"), other.pop("rank")) == ((0, 2, True), (1, 2, False))
    assert (one.pop("share"), other.pop("share")) == ([0, 2, 4], [1, 3])
    assert one == other
    assert one["collected"] == [0, 10, 20, 30, 40]
    assert one["sum"] == [[3.0] * 3] * 2
    assert one["sum types"] == [torch.float32, torch.float64]
    assert one["aligned"] == [0.0]
    assert one["from first"] == "made by 0"
    assert one["command"] == "torchrun --nproc-per-node 2 -m directions"
    assert (one["before the exchange"], one["after the exchange"]) == (0, signal.SIGTERM)
    assert "Choose GPUs with CUDA_VISIBLE_DEVICES" in one["cuda:1"]
    if not torch.cuda.is_available():
        assert one["device"] == ["cpu", "cpu"]
        assert "device 'cuda' is not there" in one["cuda"]


def test_device_is_the_gpu_of_the_local_rank(monkeypatch):
    """Each rank of a machine takes its own; too few of them is an error that says how many there are."""
    ranks = object.__new__(Processes)
    ranks._local_rank, ranks._local_size = 1, 2
    chosen = []
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.set_device", chosen.append)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    assert ranks.device("auto") == ranks.device("cuda") == "cuda:1"
    assert chosen == [1, 1]
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    with pytest.raises(UserError, match=r"2 ranks on a machine need as many GPUs, but torch sees 1 .*node 1"):
        ranks.device("cuda")


@pytest.mark.parametrize(
    ("work", "codes", "message"),
    [
        (("differing",), [2, 2], "Error: All ranks must be started alike: seed is 0 on rank 0, 1 on rank 1"),
        (("losing", "failing"), [1, 2], "Error: This rank has no weights."),
        (("losing", "killed"), [1, -9], "Error: Rank 0 of 2 has lost another rank"),
        (("losing", "hanging"), [1, -9], "Error: Rank 0 of 2 has waited 2 seconds for another rank in vain"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_what_goes_wrong_is_told_once(tmp_path, work, codes, message):
    """By the rank that knew first; none is left waiting, not even for one that hangs."""
    started = Started(told, *work, out=tmp_path, timeout=2 if "hanging" in work else 60)
    if "hanging" in work:
        started.processes[0].join(20)
        started.processes[1].kill()
    assert started.exit_codes() == codes
    printed = started.printed(0) + started.printed(1)
    assert message in printed
    assert printed.count("Error:") == 1
    assert "Traceback" not in printed


def test_joined_refuses_a_wrong_environment(monkeypatch):
    """Before anything is waited for."""
    for name in ("MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "0")
    with pytest.raises(UserError, match="WORLD_SIZE is 2, but MASTER_ADDR and MASTER_PORT not set"), joined():
        pass
