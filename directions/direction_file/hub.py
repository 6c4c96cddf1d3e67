"""Fetch a direction file from the Hugging Face Hub: one file of a known name, checked, never anything else.

``load_directions("owner/name")`` comes here if there is no such path on this machine; `directions.hub` is the way
back. The Hub's own client (extra ``hub``) does the transfer into its cache; it is imported when something is fetched.
"""

from __future__ import annotations

import hashlib
import importlib
import os
import re
from pathlib import Path
from types import ModuleType
from typing import Any

from directions.errors import MissingExtraError, UserError

FILE_NAME = "directions.safetensors"
"""Name of the direction file in a repository of the Hub."""

LARGEST = 200_000_000
"""Bytes of a direction file on the Hub, at most; what is larger is something else."""

TIMEOUT = 10.0
"""Seconds to wait for an answer before the Hub counts as out of reach."""

_ID = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}")
_SWITCHES = ("HF_HUB_OFFLINE", "DIRECTIONS_OFFLINE")


def is_hub_id(text: object) -> bool:
    """Whether something is the name of a repository of the Hub, and not a path that is or was meant to be here."""
    # A path object never is one; nor is what ends like a direction file, or begins with a folder that is here.
    if not isinstance(text, str) or not _ID.fullmatch(text) or text.endswith(".safetensors"):
        return False
    return not Path(text).exists() and not Path(text.split("/")[0]).exists()


def fetch_from_hub(repository: str, *, revision: str | None = None) -> Path:
    """Fetch the direction file of a repository, or find it in the Hub's cache.

    Args:
        repository: ``owner/name``.
        revision: Branch, tag or commit; ``None`` is the newest state.

    Returns:
        The file, in the cache. Its size and digest are those that the Hub tells; whether it is a sound direction file
        is for the reader to see.

    Raises:
        UserError: If the name is not one, or there is no such file, or the Hub cannot be reached; the message says what
            to do.
    """
    require_hub_id(repository)
    client = hub_client("Fetching from the Hub")
    where: dict[str, Any] = {"revision": revision, "cache_dir": os.environ.get("HF_HUB_CACHE")}
    if is_offline():
        try:
            return Path(client.hf_hub_download(repository, FILE_NAME, local_files_only=True, **where))
        except Exception as error:  # the client raises what it likes
            raise UserError(
                f"{repository} is neither a file here nor in the Hub's cache, and downloads are switched off by "
                f"{' or '.join(_SWITCHES)}. Unset that, or fetch the file on another machine with directions pull and "
                "give its path."
            ) from error
    try:
        url = client.hf_hub_url(repository, FILE_NAME, revision=revision, endpoint=endpoint())
        known = client.get_hf_file_metadata(url, timeout=TIMEOUT)
        if known.size is not None and known.size > LARGEST:
            raise UserError(
                f"{FILE_NAME} of {repository} has {known.size:,} bytes, more than {LARGEST:,}: it is something else."
            )
        found = client.hf_hub_download(repository, FILE_NAME, endpoint=endpoint(), etag_timeout=TIMEOUT, **where)
    except UserError:
        raise
    except Exception as error:
        raise UserError(explain(repository, error, doing="fetched", revision=revision)) from error
    path = Path(found)
    _check(path, repository, known.size, known.etag)
    return path


def require_hub_id(repository: str) -> None:
    """Check the name of a repository.

    Args:
        repository: What a user gave.

    Raises:
        UserError: If it is not of the form ``owner/name``.
    """
    if not _ID.fullmatch(repository):
        raise UserError(
            f"A repository of the Hub is called owner/name, in letters, digits, dots, _ and -, got {repository!r}."
        )


def hub_client(what: str) -> ModuleType:
    """Import the Hub's client.

    Args:
        what: What it is for, as the beginning of a sentence.

    Returns:
        The module.

    Raises:
        MissingExtraError: If it is not installed.
    """
    try:
        return importlib.import_module("huggingface_hub")
    except ImportError as error:
        raise MissingExtraError(what, "hub") from error


def endpoint() -> str | None:
    """The Hub's address where it is not the usual one, from ``HF_ENDPOINT``."""
    return os.environ.get("HF_ENDPOINT") or None


def is_offline() -> bool:
    """Whether downloads are switched off, by ``HF_HUB_OFFLINE`` or ``DIRECTIONS_OFFLINE``."""
    return any(os.environ.get(name, "").lower() in ("1", "true", "yes", "on") for name in _SWITCHES)


def explain(repository: str, error: Exception, *, doing: str, revision: str | None = None) -> str:
    """Say in words why the Hub's client failed.

    Args:
        repository: What was asked for.
        error: What the client raised.
        doing: What could not be done: ``fetched`` or ``written``.
        revision: What was asked for of it.

    Returns:
        One sentence or two, with what to do.
    """
    kind = type(error).__name__
    status = getattr(getattr(error, "response", None), "status_code", None)
    hub = endpoint() or "the Hub"
    if kind == "RevisionNotFoundError":
        return f"{repository} has no revision {revision!r}. Give a branch, a tag or a commit that it has."
    if kind in ("EntryNotFoundError", "RemoteEntryNotFoundError"):
        return f"{repository} holds no {FILE_NAME}, so there are no directions in it."
    if kind in ("RepositoryNotFoundError", "GatedRepoError") or status in (401, 403):
        return (
            f"{repository} cannot be {doing}: {hub} knows no such repository, or you may not "
            f"{'see' if doing == 'fetched' else 'write'} it. Check its name (a path on this machine? it is not there); "
            "log in with hf auth login, or set HF_TOKEN."
        )
    if status is not None:
        return f"{repository} cannot be {doing}: {hub} answered with status {status}. Try again later."
    cause: BaseException = error
    while cause.__cause__ is not None:
        cause = cause.__cause__
    first = (str(cause).splitlines() or [""])[0].rstrip(".") or type(cause).__name__
    return (
        f"{repository} is not a path on this machine, and {hub} cannot be reached ({first}). Check the network, or "
        "fetch the file on another machine with directions pull and give its path."
        if doing == "fetched"
        else f"{repository} cannot be {doing}: the transfer to {hub} failed ({first}). Check the network."
    )


def _check(path: Path, repository: str, size: int | None, etag: str | None) -> None:
    """Compare a fetched file with what the Hub told of it; an etag is a SHA-256, or what Git calls a blob."""
    data = path.read_bytes()
    digest = (etag or "").strip('"')
    sound = size is None or len(data) == size
    if sound and re.fullmatch(r"[0-9a-f]{64}", digest):
        sound = hashlib.sha256(data).hexdigest() == digest
    elif sound and re.fullmatch(r"[0-9a-f]{40}", digest):
        sound = hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest() == digest
    if not sound:
        raise UserError(
            f"{path}, fetched from {repository}, is not what the Hub has: its size or digest is another. Delete it and "
            "fetch it again."
        )
