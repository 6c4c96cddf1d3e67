"""Stop a long loop between two steps: SIGINT (Ctrl-C) and SIGTERM are noted and obeyed when the loop is ready.

Used around discovery and training loops; nothing else in the package installs signal handlers.
"""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType, TracebackType
from typing import Any

from directions.distributed.ranks import Ranks


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

    Several ranks stop together, at the point where all of them have learned of it, whichever was sent the signal. There
    a second one changes nothing: torchrun passes on what it gets, the system may have sent the same to every process,
    and a rank that left by itself would take the checkpoint with it. Whoever does not want to wait kills torchrun.

    Outside the main thread, where Python allows no handlers, it does nothing.

    Args:
        ranks: Those that stop together; ``None`` is this process alone.
    """

    def __init__(self, ranks: Ranks | None = None) -> None:
        self._ranks = ranks or Ranks()
        self._received = False
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
        """Put the earlier handlers back; of several ranks, ignore what may still come if the run has been ended.

        As soon as one of them has left, torchrun sends the others SIGTERM, which must not cut short what they say.
        """
        ending = error is not None and self._ranks.world_size > 1
        for signum, handler in self._previous.items():
            signal.signal(signum, signal.SIG_IGN if ending else handler)

    @property
    def requested(self) -> bool:
        """Whether a signal has come, as far as all ranks know."""
        return self._ranks.stop_signal != 0

    def stop_if_requested(self) -> None:
        """Raise, at a point where everything is in order, if a signal has come.

        Raises:
            Interrupted: If so.
        """
        if self.requested:
            raise Interrupted(self._ranks.stop_signal)

    def stop_at_once(self) -> None:
        """From now on a signal raises `Interrupted` wherever the program is: nothing can be left half done any more."""
        self._ranks.wait()  # all ranks learn of a signal to one of them
        self._at_once = True
        self.stop_if_requested()

    def _handle(self, signum: int, frame: FrameType | None) -> None:
        alone = self._ranks.world_size == 1
        if self._at_once or (self._received and alone):
            raise Interrupted(signum)
        again, self._received = self._received, True
        self._ranks.request_stop(signum)
        if self._ranks.first and not again:
            # Not print: the signal may have come in the middle of another one, whose buffer must not be entered twice.
            once_more = b"; once more to stop at once" if alone else b""
            os.write(2, b"\nFinishing the step and writing a checkpoint%s.\n" % once_more)
