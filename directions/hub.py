"""Direction files on the Hugging Face Hub: fetch one, write its card, commit both with pictures."""

from __future__ import annotations

import errno
import importlib
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from directions.errors import MissingExtraError, UserError
from directions.files import cannot_write
from directions.generators.weights import is_offline

FILE_NAME = "directions.safetensors"
"""Name of the direction file in a repository of the Hub."""

TIMEOUT = 10.0
"""Seconds to wait for an answer before the Hub counts as out of reach."""

PICTURES = ("overview*.gif", "contact_sheet*.png")
"""Which files of a folder of pictures go along: those that show all directions, as ``directions render`` names them."""

_ID = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}")
_LICENSE = re.compile(r"[a-z0-9][a-z0-9.+-]{0,63}")
_SCORES = {"before": "before", "after": "after", "random": "random directions", "axes": "axes of z"}


def is_hub_id(text: object) -> bool:
    """Whether something that is no path here is the name of a repository of the Hub, and not a path misspelt."""
    # A path object never is one; nor is what ends like a direction file, or begins with a folder that is here.
    named_so = isinstance(text, str) and _ID.fullmatch(text) and not text.endswith(".safetensors")
    return bool(named_so) and not Path(str(text)).parent.exists()


def require_hub_id(repository: str) -> None:
    """Check the name of a repository.

    Args:
        repository: What a user gave.

    Raises:
        UserError: If it is not of the form ``owner/name``.
    """
    if not _ID.fullmatch(repository):
        allowed = "owner/name, in letters, digits, dots, _ and -"
        raise UserError(f"A repository of the Hub is called {allowed}, got {repository!r}.")


def fetch_from_hub(repository: str, *, revision: str | None = None) -> Path:
    """Fetch the direction file of a repository, or find it in the Hub's cache.

    Args:
        repository: ``owner/name``.
        revision: Branch, tag or commit; ``None`` is the newest state.

    Returns:
        The file, in the cache. Whether it is a sound direction file, to its checksum, is for the reader to see.

    Raises:
        UserError: If the name is not one, or there is no such file, or the Hub cannot be reached; the message says what
            to do.
    """
    require_hub_id(repository)
    client = _client("Fetching from the Hub")
    offline, where = is_offline(), {"revision": revision, "endpoint": _endpoint()}
    cache: dict[str, Any] = {"cache_dir": os.environ.get("HF_HUB_CACHE"), "local_files_only": offline}
    try:
        if not offline:  # without a network the download would try for half a minute, and this gives up at once
            client.get_hf_file_metadata(client.hf_hub_url(repository, FILE_NAME, **where), timeout=TIMEOUT)
        return Path(client.hf_hub_download(repository, FILE_NAME, etag_timeout=TIMEOUT, **where, **cache))
    except Exception as error:  # the client raises what it likes
        raise UserError(_explain(repository, error, "fetched", offline=offline, revision=revision)) from error


def public_header(header: Mapping[str, Any]) -> dict[str, Any]:
    """Return a header without the paths of this machine, which the settings of a run may hold."""
    config = header["config"] | ({"weights": None} if header["config"].get("weights") is not None else {})
    generator = {key: value for key, value in header["generator"].items() if key != "path"}
    return {**header, "config": config, "generator": generator}


def card_and_pictures(
    header: Mapping[str, Any], repository: str, *, pictures: Path | None = None, license_name: str | None = None
) -> dict[str, bytes]:
    """Put together what a repository shall hold beside the direction file.

    Args:
        header: The direction file's.
        repository: ``owner/name`` on the Hub.
        pictures: Folder that ``directions render`` wrote; ``None`` for none.
        license_name: As the Hub writes licenses, such as ``mit``.

    Returns:
        For each path in the repository its bytes.

    Raises:
        UserError: If the license is not a word.
    """
    found = [] if pictures is None else [path for pattern in PICTURES for path in sorted(pictures.glob(pattern))]
    files = {f"pictures/{path.name}": path.read_bytes() for path in found}
    card = write_card(header, repository, pictures=list(files), license_name=license_name)
    return {"README.md": card.encode("utf-8"), **files}


def push(files: Mapping[str, bytes], repository: str, *, message: str, private: bool = False) -> str:
    """Make a repository if there is none, and commit files to it: all of them or none.

    Args:
        files: For each path in the repository its bytes.
        repository: ``owner/name``.
        message: Of the commit.
        private: Whether a new repository is for you alone.

    Returns:
        The address of the commit.

    Raises:
        UserError: If the Hub cannot be reached, or does not let you.
    """
    client = _client("Writing to the Hub")
    if is_offline():
        switches = "HF_HUB_OFFLINE or DIRECTIONS_OFFLINE"
        raise UserError(f"{repository} cannot be written: the network is switched off by {switches}.")
    try:
        interface = client.HfApi(endpoint=_endpoint())
        interface.create_repo(repository, private=private, exist_ok=True)
        additions = [client.CommitOperationAdd(path_in_repo=path, path_or_fileobj=data) for path, data in files.items()]
        commit = interface.create_commit(repository, additions, commit_message=message)
    except Exception as error:  # the client raises what it likes
        raise UserError(_explain(repository, error, "written")) from error
    return str(commit.commit_url)


