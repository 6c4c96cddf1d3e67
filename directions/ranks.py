"""How the processes of a run share work and agree: one by itself, or those that torchrun has started."""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import platform
import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, TypeVar

from directions.device import is_out_of_memory, resolve_device
from directions.errors import RankLostError, UserError

if TYPE_CHECKING:
    from torch import Tensor

_T = TypeVar("_T")
_S = TypeVar("_S", bound="_Sliceable")

Progress: TypeAlias = Callable[[str, int, int, str], None]
"""What is told of work that takes long: the phase, how much is done, of how much (0: unknown), and a note."""


def no_progress(phase: str, done: int, total: int, note: str) -> None:
    """Tell nobody."""


def counter(on_progress: Progress, title: str, total: int) -> Callable[[int], None]:
    """Return a function that is told of each piece of work, by its size, and tells the progress."""
    done = 0

    def count(size: int) -> None:
        nonlocal done
        done += size
        on_progress(title, done, total, "")

    return count


class _Sliceable(Protocol):
    def __getitem__(self: _S, part: slice, /) -> _S: ...


class Ranks:
    """One process by itself, for which nothing is sent and nothing changes; `Processes` is one of several.

    The rules that keep ranks together: all of them make the same calls in the same order, and decide by what a call
    has returned (which is the same on all) or by the configuration, never by a clock or a signal of their own.
    """

    rank: int = 0
    """Number of this process, from 0."""
    world_size: int = 1
    """Number of processes that work on the run."""
    command: str = "directions"
    """How the user starts the command line with as many processes; for messages."""

    def __init__(self) -> None:
        self._stop = 0

    @property
    def first(self) -> bool:
        """Whether this is rank 0: the one that writes files and talks to the user."""
        return self.rank == 0

    @property
    def first_here(self) -> bool:
        """Whether this is the first rank of its machine."""
        return self.first

    def device(self, name: str) -> str:
        """Turn a device as the user names it into the one that this rank takes.

        Args:
            name: ``"cpu"``, ``"cuda"``, ``"cuda:N"`` or ``"auto"``.

        Returns:
            For one process, the name as it is, unchecked; for several, the CPU or the GPU with the rank's number on
            its machine.

        Raises:
            UserError: If one GPU is named for all ranks, or there are fewer than ranks.
        """
        return name

    def share(self, items: _S) -> _S:
        """Return this rank's part of a list, range or tensor: every ``world_size``-th item, from number ``rank`` on."""
        return items[self.rank :: self.world_size]

    def collect(self, shared: Sequence[_T]) -> list[_T]:
        """Put together, on all ranks, what each has made of its `share`.

        Args:
            shared: One result for each item of the share, in order; pickled on the way, so no tensors on GPUs.

        Returns:
            The results for all items, in the order of the whole list.
        """
        return list(shared)

    def sum(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """Add up tensors over the ranks, all in one message.

        Args:
            tensors: Of the same shapes on every rank. They are added in the type and on the device of the first.

        Returns:
            The sums, the same on all ranks, of the types and on the devices of the tensors; for one process the tensors
            themselves.
        """
        return list(tensors)

    def align(self, tensor: Tensor) -> None:
        """Overwrite a tensor with that of rank 0, in place: machines may round differently."""

    def from_first(self, make: Callable[[], _T]) -> _T:
        """Call a function on rank 0 only, and return its result on all ranks."""
        return make()

    def wait(self) -> None:
        """Go on only when all ranks have come here."""

    @contextlib.contextmanager
    def in_turn(self) -> Iterator[None]:
        """Let the first rank of each machine through the block before the others, which then find what it has fetched.

        Yields:
            Nothing.
        """
        if not self.first_here:
            self.wait()
        yield
        if self.first_here:
            self.wait()

    def require_same(self, facts: Mapping[str, Any]) -> None:
        """Check that all ranks were started alike.

        Args:
            facts: What must be the same, by name.

        Raises:
            UserError: If a fact of a rank differs from that of rank 0.
        """
        first, *others = self.collect([dict(facts)])
        for rank, other in enumerate(others, start=1):
            for name in (name for name, value in first.items() if other[name] != value):
                differ = f"{name} is {first[name]!r} on rank 0, {other[name]!r} on rank {rank}"
                advice = "Give the same command on every machine, with the same packages and weights."
                raise UserError(f"All ranks must be started alike: {differ}. {advice}")

    def request_stop(self, signum: int) -> None:
        """Note that this rank was asked to stop; all of them learn it when they next exchange something.

        Args:
            signum: The signal that asked.
        """
        self._stop = signum

    @property
    def stop_signal(self) -> int:
        """The signal by which the ranks have been asked to stop; 0 if none, as far as all of them know."""
        return self._stop

    def says_why(self) -> bool:
        """Whether this rank is to say why the run ends: the first that asks, and no other after it."""
        return True


class Processes(Ranks):
    """One of several processes, with torch.distributed.

    Who and where the others are is read from the variables that torchrun sets: ``RANK``, ``WORLD_SIZE``,
    ``MASTER_ADDR``, ``MASTER_PORT``, and for GPUs ``LOCAL_RANK`` and ``LOCAL_WORLD_SIZE``. ``DIRECTIONS_TIMEOUT`` is
    how long to wait for the others, in seconds (1800): one may compile or write while the others wait.

    Raises:
        UserError: If a variable is missing or wrong.
        RankLostError: If not all ranks come in time.
    """

    def __init__(self) -> None:
        super().__init__()
        import torch
        import torch.distributed as dist
        from torch.distributed.rendezvous import rendezvous

        missing = [name for name in ("RANK", "MASTER_ADDR", "MASTER_PORT") if not os.environ.get(name)]
        if missing:
            unset = f"WORLD_SIZE is {os.environ['WORLD_SIZE']}, but {' and '.join(missing)} not set"
            advice = "Start several processes with torchrun --nproc-per-node N -m directions …, or unset WORLD_SIZE."
            raise UserError(f"{unset}. {advice}")
        self._dist = dist
        self.rank, self.world_size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
        self._local_rank = int(os.environ.get("LOCAL_RANK", self.rank))
        self._local_size = int(os.environ.get("LOCAL_WORLD_SIZE", self._local_rank + 1))
        one_machine = os.environ.get("GROUP_WORLD_SIZE", "1") == "1"
        options = f"--nproc-per-node {self._local_size}" if one_machine else "(with the same options)"
        self.command = f"torchrun {options} -m directions"
        self._timeout = os.environ.get("DIRECTIONS_TIMEOUT") or "1800"
        if not re.fullmatch(r"0*[1-9]\d{0,6}", self._timeout):
            raise UserError(f"DIRECTIONS_TIMEOUT must be a whole number of seconds, got {self._timeout!r}.")
        self._agreed = 0
        limit = dt.timedelta(seconds=int(self._timeout))
        with self._others():
            self._store, rank, world_size = next(rendezvous("env://", timeout=limit))
            nccl = torch.cuda.is_available() and dist.is_nccl_available()
            # Tensors on GPUs go through NCCL, the rest through gloo, where the closed connection of a killed process
            # is an error within milliseconds; NCCL would wait for it.
            backend = "cpu:gloo,cuda:nccl" if nccl else "gloo"
            dist.init_process_group(backend, store=self._store, rank=rank, world_size=world_size, timeout=limit)

    @property
    def first_here(self) -> bool:
        """Whether this is the first rank of its machine."""
        return self._local_rank == 0

    def device(self, name: str) -> str:
        """Turn a device as the user names it into the one that this rank takes."""
        import torch

        if name == "cpu" or (name == "auto" and not torch.cuda.is_available()):
            return "cpu"
        if name not in ("auto", "cuda"):
            allowed = "cpu, cuda or auto with several ranks, each of which takes a GPU of its own"
            raise UserError(f"device must be {allowed}, got {name!r}. Choose GPUs with CUDA_VISIBLE_DEVICES.")
        resolve_device("cuda")
        count = torch.cuda.device_count()
        if max(self._local_size, self._local_rank + 1) > count:
            few = f"{self._local_size} ranks on a machine need as many GPUs, but torch sees {count}"
            advice = f"Start torchrun with --nproc-per-node {count}, or give --device cpu."
            raise UserError(f"{few} on {platform.node()}. {advice}")
        torch.cuda.set_device(self._local_rank)
        return f"cuda:{self._local_rank}"

    def collect(self, shared: Sequence[_T]) -> list[_T]:
        """Put together, on all ranks, what each has made of its `share`."""
        sent: list[Any] = [None] * self.world_size
        with self._others():
            self._dist.all_gather_object(sent, (self._stop, list(shared)))
        self._agreed = max(self._agreed, *(stop for stop, _ in sent))
        whole: list[Any] = [None] * sum(len(part) for _, part in sent)
        for rank, (_, part) in enumerate(sent):
            whole[rank :: self.world_size] = part
        return whole

    def sum(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """Add up tensors over the ranks, all in one message."""
        import torch

        self.wait()
        first = tensors[0]
        buffer = torch.cat([tensor.detach().to(first).flatten() for tensor in tensors])
        with self._others():
            self._dist.all_reduce(buffer)
        parts = buffer.split([tensor.numel() for tensor in tensors])
        return [part.view_as(tensor).to(tensor) for part, tensor in zip(parts, tensors, strict=True)]

    def align(self, tensor: Tensor) -> None:
        """Overwrite a tensor with that of rank 0, in place."""
        with self._others():
            self._dist.broadcast(tensor.detach(), src=0)

    def from_first(self, make: Callable[[], _T]) -> _T:
        """Call a function on rank 0 only, and return its result on all ranks."""
        self.wait()
        holder: list[Any] = [make() if self.first else None]
        with self._others():
            self._dist.broadcast_object_list(holder, src=0)
        return holder[0]

    def wait(self) -> None:
        """Go on only when all ranks have come here; they then know the highest signal that one of them was sent."""
        import torch

        signum = torch.tensor([self._stop])
        with self._others():
            self._dist.all_reduce(signum, self._dist.ReduceOp.MAX)
        self._agreed = max(self._agreed, int(signum))

    @property
    def stop_signal(self) -> int:
        """The signal by which the ranks have been asked to stop, as of the last exchange; 0 if none."""
        return self._agreed

    def says_why(self) -> bool:
        """Whether this rank is to say why the run ends."""
        try:
            return self._store.add("directions: told", 1) == 1
        except RuntimeError:  # the machine that keeps the count is gone, and nobody else may be left
            return True

    @contextlib.contextmanager
    def _others(self) -> Iterator[None]:
        """Turn what torch raises when other ranks do not answer into one error that says so."""
        try:
            yield
        except RuntimeError as error:
            if is_out_of_memory(error):
                raise
            what = "has lost another rank, which was killed, had no memory left or failed; "
            what += "if it said why, that stands above"
            if isinstance(error, self._dist.DistStoreError) or "timed out" in str(error).lower():
                what = f"has waited {self._timeout} seconds for another rank in vain: it hangs, or is very slow "
                what += "(DIRECTIONS_TIMEOUT=SECONDS waits longer)"
            raise RankLostError(f"Rank {self.rank} of {self.world_size} {what}.") from error


@contextlib.contextmanager
def joined() -> Iterator[Ranks]:
    """Within the block, be one of the ranks of a run: of those that torchrun started, or the only one.

    Yields:
        The ranks.

    Raises:
        UserError: What the block raised, on the rank that fails first; the others, which fail for the same reason or
            because that rank is gone, end without a word, with the same exit status as if they had told.
        RankLostError: In the same way.
        SystemExit: On those other ranks.
    """
    if os.environ.get("WORLD_SIZE", "1") == "1":
        yield Ranks()
        return
    ranks = Processes()
    try:
        with warnings.catch_warnings():
            if not ranks.first:
                warnings.simplefilter("ignore", UserWarning)  # rank 0 warns
            yield ranks
    except (UserError, RankLostError) as error:
        if not ranks.says_why():
            raise SystemExit(2 if isinstance(error, UserError) else 1) from None
        raise
    except Exception:
        ranks.says_why()  # the traceback does
        raise
    ranks._dist.destroy_process_group()
