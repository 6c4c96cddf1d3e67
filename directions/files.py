"""Files that are either the old one or the whole new one, never half of it, and paths as users write them."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

from directions.errors import UserError

_LONGEST_SUFFIX = 16

_REMEDIES = {
    errno.ENOSPC: "Free some space, or write somewhere else.",
    errno.EDQUOT: "Free some space, or write somewhere else.",
    errno.EACCES: "Make it writable, or write somewhere else.",
    errno.ENAMETOOLONG: "Give a shorter name.",
}


def user_path(text: str | os.PathLike[str]) -> Path:
    """Read a path as users write it, with ``~`` for the home folder: the shell leaves it alone in ``--out=~/runs``.

    Args:
        text: A path; where nobody knows the home folder, ``~`` stays as it is.

    Returns:
        The path.
    """
    return Path(os.path.expanduser(text))  # noqa: PTH111 — Path.expanduser raises without a home folder


def cannot_write(path: str | os.PathLike[str], error: OSError) -> str:
    """Say which file or folder could not be written, why, and what helps.

    Args:
        path: What was to be written.
        error: What the system said.

    Returns:
        One sentence and a remedy, for a `UserError`.
    """
    cause = os.strerror(error.errno) if error.errno else str(error)
    return f"Cannot write {path}: {cause}. {_REMEDIES.get(error.errno or 0, 'Write somewhere else.')}"


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
    with _partial(path) as (target, partial):
        yield partial
        _flush(partial)
        with contextlib.suppress(OSError):  # who may read and write the old file may do so with the new one
            partial.chmod(stat.S_IMODE(target.stat().st_mode))
        partial.replace(target)
        _flush_folder(target.parent)


def require_writable(path: str | os.PathLike[str]) -> None:
    """Check that a file can be written, before the work whose result it is to hold.

    Args:
        path: The file; what is there already stays as it is.

    Raises:
        UserError: If it is a folder, or its folder does not exist or cannot be written.
    """
    with _partial(path):
        pass


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
    target = Path(os.path.realpath(user_path(path)))
    token = secrets.token_hex(8)
    partial, old = target.parent / f".{token}.partial", target.parent / f".{token}.partial-old"
    with explained(path, partial, target):
        try:
            _require_replaceable(path, target, replaces)
            partial.mkdir()
            yield partial
            for file in partial.rglob("*"):
                if file.is_file():
                    _flush(file)
            _require_replaceable(path, target, replaces)  # others may have put files there meanwhile
            if target.exists():
                target.rename(old)
            partial.rename(target)
            _flush_folder(target.parent)
        finally:
            if old.exists() and not target.exists():
                old.rename(target)
            shutil.rmtree(partial, ignore_errors=True)
            shutil.rmtree(old, ignore_errors=True)


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


@contextlib.contextmanager
def _partial(path: str | os.PathLike[str]) -> Iterator[tuple[Path, Path]]:
    """Within the block, there is an empty file under a temporary name; yields the final and the temporary path."""
    target = Path(os.path.realpath(user_path(path)))
    # A name may be as long as the system allows, and most of it may be the suffix.
    suffix = target.suffix if len(os.fsencode(target.suffix)) <= _LONGEST_SUFFIX else ""
    partial = target.parent / f".{secrets.token_hex(8)}.partial{suffix}"
    with explained(path, partial, target):
        if target.is_dir():
            raise UserError(f"Cannot write {path}: it is a folder. Give the path of a file.")
        if target.exists() and not os.access(target, os.W_OK):  # a file is replaced, which its folder alone would allow
            raise UserError(f"Cannot write {path}: it is write-protected. Allow it (chmod +w), or give another path.")
        _require_parent(path, target)
        try:
            # Not tempfile.mkstemp: its mode 0600 would outlive the rename and ignore the user's umask.
            os.close(os.open(partial, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
            yield target, partial
        finally:
            with contextlib.suppress(OSError):
                partial.unlink(missing_ok=True)


@contextlib.contextmanager
def explained(path: str | os.PathLike[str], *places: Path) -> Iterator[None]:
    """Within the block, an error of the system becomes a sentence about a path.

    Args:
        path: What was to be written.
        places: Which files or folders the error must be about, if it is about any; none takes every error.

    Yields:
        Nothing.

    Raises:
        UserError: The sentence.
        OSError: What the block raised, if it is about something else; it passes unchanged.
    """
    try:
        yield
    except OSError as error:
        name = error.filename
        about = not places or name is None or any(Path(str(name)).is_relative_to(place) for place in places)
        if error.errno is None or not about:
            raise
        raise UserError(cannot_write(path, error)) from error


def _require_parent(path: str | os.PathLike[str], target: Path) -> None:
    if not target.parent.is_dir():
        raise UserError(f"Cannot write {path}: the folder {target.parent} does not exist. Create it, or give another.")


def _require_replaceable(path: str | os.PathLike[str], target: Path, replaces: Callable[[Path], bool]) -> None:
    _require_parent(path, target)
    if target.exists() and not target.is_dir():
        raise UserError(f"Cannot write the folder {path}: there is a file of this name. Give another name.")
    if target.is_dir() and any(target.iterdir()) and not replaces(target):
        raise UserError(f"Cannot write the folder {path}: it holds other files. Give another, or empty it.")


def _flush(path: Path) -> None:
    """Force content to disk, so that the rename never overtakes it (a power cut would leave a file empty)."""
    # A file is opened for writing because Windows refuses to flush a read-only handle.
    handle = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _flush_folder(folder: Path) -> None:
    """Force a rename to disk where the system can; the new file is complete either way."""
    with contextlib.suppress(OSError):
        _flush(folder)
