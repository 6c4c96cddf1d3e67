"""Who is served next: one job at a time in a worker thread, and of each client only the newest.

Between the routes (``app.py``) and what computes (``painter.py``). A page that moves a slider asks for many pictures;
when the generator is slower than the hand, only the last of them is wanted. So a waiting request is dropped as soon as
its client has a newer one, which takes over its place in the line: nobody is served twice before another is served
once, and nobody loses the place by moving on.
"""

from __future__ import annotations

import asyncio
import functools
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

Result = TypeVar("Result")

_CLIENTS_KNOWN = 1024


class SupersededError(Exception):
    """The client has asked for something newer; nobody waits for this."""


class BusyError(Exception):
    """More clients wait than can be served in a reasonable time."""


@dataclass
class _Waiting:
    job: Callable[[], Any]
    done: asyncio.Future[Any]


class Turns:
    """A line of clients before one worker thread; used within one event loop.

    Args:
        most_waiting: Clients that may wait at once.
    """

    def __init__(self, most_waiting: int = 32) -> None:
        self._most_waiting = most_waiting
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="generator")
        self._line: dict[str, _Waiting] = {}  # in the order of the turns
        self._newest: OrderedDict[str, int] = OrderedDict()
        self._running = False
        self._closed = False

    async def take(self, client: str, number: int, job: Callable[[], Result]) -> Result:
        """Do a job when it is the client's turn.

        Args:
            client: Who asks.
            number: Grows with each request of this client.
            job: Called in the worker thread, unless the client asks anew before.

        Returns:
            What the job gives.

        Raises:
            SupersededError: If the client has asked for something newer, now or before, or all is over.
            BusyError: If too many clients wait.
        """
        if self._closed or number <= self._newest.get(client, -1):
            raise SupersededError
        before = self._line.get(client)
        if before is None and len(self._line) >= self._most_waiting:
            raise BusyError
        self._newest[client] = number
        self._newest.move_to_end(client)
        if len(self._newest) > _CLIENTS_KNOWN:
            self._newest.popitem(last=False)
        if before is not None and not before.done.done():
            before.done.set_exception(SupersededError())
        done: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._line[client] = _Waiting(job, done)  # a key that is there keeps its place
        self._next()
        return await done

    def _next(self) -> None:
        """Start the first job in the line, if none is running."""
        while self._line and not self._running:
            waiting = self._line.pop(next(iter(self._line)))
            if waiting.done.done():  # its client went away
                continue
            self._running = True
            running = asyncio.get_running_loop().run_in_executor(self._worker, waiting.job)
            running.add_done_callback(functools.partial(self._finished, waiting.done))

    def _finished(self, done: asyncio.Future[Any], job: asyncio.Future[Any]) -> None:
        self._running = False
        if job.cancelled():
            done.cancel()
        elif not done.done():
            error = job.exception()
            if error is None:
                done.set_result(job.result())
            else:
                done.set_exception(error)
        self._next()

    def close(self) -> None:
        """Drop who waits, and start no further job; the one that runs is finished."""
        self._closed = True
        for waiting in self._line.values():
            if not waiting.done.done():
                waiting.done.set_exception(SupersededError())
        self._line.clear()
        self._worker.shutdown(wait=False)
