"""Change a direction file that others may be changing too: one at a time, and wholly or not at all.

On top of ``file.py``: the command line and the page name directions through here. A lock keeps two programs from
reading the same old file and each writing its own new one, by which the first one's change would be lost; the atomic
write keeps the old file until the new one is complete.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from directions.direction_file.file import Directions, load_directions
from directions.errors import UserError

LOCK_SECONDS = 10.0
"""How long to wait for others by default. A change takes milliseconds; who holds the lock longer is stuck."""


def edit_directions(
    path: str | os.PathLike[str], change: Callable[[Directions], Directions], *, timeout: float = LOCK_SECONDS
) -> Directions:
    """Read a direction file, change it and write it back, while nobody else does.

    The lock is the operating system's, on an empty hidden file that stays beside the direction file
    (``.directions.safetensors.lock``). It ends with the process that holds it, however that ends, so a left-over lock
    file locks nobody out.

    Args:
        path: The file.
        change: Given what the file holds now, returns what it shall hold. Nothing is written if it raises, or returns
            what it was given.
        timeout: Seconds to wait for others to be done.

    Returns:
        What the file holds now.

    Raises:
        UserError: If the file is missing or not sound, another program holds the lock for longer than ``timeout``, or
            the file cannot be written; and what ``change`` raises. The file is as it was then.

    Example::

        edit_directions("directions.safetensors", lambda found: found.renamed(5, "rotation"))
    """
    from filelock import FileLock, Timeout

    target = Path(os.path.realpath(path))  # as the atomic write: a link and its target are one file
    if not target.is_file():
        return load_directions(path)  # says what is wrong with it
    lock = target.with_name(f".{target.name}.lock")
    try:
        held = FileLock(lock, timeout=timeout).acquire(poll_interval=0.02)
    except Timeout:
        raise UserError(
            f"Cannot change {path}: another program has been changing it for more than {timeout:g} seconds. Close that "
            f"program (it has {lock} open), then try again."
        ) from None
    except OSError as error:
        raise UserError(
            f"Cannot change {path}: cannot lock {lock} ({error.strerror or error}). Make its folder writable, or copy "
            "the file to another."
        ) from error
    with held:
        found = load_directions(path)
        wanted = change(found)
        if wanted is not found:
            wanted.save(path)
        return wanted
