"""What the ranks do in tests; by names that a new process can import."""

from __future__ import annotations

import os
import signal
import time
import warnings
from typing import Any

import torch
from closed import DoubleGenerator

from directions.cli.main import main
from directions.discovery import discover
from directions.errors import RankLostError, UserError
from directions.evaluation.summary import summarise
from directions.ranks import Ranks, joined
from directions.settings.discover import DiscoverConfig


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


def discoveries(cases: dict[str, DiscoverConfig], states: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Runs, one after the other: the whole ones, and those that go on from a state, with what came out on this rank."""
    warnings.simplefilter("ignore")
    with joined() as ranks:
        found = {name: run_of(config, states.get(name), ranks) for name, config in cases.items()}
        try:
            run_of(next(iter(cases.values())).replace(batch_size=6, micro_batch=2), None, ranks)
        except UserError as error:
            found["refused"] = str(error)
        return found


def run_of(config: DiscoverConfig, state: dict[str, Any] | None, ranks: Ranks | None = None) -> dict[str, Any]:
    """A run to its end, without a folder."""
    generator = DoubleGenerator()
    every = list(discover(generator, config, resume_from=state, ranks=ranks))
    # Starts of the diagonalisation have the record of the last base point.
    snapshots = [
        one for one, before in zip(every, [None, *every], strict=False) if not before or one.record != before.record
    ]
    directions = summarise(generator, config, snapshots[-1], ranks=ranks)
    joint = snapshots[-1].joint
    return {
        "records": [{**vars(snapshot.record), "seconds": 0.0} for snapshot in snapshots],
        "states": [snapshot.state for snapshot in snapshots],
        "basis": snapshots[-1].basis,
        "joint": None if joint is None else joint.report(),
        "matrix": torch.tensor(directions.matrix),
        "numbers": [directions.header["penalty"], directions.activeness, directions.path_sizes],
        "shares": [entry["penalty_share"] for entry in directions.header["directions"]],
    }


def command_line(*arguments: str) -> None:
    """``directions …`` as torchrun starts it."""
    raise SystemExit(main(arguments))


def flat(numbers, prefix=""):
    """Numbers within numbers, each by its whole name."""
    if not isinstance(numbers, dict):
        return numbers
    parts = [
        flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": value}
        for name, value in numbers.items()
    ]
    return {name: value for part in parts for name, value in part.items()}
