"""The line of clients: the newest of each, in turn, one at a time."""

from __future__ import annotations

import asyncio
import threading

import pytest

from directions.explorer import painter
from directions.explorer.painter import BusyError, SupersededError, Worker


async def stand_in_line(worker, requests):
    """Hold the worker, put requests (client, number) in the line, let go: the order of service, and what they got."""
    log, started, release = [], threading.Event(), threading.Event()

    def hold():
        started.set()
        release.wait(10)

    holding = asyncio.create_task(worker.newest("holder", 0, hold))
    await asyncio.to_thread(started.wait, 10)
    waiting = []
    for request in requests:
        waiting.append(asyncio.create_task(worker.newest(*request, lambda request=request: log.append(request))))
        await asyncio.sleep(0)
    release.set()
    _, *results = await asyncio.gather(holding, *waiting, return_exceptions=True)
    worker.close()
    return log, results


@pytest.mark.parametrize(
    ("requests", "served", "error", "most"),
    [
        ([("a", 1), ("a", 2), ("a", 3)], [("a", 3)], SupersededError, 32),
        ([("a", 5), ("a", 4)], [("a", 5)], SupersededError, 32),  # two connections may swap two requests
        ([("a", 1), ("b", 1), ("c", 1)], [("a", 1), ("b", 1)], BusyError, 3),
    ],
    ids=["newer", "overtaken", "too many"],
)
def test_worker_serves_only_the_newest_request_of_a_client(requests, served, error, most):
    """The others are dropped without being computed; the line is bounded."""
    log, results = asyncio.run(stand_in_line(Worker(most_waiting=most), requests))
    assert log == served
    dropped = [result for request, result in zip(requests, results, strict=True) if request not in served]
    assert all(isinstance(result, error) for result in dropped)


def test_worker_keeps_previews_behind_everybody(monkeypatch):
    """What is asked for when idle comes after what is asked for later by a slider, and after a moment of rest."""
    monkeypatch.setattr(painter, "_QUIET", 0.1)

    async def ask():
        log, worker = [], Worker()
        await worker.newest("a", 1, lambda: log.append("a1"))
        preview = asyncio.create_task(worker.when_idle(lambda: log.append("preview")))
        await asyncio.sleep(0)
        await worker.newest("a", 2, lambda: log.append("a2"))
        await preview
        waits = asyncio.create_task(worker.when_idle(lambda: log.append("late")))
        worker.close()
        with pytest.raises(SupersededError):
            await waits
        return log

    assert asyncio.run(ask()) == ["a1", "a2", "preview"]


def test_worker_skips_a_client_that_went_away():
    """Its job is not computed."""

    async def leave():
        worker, started, release, log = Worker(), threading.Event(), threading.Event(), []
        holding = asyncio.create_task(worker.newest("a", 0, lambda: (started.set(), release.wait(10))))
        await asyncio.to_thread(started.wait, 10)
        gone = asyncio.create_task(worker.newest("b", 0, lambda: log.append("b")))
        await asyncio.sleep(0)
        gone.cancel()
        await asyncio.gather(gone, return_exceptions=True)
        release.set()
        await holding
        await worker.newest("c", 0, lambda: log.append("c"))
        return log

    assert asyncio.run(leave()) == ["c"]


def test_worker_that_is_closed_lets_nobody_wait():
    """Who stands in line is told, who comes later too; what runs is finished."""

    async def end():
        worker, started, release, log = Worker(), threading.Event(), threading.Event(), []
        holding = asyncio.create_task(worker.newest("a", 0, lambda: (started.set(), release.wait(10), "done")[-1]))
        await asyncio.to_thread(started.wait, 10)
        waiting = asyncio.create_task(worker.newest("b", 0, lambda: log.append("b")))
        await asyncio.sleep(0)
        worker.close()
        release.set()
        late = asyncio.create_task(worker.newest("c", 0, lambda: log.append("c")))
        return log, await asyncio.gather(holding, waiting, late, return_exceptions=True)

    log, results = asyncio.run(end())
    assert log == []
    assert results[0] == "done"
    assert [type(result) for result in results[1:]] == [SupersededError, SupersededError]