def write_card(
    header: Mapping[str, Any], repository: str, *, pictures: Sequence[str] = (), license_name: str | None = None
) -> str:
    """Write the model card of a direction file from its header.

    Args:
        header: The direction file's. Names and notes are other people's text: nothing in them becomes Markdown, HTML
            or YAML.
        repository: ``owner/name`` on the Hub.
        pictures: Paths in the repository of the pictures to show.
        license_name: As the Hub writes licenses, such as ``mit``; ``None`` names none.

    Returns:
        Markdown with YAML front matter.

    Raises:
        UserError: If the license is not a word.

    References:
        The Hub's documentation of model cards.
    """
    from jinja2 import Environment, StrictUndefined

    if license_name is not None and not _LICENSE.fullmatch(license_name):
        allowed = "one word as the Hub writes it, such as mit or cc-by-4.0"
        raise UserError(f"license must be {allowed}, got {license_name!r}.")
    # Jinja does not escape (it would be for HTML): every value from a header goes through a filter.
    environment = Environment(undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"text": as_text, "code": lambda value: " ".join(str(value).split()).replace("`", "'")}
    entries = [entry | {"index": index} for index, entry in enumerate(header["directions"])]
    order = range(len(entries)) if header["order"] is None else header["order"]
    template = Path(__file__).with_name("card.md.j2").read_text(encoding="utf-8")
    card = environment.from_string(template).render(
        repository=repository,
        license=license_name,
        generator=header["generator"],
        directions=entries,
        shown=[entries[index] for index in order if not entries[index]["hidden"]],
        pictures=pictures,
        facts=_facts(header),
    )
    return f"{card}\n"


def as_text(value: object) -> str:
    r"""Keep Markdown and HTML from reading anything into text.

    Args:
        value: What to show.

    Returns:
        One line, with a backslash before each character that means something to Markdown; & and < as entities.

    Example:
        >>> print(as_text("a|b <i>*c*"))
        a\|b &lt;i\>\*c\*
    """
    escaped = re.sub(r"([\\`*_{}\[\]()#+!|>~$])", r"\\\1", " ".join(str(value).split()))
    return escaped.replace("&", "&amp;").replace("<", "&lt;")


def _facts(header: Mapping[str, Any]) -> dict[str, Any]:
    """What is known of where the directions come from; ``None`` is left out of the card."""
    start, stop = header["space"]
    layers, classes, penalty = header["layers"], header["classes"], header["penalty"] or {}
    known = {key: penalty.get(key) for key in _SCORES}
    scores = [f"{_SCORES[key]} {value:.4g}" for key, value in known.items() if isinstance(value, int | float)]
    return {
        "generator": header["generator"]["name"],
        "SHA-256 of its weights": header["generator"]["digest"] or "unknown",
        **{key: header[key] for key in ("method", "steps", "seed", "truncation")},
        "classes": ", ".join(map(str, classes)) if isinstance(classes, list) else classes,
        "components of z": f"{start} to {stop - 1}",
        "layers": None if layers is None else f"{layers[0]} to {layers[-1]}",
        "held-out Hessian penalty": ", ".join(scores) or None,
        "found with": f"biggan-directions {header['tool_version']}",
    }


def _client(what: str) -> ModuleType:
    """Import the Hub's own client, which does the transfer."""
    try:
        return importlib.import_module("huggingface_hub")
    except ImportError as error:
        raise MissingExtraError(what, "hub") from error


def _endpoint() -> str | None:
    """The Hub's address where it is not the usual one."""
    return os.environ.get("HF_ENDPOINT") or None


def _explain(
    repository: str, error: Exception, done: str, *, offline: bool = False, revision: str | None = None
) -> str:
    """Say why the Hub's client failed, with what to do."""
    kind, hub = type(error).__name__, _endpoint() or "the Hub"
    status = getattr(getattr(error, "response", None), "status_code", None)
    elsewhere = "fetch the file on another machine with directions pull and give its path."
    if offline:
        switches = "HF_HUB_OFFLINE or DIRECTIONS_OFFLINE"
        reason = f"is neither a file here nor in the Hub's cache, and downloads are switched off by {switches}"
        return f"{repository} {reason}. Unset that, or {elsewhere}"
    if kind == "RevisionNotFoundError":
        return f"{repository} has no revision {revision!r}. Give a branch, a tag or a commit that it has."
    if kind in ("EntryNotFoundError", "RemoteEntryNotFoundError"):
        return f"{repository} holds no {FILE_NAME}, so there are no directions in it."
    if kind in ("RepositoryNotFoundError", "GatedRepoError") or status in (401, 403):
        reason = f"{hub} knows no such repository, or you may not {'see' if done == 'fetched' else 'write'} it"
        advice = "Check its name (a path on this machine? it is not there); log in with hf auth login, or set HF_TOKEN."
        return f"{repository} cannot be {done}: {reason}. {advice}"
    if status is not None:
        return f"{repository} cannot be {done}: {hub} answered with status {status}. Try again later."
    cause: BaseException = error
    while cause.__cause__ is not None:
        cause = cause.__cause__
    if isinstance(cause, OSError) and (cause.filename or cause.errno in (errno.ENOSPC, errno.EDQUOT)):
        return f"{cannot_write(cause.filename or 'the cache of the Hub', cause)} HF_HUB_CACHE names another folder."
    first = (str(cause).splitlines() or [""])[0].rstrip(".") or type(cause).__name__
    if done == "fetched":
        reason = f"is not a path on this machine, and {hub} cannot be reached ({first})"
        return f"{repository} {reason}. Check the network, or {elsewhere}"
    return f"{repository} cannot be written: the transfer to {hub} failed ({first}). Check the network."
