"""Two sides at once: order, bounded waiting, and an end to both whatever happens."""

from __future__ import annotations

import threading
import weakref

import numpy as np
import pytest

from directions.rendering.overlap import AHEAD, overlapped


def test_overlapped_consumes_everything_in_order_in_one_other_thread():
    """Each item once; when it returns, all is done."""
    got: list[int] = []
    threads = set()

    def consume(item):
        threads.add(threading.get_ident())
        got.append(item)

    overlapped(range(100), consume)
    assert got == list(range(100))
    assert len(threads) == 1
    assert threads != {threading.get_ident()}


def test_overlapped_makes_the_next_while_it_consumes():
    """The consumer of the first item waits for the making of the second, which a plain loop could never end."""
    second_made = threading.Event()

    def items():
        yield 1
        second_made.set()
        yield 2

    overlapped(items(), lambda item: second_made.wait(30) or pytest.fail("not at the same time"))


def test_overlapped_waits_for_a_slow_consumer():
    """Only a few frames are alive at a time, however many there are."""
    alive: list[weakref.ref[np.ndarray]] = []
    most = 0

    def frames():
        nonlocal most
        for _ in range(200):
            frame = np.zeros(1000)
            alive.append(weakref.ref(frame))
            yield frame
            del frame
            most = max(most, sum(reference() is not None for reference in alive))

    overlapped(frames(), lambda frame: frame.sum())
    assert most <= AHEAD + 2


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_overlapped_source_fails(error):
    """The error passes on, and nothing is consumed afterwards."""
    got: list[int] = []

    def items():
        yield 1
        raise error

    with pytest.raises(error):
        overlapped(items(), got.append)
    assert got in ([], [1])
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("encode")]


def test_overlapped_consumer_fails():
    """The source is not asked for much more, and nothing later is consumed."""
    made, got = [], []

    def items():
        for item in range(1000):
            made.append(item)
            yield item

    def consume(item):
        got.append(item)
        if item == 3:
            raise OSError("full")

    with pytest.raises(OSError, match="full"):
        overlapped(items(), consume)
    assert len(made) <= 4 + AHEAD + 2
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("encode")]
