"""Several ranks on this machine, in processes forked from one that has imported torch, and what they do in tests."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import sys
import time
import warnings
from collections.abc import Callable
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import torch
from closed import DoubleGenerator
from torch.distributed import TCPStore

from directions.cli.main import main
from directions.discovery import discover
from directions.errors import RankLostError, UserError
from directions.evaluation.summary import summarise
from directions.ranks import Ranks, joined
from directions.settings.discover import DiscoverConfig


def wait_until(reached: Callable[[], bool], started: object) -> None:
    """Wait for what processes do, two minutes at the most."""
    deadline = time.monotonic() + 120
    while not reached():
        assert time.monotonic() < deadline, started
        time.sleep(0.05)


class Started:
    """Two ranks at work.

    Args:
        function: Called in each process, by a name that can be imported.
        arguments: What it is called with.
        out: Folder for what they print, ``0.txt``, ``1.txt``, …; ``None`` lets them print to the terminal.
        timeout: Seconds that a rank waits for another.
    """

    def __init__(
        self, function: Callable[..., Any], *arguments: Any, out: Path | None = None, timeout: int = 60
    ) -> None:
        context = multiprocessing.get_context("forkserver")
        # The first optimiser of a process imports torch._dynamo, which takes as long as all the rest.
        context.set_forkserver_preload(["torch", "torch._dynamo", "directions.run"])
        # As with torchrun, the store by which they find each other is in another process, and outlives them.
        self._store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
        variables = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(self._store.port)}
        variables |= {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "DIRECTIONS_TIMEOUT": str(timeout)}
        variables["TORCHELASTIC_USE_AGENT_STORE"] = "True"
        # Pickled here: multiprocessing would let the ranks share the memory of tensors, also of what they send back.
        work = pickle.dumps((function, arguments))
        self.out = out
        self.processes: list[BaseProcess] = []
        self._results: list[Connection] = []
        for rank in range(2):
            receiver, sender = context.Pipe(duplex=False)
            output = None if out is None else out / f"{rank}.txt"
            own = variables | {"RANK": str(rank), "LOCAL_RANK": str(rank)}
            process = context.Process(target=_run, args=(sender, output, own, work))
            process.start()
            sender.close()
            self.processes.append(process)
            self._results.append(receiver)

    def results(self) -> list[Any]:
        """What the function returned on each rank; all of them must have ended well."""
        sent = [receiver.recv_bytes() if receiver.poll(60) else b"" for receiver in self._results]
        assert self.exit_codes() == [0] * len(self.processes)
        return [pickle.loads(result) for result in sent]

    def exit_codes(self) -> list[int | None]:
        """How each ended; none may take longer than a minute."""
        for process in self.processes:
            process.join(60)
        codes = [process.exitcode for process in self.processes]
        for process in self.processes:
            process.kill()
        return codes

    def printed(self, rank: int) -> str:
        assert self.out is not None
        return (self.out / f"{rank}.txt").read_text()


def _run(sender: Connection, output: Path | None, variables: dict[str, str], work: bytes) -> None:
    if output is not None:
        handle = os.open(output, os.O_CREAT | os.O_WRONLY, 0o600)
        os.dup2(handle, 1)
        os.dup2(handle, 2)
        sys.stdout = os.fdopen(1, "w", buffering=1)
        sys.stderr = os.fdopen(2, "w", buffering=1)
    os.environ.update(variables)
    torch.set_num_threads(1)
    function, arguments = pickle.loads(work)
    try:
        sender.send_bytes(pickle.dumps(function(*arguments)))
    finally:
        sys.stdout.flush()
        sys.stderr.flush()


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
    joint = snapshots[-1].joint.report() if snapshots[-1].joint else {}
    end = {"basis": snapshots[-1].basis, "A": snapshots[-1].state["A"], "penalty": directions.header["penalty"]}
    end |= {f"joint {name}": joint[name] for name in ("penalty", "agreeing_starts") if joint}
    for i, entry in enumerate(directions.header["directions"]):
        end |= {f"{name} of {i}": entry[name] for name in ("activeness", "path_size", "penalty_share")}
    records = [{**vars(snapshot.record), "seconds": 0.0} for snapshot in snapshots]
    return {"records": records, "states": [snapshot.state for snapshot in snapshots], "end": end}


def command_line(*arguments: str) -> None:
    """``directions …`` as torchrun starts it."""
    raise SystemExit(main(arguments))
