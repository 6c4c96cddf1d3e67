"""Signals are noted, obeyed when asked, and handed back."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from directions.runs.signals import Interrupted, StopSignals

BOTH = pytest.mark.parametrize(("signum", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])


@BOTH
def test_first_signal_waits_for_the_loop(signum, code, capfd):
    """It is noted, said, and raised where the loop is ready for it."""
    with StopSignals() as stop:
        stop.stop_if_requested()
        os.kill(os.getpid(), signum)
        assert stop.requested
        with pytest.raises(Interrupted, match=f"Interrupted by {signal.Signals(signum).name}") as caught:
            stop.stop_if_requested()
    assert caught.value.exit_code == code
    assert "once more to stop at once" in capfd.readouterr().err


@BOTH
def test_second_signal_raises_where_it_comes(signum, code, capfd):
    """Whoever presses twice does not want to wait."""
    with StopSignals():
        os.kill(os.getpid(), signum)
        with pytest.raises(Interrupted) as caught:
            os.kill(os.getpid(), signum)
    assert caught.value.exit_code == code


def test_stop_at_once_raises_at_the_first_signal(capfd):
    """When nothing is left to finish."""
    with StopSignals() as stop:
        stop.stop_at_once()
        with pytest.raises(Interrupted):
            os.kill(os.getpid(), signal.SIGTERM)
    assert capfd.readouterr().err == ""


def test_stop_at_once_obeys_an_earlier_signal(capfd):
    """None is lost between the loop and what follows."""
    with StopSignals() as stop:
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(Interrupted):
            stop.stop_at_once()


def test_handlers_are_put_back():
    """Afterwards the process behaves as before."""
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with StopSignals():
        assert signal.getsignal(signal.SIGINT) != before[0]
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


def test_other_threads_run_without_handlers():
    """Python allows handlers in the main thread only; a run in another one must not fail."""
    results = []

    def run():
        with StopSignals() as stop:
            results.append(stop.requested)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert results == [False]
