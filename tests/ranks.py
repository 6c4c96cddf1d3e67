"""Several ranks on this machine, in processes that are forked from one that has imported torch already."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import sys
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import torch
from torch.distributed import TCPStore


def wait_until(reached: Callable[[], bool], started: object) -> None:
    """Wait for what processes do, two minutes at the most."""
    deadline = time.monotonic() + 120
    while not reached():
        assert time.monotonic() < deadline, started
        time.sleep(0.05)


class Started:
    """Ranks at work.

    Args:
        function: Called in each process, by a name that can be imported.
        arguments: What it is called with.
        world_size: Number of processes.
        out: Folder for what they print, ``0.txt``, ``1.txt``, …; ``None`` lets them print to the terminal.
        environment: Further variables.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        *arguments: Any,
        world_size: int = 2,
        out: Path | None = None,
        environment: dict[str, str] | None = None,
    ) -> None:
        context = multiprocessing.get_context("forkserver")
        # The first optimiser of a process imports torch._dynamo, which takes as long as all the rest.
        context.set_forkserver_preload(["torch", "torch._dynamo", "directions.run"])
        # As with torchrun, the store by which they find each other is in another process, and outlives them.
        self._store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
        # Pickled here: multiprocessing would let the ranks share the memory of tensors, also of what they send back.
        work = pickle.dumps((function, arguments))
        self.out = out
        self.processes: list[BaseProcess] = []
        self._results: list[Connection] = []
        for rank in range(world_size):
            variables = {
                "RANK": str(rank),
                "LOCAL_RANK": str(rank),
                "WORLD_SIZE": str(world_size),
                "LOCAL_WORLD_SIZE": str(world_size),
                "MASTER_ADDR": "127.0.0.1",
                "MASTER_PORT": str(self._store.port),
                "TORCHELASTIC_USE_AGENT_STORE": "True",
                "DIRECTIONS_TIMEOUT": "60",
            } | (environment or {})
            receiver, sender = context.Pipe(duplex=False)
            output = None if out is None else out / f"{rank}.txt"
            process = context.Process(target=_run, args=(sender, output, variables, work))
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


def _run(
    sender: Connection,
    output: Path | None,
    variables: dict[str, str],
    work: bytes,
) -> None:
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
