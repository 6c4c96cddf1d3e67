"""What the ranks do in tests; by names that a new process can import."""

from __future__ import annotations

import os
import signal
import time
from typing import Any

import torch

from directions.distributed.joining import joined
from directions.distributed.ranks import Ranks
from directions.errors import RankLostError, UserError


def exchanges() -> dict[str, Any]:
    """Every exchange once, with what it gave on this rank."""
    with joined() as ranks:
        mine = ranks.share(range(5))
        big, small = torch.full((2, 3), 1.0 + ranks.rank), torch.tensor(0.1, dtype=torch.float64)
        sums = ranks.sum([big, small])
        own = torch.tensor([float(ranks.rank)])
        ranks.align(own)
        seen: dict[str, Any] = {
            "rank": (ranks.rank, ranks.world_size, ranks.first),
            "share": list(mine),
            "collected": ranks.collect([10 * number for number in mine]),
            "sum": sums[0].tolist(),
            "sum types": [tensor.dtype for tensor in sums],
            "small": float(sums[1]),
            "untouched": big.unique().tolist(),
            "aligned": own.tolist(),
            "from first": ranks.from_first(lambda: f"made by {ranks.rank}"),
            "device": [ranks.device("cpu"), ranks.device("auto")],
            "command": ranks.command,
        }
        seen |= {name: _refused(ranks, name) for name in ("cuda:1", "cuda")}
        ranks.require_same({"seed": 0})
        if ranks.rank == 1:
            ranks.request_stop(signal.SIGTERM)
        seen["before the exchange"] = ranks.stop_signal
        ranks.wait()
        seen["after the exchange"] = ranks.stop_signal
        return seen


def _refused(ranks: Ranks, device: str) -> str:
    try:
        ranks.device(device)
    except UserError as error:
        return str(error)
    return ""


def differing() -> None:
    """The ranks were not started alike."""
    with joined() as ranks:
        ranks.require_same({"seed": ranks.rank})


def losing(how: str) -> None:
    """The last rank goes; the others wait for it."""
    with joined() as ranks:
        ranks.wait()
        if ranks.rank == ranks.world_size - 1:
            if how == "killed":
                os.kill(os.getpid(), signal.SIGKILL)
            if how == "failing":
                raise UserError("This rank has no weights.")
            if how == "hanging":
                time.sleep(30)
        ranks.sum([torch.ones(3)])


def told(function: str, *arguments: str) -> None:
    """Do something, and say what went wrong as the command line does."""
    try:
        globals()[function](*arguments)
    except (UserError, RankLostError) as error:
        print(f"Error: {error}")
        raise SystemExit(2 if isinstance(error, UserError) else 1) from None
