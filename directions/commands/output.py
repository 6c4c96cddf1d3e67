"""Standard output, whose failures are told from those of files: a full disk is one sentence, not a traceback.

Around every verb, by `directions.cli`. A reader that went away (``| head``) is no failure; Typer ends quietly then.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from collections.abc import Iterator
from typing import Any, TextIO, cast

from directions.errors import UserError


class _Output:
    """A stream that says of an error that it is its own.

    Args:
        stream: What everything goes to.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._fault: str | None = None

    def write(self, text: str) -> int:
        """Write text."""
        with self._explained():
            return self._stream.write(text)

    def flush(self) -> None:
        """Write what is held back."""
        with self._explained():
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        """Give everything else of the stream."""
        return getattr(self._stream, name)

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        if self._fault is not None:  # said again: Typer passes over an error of its first, empty write
            raise UserError(self._fault)
        try:
            yield
        except OSError as error:
            if error.errno in (None, errno.EPIPE):
                raise
            _discard(self._stream)
            cause = os.strerror(error.errno or 0)
            self._fault = f"Cannot write to standard output: {cause}. Send it somewhere else."
            raise UserError(self._fault) from error


@contextlib.contextmanager
def explained_output() -> Iterator[None]:
    """Within the block, what cannot be written to standard output is the user's to know.

    Yields:
        Nothing.

    Raises:
        UserError: If it cannot be written for another reason than that nobody reads it any more.
    """
    stream = sys.stdout
    if stream is None:  # closed by whoever started the program
        yield
        return
    sys.stdout = output = cast("TextIO", _Output(stream))
    try:
        yield
        output.flush()
    finally:
        if sys.stdout is output:
            sys.stdout = stream


def _discard(stream: TextIO) -> None:
    """Let what is still held back go nowhere, or Python would try, and complain, once more when it ends."""
    with contextlib.suppress(OSError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        try:
            os.dup2(nowhere, stream.fileno())
        finally:
            os.close(nowhere)
