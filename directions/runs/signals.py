"""Stop a long loop between two steps: SIGINT (Ctrl-C) and SIGTERM are noted and obeyed when the loop is ready.

Used around discovery and training loops; nothing else in the package installs signal handlers.
"""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType, TracebackType
from typing import Any


class Interrupted(Exception):  # noqa: N818 - not an error: the user asked for it
    """A signal asked for the end.

    Attributes:
        exit_code: 128 + the signal's number: 130 for SIGINT, 143 for SIGTERM.
    """

    def __init__(self, signum: int) -> None:
        super().__init__(f"Interrupted by {signal.Signals(signum).name}.")
        self.exit_code = 128 + signum


class StopSignals:
    """Context in which the first SIGINT or SIGTERM is noted, and a second one raises `Interrupted` at once.

    Outside the main thread, where Python allows no handlers, it does nothing.
    """

    def __init__(self) -> None:
        self._received: int | None = None
        self._at_once = False
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> StopSignals:
        """Install the handlers."""
        if threading.current_thread() is threading.main_thread():
            for signum in (signal.SIGINT, signal.SIGTERM):
                self._previous[signum] = signal.signal(signum, self._handle)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Put the earlier handlers back."""
        for signum, handler in self._previous.items():
            signal.signal(signum, handler)

    @property
    def requested(self) -> bool:
        """Whether a signal has come."""
        return self._received is not None

    def stop_if_requested(self) -> None:
        """Raise, at a point where everything is in order, if a signal has come.

        Raises:
            Interrupted: If so.
        """
        if self._received is not None:
            raise Interrupted(self._received)

    def stop_at_once(self) -> None:
        """From now on a signal raises `Interrupted` wherever the program is: nothing can be left half done any more."""
        self._at_once = True
        self.stop_if_requested()

    def _handle(self, signum: int, frame: FrameType | None) -> None:
        if self._at_once or self._received is not None:
            raise Interrupted(signum)
        self._received = signum
        # Not print: the signal may have come in the middle of another one, whose buffer must not be entered twice.
        os.write(2, b"\nFinishing the step and writing a checkpoint; once more to stop at once.\n")
