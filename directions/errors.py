"""The one exception for wrong input, and the "did you mean" that goes with it.

Everything that checks what a user gave (configuration, generators, files, the command line) raises
`UserError`; the command line turns it into ``Error: …`` and exit status 2. Our own invariants are asserted.
"""

from __future__ import annotations

import difflib
import signal
from collections.abc import Iterable


class UserError(ValueError):
    """A user's input is wrong; the message is complete and can be shown as it is.

    The message says what is wrong, what was given, what is allowed and what to do:
    ``num_probes must be at least 2, got 1.``
    """


class MissingExtraError(UserError):
    """A package is not installed because it belongs to an extra of the distribution.

    Args:
        what: What cannot be done without it, as the beginning of a sentence.
        extra: The extra's name in pyproject.toml.

    Example:
        >>> print(MissingExtraError("Drawing plots", "plots"))
        Drawing plots needs packages that are not installed. Install them: pip install 'biggan-directions[plots]'
    """

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(
            f"{what} needs packages that are not installed. Install them: pip install 'biggan-directions[{extra}]'"
        )


class NonFiniteError(RuntimeError):
    """The penalty, its gradient or a Hessian is no longer a number; the message says where and what to try."""


class OutOfMemoryError(UserError):
    """What was asked for does not fit into memory; the message says what to make smaller.

    Args:
        message: The whole of it.
        micro_batch: The micro-batch to try next in discovery, or ``None`` where that is not the answer.
    """

    def __init__(self, message: str, micro_batch: int | None = None) -> None:
        super().__init__(message)
        self.micro_batch = micro_batch


class RankLostError(RuntimeError):
    """Another process of the same run does not answer any more; the message says what is known of it."""


class Interrupted(BaseException):  # not an Exception: what catches those must not take it for a fault
    """A signal asked for the end.

    Attributes:
        exit_code: 128 + the signal's number: 130 for SIGINT, 143 for SIGTERM.
    """

    def __init__(self, signum: int) -> None:
        super().__init__(f"Interrupted by {signal.Signals(signum).name}.")
        self.exit_code = 128 + signum


def nearest(word: str, allowed: Iterable[str]) -> str:
    """Suggest the allowed word that a misspelt one most resembles, whatever the case.

    Args:
        word: What the user wrote.
        allowed: The words that would have been right.

    Returns:
        `` Did you mean 'x'?``, with a leading space so that it can be appended to a sentence, or an empty string if
        nothing comes close.

    Example:
        >>> nearest("Shpere", ["cube", "sphere"])
        " Did you mean 'sphere'?"
        >>> nearest("teapot", ["cube", "sphere"])
        ''
    """
    by_folded: dict[str, str] = {}
    for candidate in allowed:
        by_folded.setdefault(candidate.casefold(), candidate)
    matches = difflib.get_close_matches(word.casefold(), by_folded, n=1)
    return f" Did you mean {by_folded[matches[0]]!r}?" if matches else ""
