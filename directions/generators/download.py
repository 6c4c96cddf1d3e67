"""Fetch one file over HTTP so that it is whole or not there: resumed when cut off, checked, then put in place.

Used by ``sources`` where weights are nowhere on this machine. What is not finished lies beside the destination as
``….partial``; a later call goes on with it where the server still has the same file, and starts anew otherwise.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import ssl
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from directions.errors import UserError
from directions.generators.reachable import cause_of
from directions.generators.weight_files import fault_of_beginning, record, record_path, sha256_of

TIMEOUT = 10.0
"""Seconds without an answer, or without a byte, after which a server counts as gone."""
ATTEMPTS = 3
_CHUNK = 1 << 18


class DownloadError(UserError):
    """A file could not be fetched; the message says why, and nothing broken is left behind."""


class _CutOff(Exception):  # noqa: N818 — not an error yet: the download is tried again
    """The connection ended before the file did."""


@dataclass(frozen=True, kw_only=True)
class Expected:
    """What is known of a file before it is fetched.

    Attributes:
        sha256: Its digest; ``None`` takes what comes and records it.
        size: Its bytes; ``None`` where unknown.
        least: Bytes that it must have.
    """

    sha256: str | None = None
    size: int | None = None
    least: int = 1


def fetch(url: str, target: Path, expected: Expected, *, timeout: float = TIMEOUT) -> str:
    """Fetch a file, with a progress bar on stderr, and record its digest beside it.

    Args:
        url: Its address, http or https.
        target: Where to put it; folders are made.
        expected: What to check it against.
        timeout: Seconds to wait for the server each time.

    Returns:
        SHA-256 of the file.

    Raises:
        DownloadError: If it cannot be had, is not what is expected, or cannot be written here. What was received of an
            unfinished file is kept for the next call.
    """
    partial = target.with_name(target.name + ".partial")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("ab") as file, _alone(file, target):
            note = _receive_all(url, file, partial, expected, timeout)
        return _put_in_place(url, partial, target, expected, note)
    except (urllib.error.URLError, http.client.HTTPException, ssl.SSLError, ConnectionError, TimeoutError) as error:
        raise DownloadError(f"{url} cannot be reached: {cause_of(error)}.") from None
    except OSError as error:
        raise DownloadError(
            f"Cannot write {error.filename or target}: {error.strerror}. Free some space, or set DIRECTIONS_CACHE to "
            "another folder."
        ) from None
    finally:
        _remove_if_empty(partial)


def _receive_all(url: str, file: IO[bytes], partial: Path, expected: Expected, timeout: float) -> dict[str, Any]:
    """Receive the file, going on where it was cut off, a few times."""
    for attempt in range(ATTEMPTS):
        before = _length(file)
        try:
            return _receive(url, file, partial, expected, timeout)
        except _CutOff as cut:
            kept = _length(file)
            if attempt == ATTEMPTS - 1 or kept <= before:
                goes_on = kept and _can_go_on(_read_note(record_path(partial)), url)
                next_try = (
                    f"{kept:,} bytes are kept; the same command goes on from there." if goes_on
                    else "The same command tries again, from the beginning."
                )  # fmt: skip
                raise DownloadError(f"The download of {url} was cut off ({cut}). {next_try}") from None
    raise AssertionError("the last attempt returns or raises")


def _receive(url: str, file: IO[bytes], partial: Path, expected: Expected, timeout: float) -> dict[str, Any]:
    """Receive what is still missing."""
    have = _length(file)
    note_path = record_path(partial)
    note = _read_note(note_path)
    request = urllib.request.Request(url, headers={"Accept-Encoding": "identity", "User-Agent": "biggan-directions"})
    if have and _can_go_on(note, url):
        request.add_header("Range", f"bytes={have}-")
        request.add_header("If-Range", note["etag"])  # the whole file where it has changed
    try:
        response = urllib.request.urlopen(request, timeout=timeout)
    except urllib.error.HTTPError as error:
        with error:
            if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and have:
                _empty(file, note_path)
                return _receive(url, file, partial, expected, timeout)
            raise DownloadError(f"{url} answers {error.code} {error.reason}.") from None
    with response:
        if response.status != http.HTTPStatus.PARTIAL_CONTENT or not _starts_at(response, have):
            _empty(file, note_path)
            have = 0
        note = {"url": url, "etag": response.headers.get("ETag")}
        note_path.write_text(json.dumps(note), encoding="utf-8")
        total = _total(response, have)
        _check_before(url, response, file, total, have, expected)
        with _bar(total, have, url) as bar:
            for chunk in _chunks(response):
                fault = fault_of_beginning(chunk[:512]) if have == 0 else None
                if fault:
                    _drop(file, partial)
                    raise DownloadError(f"What {url} gives {fault}, not the weights.")
                file.write(chunk)
                have += len(chunk)
                bar.update(len(chunk))
        file.flush()
    if total is not None and have < total:
        raise _CutOff(f"after {have:,} of {total:,} bytes")
    return note


def _put_in_place(url: str, partial: Path, target: Path, expected: Expected, note: dict[str, Any]) -> str:
    """Check the whole file, and let it take the place of an older one in one step."""
    size, digest = partial.stat().st_size, sha256_of(partial)
    wrong = None
    if expected.sha256 is not None and digest != expected.sha256:
        wrong = f"its SHA-256 is {digest}, that of the published file is {expected.sha256}"
    elif expected.size is not None and size != expected.size:
        wrong = f"it has {size:,} bytes, the published file has {expected.size:,}"
    elif size < expected.least:
        wrong = f"it has {size:,} bytes, the tensors alone take {expected.least:,}"
    record_path(partial).unlink(missing_ok=True)
    if wrong:
        partial.unlink()
        raise DownloadError(f"What {url} gives is not the published file: {wrong}. It was deleted.")
    with partial.open("rb+") as file:
        os.fsync(file.fileno())
    record_path(target).unlink(missing_ok=True)  # never one file beside the record of another
    partial.replace(target)
    record(target, digest, **note)
    return digest


def _check_before(
    url: str, response: http.client.HTTPResponse, file: IO[bytes], total: int | None, have: int, expected: Expected
) -> None:
    """Refuse, before receiving it, what cannot be the file or does not fit on the disk."""
    if response.headers.get_content_type() == "text/html":
        _drop(file, Path(file.name))
        raise DownloadError(f"What {url} gives is a web page (HTML), not the weights.")
    if total is None:
        return
    if total < expected.least or (expected.size is not None and total != expected.size):
        _drop(file, Path(file.name))
        wanted = f"{expected.size:,}" if expected.size is not None else f"at least {expected.least:,}"
        raise DownloadError(f"{url} gives a file of {total:,} bytes, not the published one of {wanted}.")
    free = shutil.disk_usage(Path(file.name).parent).free
    if free < total - have:
        raise DownloadError(
            f"{Path(file.name).parent} has {free:,} bytes free, {total - have:,} are needed. Free some space, or set "
            "DIRECTIONS_CACHE to another folder."
        )


def _chunks(response: http.client.HTTPResponse) -> Iterator[bytes]:
    """Give what is received piece by piece; whatever ends it early is a cut."""
    while True:
        try:
            chunk = response.read1(_CHUNK)
        except http.client.IncompleteRead as error:
            if error.partial:
                yield error.partial
            return
        except TimeoutError:
            raise _CutOff("no byte came for too long") from None
        except (ConnectionError, ssl.SSLError) as error:
            raise _CutOff(cause_of(error)) from None
        if not chunk:
            return
        yield chunk


@contextlib.contextmanager
def _alone(file: IO[bytes], target: Path) -> Iterator[None]:
    """Keep two processes from writing one file."""
    try:
        import fcntl
    except ImportError:  # no such locks on Windows: the digest tells
        yield
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise DownloadError(f"Another process is downloading {target}. Wait for it, and try again.") from None
    yield


def _bar(total: int | None, have: int, url: str) -> Any:
    from tqdm import tqdm

    interval = 0.2 if sys.stderr.isatty() else 15.0
    name = url.rsplit("/", 1)[-1]
    return tqdm(total=total, initial=have, unit="B", unit_scale=True, desc=name, mininterval=interval, leave=False)


def _length(file: IO[bytes]) -> int:
    file.flush()
    return os.fstat(file.fileno()).st_size


def _empty(file: IO[bytes], note_path: Path) -> None:
    file.truncate(0)
    note_path.unlink(missing_ok=True)


def _remove_if_empty(partial: Path) -> None:
    with contextlib.suppress(OSError):
        if partial.stat().st_size == 0:
            partial.unlink()
            record_path(partial).unlink(missing_ok=True)


def _drop(file: IO[bytes], partial: Path) -> None:
    """Leave nothing of what was received."""
    _empty(file, record_path(partial))
    partial.unlink(missing_ok=True)


def _starts_at(response: http.client.HTTPResponse, have: int) -> bool:
    return (response.headers.get("Content-Range") or "").startswith(f"bytes {have}-")


def _total(response: http.client.HTTPResponse, have: int) -> int | None:
    length = response.headers.get("Content-Length")
    return have + int(length) if length and length.isdecimal() else None


def _can_go_on(note: dict[str, Any], url: str) -> bool:
    """Whether a server that has the same file as before can tell so: by an ETag, and not a weak one."""
    etag = note.get("etag")
    return note.get("url") == url and isinstance(etag, str) and bool(etag) and not etag.startswith("W/")


def _read_note(path: Path) -> dict[str, Any]:
    try:
        note = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return note if isinstance(note, dict) else {}
