"""Files that are either the old one or the whole new one, never half of it.

Every file the package writes (direction file, checkpoint, configuration, picture) goes through here: it is written
beside its destination under a temporary name, forced to disk, and moved over the old one in a single step. A kill at
any moment, or a full disk, leaves what was there before.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from directions.errors import UserError

_REMEDIES = {
    errno.ENOSPC: "Free some space, or write somewhere else.",
    errno.EDQUOT: "Free some space, or write somewhere else.",
    errno.EACCES: "Make it writable, or write somewhere else.",
    errno.EPERM: "Make it writable, or write somewhere else.",
    errno.EROFS: "Write somewhere else.",
    errno.ENAMETOOLONG: "Give a shorter name.",
}


@contextlib.contextmanager
def atomic_write(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Write a file under a temporary name, and put it in place only if the block succeeds.

    The temporary file exists (empty) when the block starts, so a folder that cannot be written is noticed before the
    work, and it has the suffix of ``path``, so writers that look at it choose the right format. A symbolic link is
    followed, not replaced.

    Args:
        path: The file to write; its folder must exist.

    Yields:
        The temporary path, in the same folder; the block writes it and closes it.

    Raises:
        UserError: If the file cannot be written (no such folder, no permission, full disk, …).
        OSError: If the block raises one that is about another file or not from the operating system; it passes
            unchanged, as any other exception does.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "answer.txt"
        >>> with atomic_write(path) as partial:
        ...     _ = partial.write_text("42")
        >>> path.read_text()
        '42'
    """
    target, partial = _places(path)
    try:
        _create(partial)
        yield partial
        _flush(partial)
        partial.replace(target)
        _flush_folder(target.parent)
    except OSError as error:
        if error.errno is None or error.filename not in (None, str(partial), partial):
            raise
        raise UserError(_explain(path, error)) from error
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)


def require_writable(path: str | os.PathLike[str]) -> None:
    """Check that a file can be written, before the work whose result it is to hold.

    Args:
        path: The file; what is there already stays as it is.

    Raises:
        UserError: If it is a folder, or its folder does not exist or cannot be written.
    """
    _, partial = _places(path)
    try:
        _create(partial)
    except OSError as error:
        raise UserError(_explain(path, error)) from error
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)


@contextlib.contextmanager
def atomic_folder(path: str | os.PathLike[str], *, replaces: Callable[[Path], bool]) -> Iterator[Path]:
    """Fill a folder under a temporary name, and put it in place only if the block succeeds.

    A folder cannot be moved over another in one step: the old one is moved aside first, and back if that fails. A kill
    between the two leaves it beside, as ``.….partial-old``.

    Args:
        path: The folder to write; the one around it must exist.
        replaces: Whether a folder that is there and not empty may be replaced; anything else is left alone.

    Yields:
        The temporary folder, beside the other and empty; the block fills it.

    Raises:
        UserError: If the folder cannot be written, or holds what may not be replaced.
        OSError: If the block raises one that is about something else; it passes unchanged.
    """
    target = Path(os.path.realpath(path))
    if not target.parent.is_dir():
        raise UserError(f"Cannot write {path}: the folder {target.parent} does not exist. Create it, or give another.")
    token = secrets.token_hex(8)
    partial, old = target.parent / f".{token}.partial", target.parent / f".{token}.partial-old"
    try:
        _check_replaceable(path, target, replaces)
        partial.mkdir()
        yield partial
        for file in partial.rglob("*"):
            if file.is_file():
                _flush(file)
        _check_replaceable(path, target, replaces)
        if target.exists():
            target.rename(old)
        try:
            partial.rename(target)
        except BaseException:
            if old.exists():
                old.rename(target)
            raise
        _flush_folder(target.parent)
    except OSError as error:
        about = error.filename is None or Path(str(error.filename)).is_relative_to(partial) or target == error.filename
        if error.errno is None or not about:
            raise
        raise UserError(_explain(path, error)) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def _places(path: str | os.PathLike[str]) -> tuple[Path, Path]:
    """Where a file goes, and the temporary name beside it."""
    target = Path(os.path.realpath(path))
    if target.is_dir():
        raise UserError(f"Cannot write {path}: it is a folder. Give the path of a file.")
    if not target.parent.is_dir():
        raise UserError(f"Cannot write {path}: the folder {target.parent} does not exist. Create it, or give another.")
    return target, target.parent / f".{secrets.token_hex(8)}.partial{target.suffix}"


def _create(partial: Path) -> None:
    """Make an empty file."""
    # Not tempfile.mkstemp: its mode 0600 would outlive the rename and ignore the user's umask.
    os.close(os.open(partial, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))


def _check_replaceable(path: str | os.PathLike[str], target: Path, replaces: Callable[[Path], bool]) -> None:
    """Refuse to put a folder where something else is."""
    if target.exists() and not target.is_dir():
        raise UserError(f"Cannot write the folder {path}: there is a file of this name. Give another name.")
    if target.is_dir() and any(target.iterdir()) and not replaces(target):
        raise UserError(f"Cannot write the folder {path}: it holds other files. Give another, or empty it.")


def write_bytes(path: str | os.PathLike[str], data: bytes) -> None:
    """Write bytes to a file, wholly or not at all.

    Args:
        path: The file to write; its folder must exist.
        data: Its whole content.
    """
    with atomic_write(path) as partial:
        partial.write_bytes(data)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write text to a file as UTF-8 with the line ends it has, wholly or not at all.

    Args:
        path: The file to write; its folder must exist.
        text: Its whole content.
    """
    write_bytes(path, text.encode("utf-8"))


def _explain(path: str | os.PathLike[str], error: OSError) -> str:
    """Say which file could not be written, why, and what helps."""
    cause = os.strerror(error.errno) if error.errno else str(error)
    return f"Cannot write {path}: {cause}. {_REMEDIES.get(error.errno or 0, 'Write somewhere else.')}"


def _flush(path: Path) -> None:
    """Force a file's content to disk, so that the rename never overtakes it (a power cut would leave it empty)."""
    # Opened for writing because Windows refuses to flush a read-only handle.
    with path.open("r+b") as file:
        os.fsync(file.fileno())


def _flush_folder(folder: Path) -> None:
    """Force a rename to disk where the system can; the new file is complete either way."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
