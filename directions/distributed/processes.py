"""The ranks of a run as processes that torchrun has started, on one machine or several, with torch.distributed.

Made by `directions.distributed.joining.joined`. Tensors on GPUs go through NCCL, the rest through gloo. Calls begin
with a small exchange over gloo, in which the ranks learn whether one was asked to stop. It also finds out who is gone:
the closed connection of a killed process is an error within milliseconds there, whereas NCCL would wait for it.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import platform
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.rendezvous import rendezvous

from directions.devices import resolve_device
from directions.distributed.ranks import Ranks
from directions.errors import RankLostError, UserError
from directions.memory import is_out_of_memory

_T = TypeVar("_T")

_TIMEOUT = 1800.0
"""Seconds. Ranks do the same work at the same time, but one may compile or write while the others wait."""


class Processes(Ranks):
    """One of several processes.

    Who and where the others are is read from the variables that torchrun sets: ``RANK``, ``WORLD_SIZE``,
    ``MASTER_ADDR``, ``MASTER_PORT``, and for GPUs ``LOCAL_RANK`` and ``LOCAL_WORLD_SIZE``. ``DIRECTIONS_TIMEOUT`` is
    how long to wait for the others, in seconds (1800).

    Raises:
        UserError: If a variable is missing or wrong.
        RankLostError: If not all ranks come in time.
    """

    def __init__(self) -> None:
        super().__init__()
        if not dist.is_available():
            raise UserError(f"torch {torch.__version__} has no torch.distributed. Start one process, without torchrun.")
        missing = [name for name in ("RANK", "MASTER_ADDR", "MASTER_PORT") if not os.environ.get(name)]
        if missing:
            raise UserError(
                f"WORLD_SIZE is {os.environ['WORLD_SIZE']}, but {' and '.join(missing)} not set. Start several "
                "processes with torchrun --nproc-per-node N -m directions …, or unset WORLD_SIZE."
            )
        self.rank, self.world_size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
        self._local_rank = int(os.environ.get("LOCAL_RANK", self.rank))
        self._local_size = int(os.environ.get("LOCAL_WORLD_SIZE", self._local_rank + 1))
        self._machines = int(os.environ.get("GROUP_WORLD_SIZE", "1"))
        options = f"--nproc-per-node {self._local_size}" if self._machines == 1 else "(with the same options)"
        self.command = f"torchrun {options} -m directions"
        self._timeout = _timeout()
        self._agreed = 0
        limit = dt.timedelta(seconds=self._timeout)
        with self._others():
            self._store, rank, world_size = next(rendezvous("env://", timeout=limit))
            nccl = torch.cuda.is_available() and dist.is_nccl_available()
            backend = "cpu:gloo,cuda:nccl" if nccl else "gloo"
            dist.init_process_group(backend, store=self._store, rank=rank, world_size=world_size, timeout=limit)

    @property
    def first_here(self) -> bool:
        """Whether this is the first rank of its machine."""
        return self._local_rank == 0

    def device(self, name: str) -> str:
        """Turn a device as the user names it into the one that this rank takes.

        Args:
            name: ``"cpu"``, or ``"cuda"`` or ``"auto"`` for the GPU with the rank's number on its machine.

        Returns:
            ``"cpu"`` or ``"cuda:N"``.

        Raises:
            UserError: If one GPU is named for all ranks, or there are fewer than ranks.
        """
        if name == "cpu" or (name == "auto" and not torch.cuda.is_available()):
            return "cpu"
        if name not in ("auto", "cuda"):
            raise UserError(
                f"device must be cpu, cuda or auto with several ranks, each of which takes a GPU of its own, got "
                f"{name!r}. Choose GPUs with CUDA_VISIBLE_DEVICES."
            )
        resolve_device("cuda")
        count = torch.cuda.device_count()
        if max(self._local_size, self._local_rank + 1) > count:
            raise UserError(
                f"{self._local_size} ranks on a machine need as many GPUs, but torch sees {count} on "
                f"{platform.node()}. Start torchrun with --nproc-per-node {count}, or give --device cpu."
            )
        torch.cuda.set_device(self._local_rank)
        return f"cuda:{self._local_rank}"

    def collect(self, shared: Sequence[_T]) -> list[_T]:
        """Put together, on all ranks, what each has made of its `share`."""
        sent: list[Any] = [None] * self.world_size
        with self._others():
            dist.all_gather_object(sent, (self._stop, list(shared)))
        self._agree(max(stop for stop, _ in sent))
        whole: list[Any] = [None] * sum(len(part) for _, part in sent)
        for rank, (_, part) in enumerate(sent):
            whole[rank :: self.world_size] = part
        return whole

    def sum(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """Add up tensors over the ranks, all in one message."""
        self._meet()
        first = tensors[0]
        buffer = torch.cat([tensor.detach().to(first).flatten() for tensor in tensors])
        with self._others():
            dist.all_reduce(buffer)
        parts = buffer.split([tensor.numel() for tensor in tensors])
        return [part.view_as(tensor).to(tensor) for part, tensor in zip(parts, tensors, strict=True)]

    def align(self, tensor: Tensor) -> None:
        """Overwrite a tensor with that of rank 0, in place."""
        with self._others():
            dist.broadcast(tensor.detach(), src=0)

    def from_first(self, make: Callable[[], _T]) -> _T:
        """Call a function on rank 0 only, and return its result on all ranks."""
        self._meet()
        holder: list[Any] = [make() if self.first else None]
        with self._others():
            dist.broadcast_object_list(holder, src=0)
        return holder[0]

    def wait(self) -> None:
        """Go on only when all ranks have come here."""
        self._meet()

    @property
    def stop_signal(self) -> int:
        """The signal by which the ranks have been asked to stop, as of the last exchange; 0 if none."""
        return self._agreed

    def tells(self) -> bool:
        """Whether this rank is to tell the user why the run ends: the first that asks, and no other after it."""
        try:
            return self._store.add("directions: told", 1) == 1
        except RuntimeError:  # the machine that keeps the count is gone, and nobody else may be left
            return True

    def leave(self) -> None:
        """End the connection to the others, at a point that all of them reach."""
        dist.destroy_process_group()

    def _meet(self) -> None:
        """Wait for the others, and learn the highest signal that one of them was sent."""
        signum = torch.tensor([self._stop])
        with self._others():
            dist.all_reduce(signum, dist.ReduceOp.MAX)
        self._agree(int(signum))

    def _agree(self, signum: int) -> None:
        self._agreed = max(self._agreed, signum)

    @contextlib.contextmanager
    def _others(self) -> Iterator[None]:
        """Turn what torch raises when other ranks do not answer into one error that says so."""
        try:
            yield
        except RuntimeError as error:
            if is_out_of_memory(error):
                raise
            who = f"Rank {self.rank} of {self.world_size}"
            if isinstance(error, dist.DistStoreError) or "timed out" in str(error).lower():
                raise RankLostError(
                    f"{who} has waited {self._timeout:g} seconds for another rank in vain: it hangs, or is very slow "
                    "(DIRECTIONS_TIMEOUT=SECONDS waits longer)."
                ) from error
            raise RankLostError(
                f"{who} has lost another rank, which was killed, had no memory left or failed; if it said why, that "
                "stands above."
            ) from error


def _timeout() -> float:
    text = os.environ.get("DIRECTIONS_TIMEOUT", "")
    try:
        seconds = float(text) if text else _TIMEOUT
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < 1e7:
        raise UserError(f"DIRECTIONS_TIMEOUT must be a number of seconds, above 0, got {text!r}.")
    return seconds
