"""How the ranks of a run share work and agree: the interface, as one process by itself fulfils it.

Everything that may be spread over processes takes a `Ranks`: the loop, the joint measurement, scores, and GAN training.
With one process nothing is sent and nothing changes, to the last bit; `directions.distributed.processes` has the
one for several, and `directions.distributed.joining` makes either. Nothing here imports torch.

The rules that keep ranks together: all of them make the same calls in the same order, and decide by what a call has
returned (which is the same on all) or by the configuration, never by a clock or a signal of their own.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from directions.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

_T = TypeVar("_T")
_S = TypeVar("_S", bound="_Sliceable")


class _Sliceable(Protocol):
    def __getitem__(self: _S, part: slice, /) -> _S: ...


class Ranks:
    """One process by itself: its share is everything, and what it says goes."""

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
    def one_ahead(self) -> Iterator[None]:
        """Let the first rank of each machine through the block before the others, which then find what it has fetched.

        Yields:
            Nothing.
        """
        if self.first_here:
            yield
            self.wait()
        else:
            self.wait()
            yield

    def require_same(self, facts: Mapping[str, Any]) -> None:
        """Check that all ranks were started alike.

        Args:
            facts: What must be the same, by name.

        Raises:
            UserError: If a fact of a rank differs from that of rank 0.
        """
        everyone = self.collect([dict(facts)])
        for rank, others in enumerate(everyone):
            for name, value in everyone[0].items():
                if others[name] != value:
                    raise UserError(
                        f"All ranks must be started alike: {name} is {value!r} on rank 0, {others[name]!r} on rank "
                        f"{rank}. Give the same command on every machine, with the same packages and weights."
                    )

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

    def tells(self) -> bool:
        """Whether this rank is to tell the user why the run ends: the first that asks, and no other after it."""
        return True
