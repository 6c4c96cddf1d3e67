"""The server: addresses that it takes and refuses, Ctrl-C; the line of its clients, one at a time."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import subprocess
import threading
import urllib.request

import pytest
from fakes import blob_directions
from program import ENVIRONMENT, PROGRAM

from directions.errors import UserError
from directions.explorer import painter
from directions.explorer.app import USUAL_PORT, address, listen
from directions.explorer.painter import SupersededError, Worker


def test_listen_says_that_a_port_is_taken():
    """And what to do; where none is asked for, two pages of two files may be open at once."""
    with listen("localhost", 0) as first:
        with pytest.raises(UserError, match=r"port \d+ of 127.0.0.1 cannot be had: another program has it. Give"):
            listen("127.0.0.1", first.getsockname()[1])
        assert address(first) == f"http://127.0.0.1:{first.getsockname()[1]}/"
    with listen("127.0.0.1", None) as first, listen("127.0.0.1", None) as second:
        assert second.getsockname()[1] not in (first.getsockname()[1], USUAL_PORT)


def test_command_serves_and_ends_with_ctrl_c(tmp_path):
    """It prints the address on stdout, and ends with status 0 and no traceback."""
    file = tmp_path / "file.safetensors"
    blob_directions().save(file)
    options = ["--generator", "fakes:BlobGenerator", "--no-open", "--port", "0"]
    output = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    process = subprocess.Popen([*PROGRAM, "explore", str(file), *options], env=ENVIRONMENT, **output)
    try:
        url = process.stdout.readline().strip()
        assert url.startswith("http://127.0.0.1:")
        with urllib.request.urlopen(url, timeout=60) as answer:
            assert b"file.safetensors" in answer.read()
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 0, err
    assert out == ""
    assert err.splitlines() == ["Loading fakes:BlobGenerator …", "Ctrl-C ends it.", "Ended."]


@contextlib.asynccontextmanager
async def busy(worker, job=lambda: None):
    """Within the block, the worker has something to do, which ends with a job; yields the task."""
    started, release = threading.Event(), threading.Event()
    holding = asyncio.create_task(worker.newest("holder", 0, lambda: (started.set(), release.wait(10), job())[-1]))
    await asyncio.to_thread(started.wait, 10)
    yield holding
    release.set()


def test_worker_serves_only_the_newest_request_of_a_client():
    """The others are dropped without being computed, also where two connections have swapped two requests."""
    requests, served, log = [("a", 1), ("a", 2), ("b", 1), ("a", 4), ("a", 3)], [("b", 1), ("a", 4)], []

    async def stand_in_line():
        worker = Worker()
        async with busy(worker):
            tasks = [asyncio.create_task(worker.newest(*one, lambda one=one: log.append(one))) for one in requests]
            await asyncio.sleep(0)
        results = await asyncio.gather(*tasks, return_exceptions=True)
        worker.close()
        return results

    dropped = [isinstance(result, SupersededError) for result in asyncio.run(stand_in_line())]
    assert log == served
    assert dropped == [one not in served for one in requests]


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


def test_worker_that_is_closed_lets_nobody_wait():
    """Who stands in line is told, who comes later too; what runs is finished."""

    async def end():
        worker, log = Worker(), []
        async with busy(worker, lambda: "done") as holding:
            waiting = asyncio.create_task(worker.newest("b", 0, lambda: log.append("b")))
            await asyncio.sleep(0)
            worker.close()
        late = asyncio.create_task(worker.newest("c", 0, lambda: log.append("c")))
        return log, await asyncio.gather(holding, waiting, late, return_exceptions=True)

    log, results = asyncio.run(end())
    assert log == []
    assert results[0] == "done"
    assert [type(result) for result in results[1:]] == [SupersededError, SupersededError]
