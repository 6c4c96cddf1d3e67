"""Encode while the next images are made.

Between the images (``frames.py``) and the writers: the generator runs in this thread, the writers in another, a few
steps behind. Both spend their time in code that lets other threads run.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")

AHEAD = 2
"""Items that may wait for the consumer: enough to even out its pace, few enough to stay small."""


def overlapped(items: Iterable[Item], consume: Callable[[Item], object]) -> None:
    """Go through items in this thread, and use each of them in another one, in order.

    When the consumer falls behind, the source waits, so what is kept does not grow. An exception of either side,
    Ctrl-C included, ends the other one before it is passed on: nothing is running any more when this returns.

    Args:
        items: Made here, one after the other.
        consume: Called with each in the other thread, with one at a time.
    """
    waiting: deque[Future[object]] = deque()
    with ThreadPoolExecutor(1, thread_name_prefix="encode") as worker:
        try:
            for item in items:
                waiting.append(worker.submit(consume, item))
                del item
                while len(waiting) > AHEAD:
                    waiting.popleft().result()
            while waiting:
                waiting.popleft().result()
        finally:
            # Without this, what waits would still be consumed after an error.
            worker.shutdown(wait=True, cancel_futures=True)
