"""What people write on directions (names, ranges, notes, stars, an order), and the history of it, which can be undone.

Between the header, whose entries it changes, and `directions.Directions`, which offers this as methods. Every
function takes a header as JSON gives it and returns another; nothing is changed in place.
"""

from __future__ import annotations

import copy
import itertools
import json
import math
import unicodedata
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from typing import Any

from directions import __version__
from directions.direction_file.lookup import short
from directions.errors import UserError, nearest

ANNOTATIONS = ("name", "path_size", "note", "hidden", "starred")
"""What can be written on a direction; each is a key of its entry in the header."""

DEFAULTS: Mapping[str, Any] = {"note": "", "hidden": False, "starred": False}
"""What an entry has where nobody wrote anything; also what format 1, which had none of these, is read as."""

LARGEST_PATH_SIZE = 100.0
"""Of a path size that is written, in latent units: so far do sliders go. z itself has a length of about the square root
of its width, and far beyond it images are no numbers any more."""

LONGEST_NOTE = 2000
"""Characters of a note, at most."""

HISTORY_LENGTH = 200
"""Changes that a file remembers; the oldest are forgotten, and can then not be undone."""

HISTORY_SIZE = 1_000_000
"""Characters that they take in the file, about, at most: many long notes in turn would fill it."""

_NAMED_PARTS = 4


def annotation_fault(index: int, entry: Mapping[str, Any]) -> str | None:
    """Say why what is written on a direction is not sound.

    Args:
        index: The direction's index, for the message.
        entry: Its entry in the header.

    Returns:
        The reason, or ``None``. That names are unique is for the header's check to see.
    """
    name = entry.get("name")
    if not isinstance(name, str) or not name.isprintable() or name.strip() != name or not 1 <= len(name) <= 64:
        return f"the name of direction {index} must be 1 to 64 printable characters, trimmed, got {short(name)}."
    if name.isdecimal():
        return f"the name of direction {index} must not be a number (that is an index), got {name!r}."
    size = entry.get("path_size")
    if isinstance(size, bool) or not isinstance(size, int | float) or not (math.isfinite(size) and size > 0):
        return f"the path_size of direction {index} must be a positive number, got {short(size)}."
    note = entry.get("note", "")
    if not isinstance(note, str) or len(note) > LONGEST_NOTE or not note.replace("\n", "").isprintable():
        return (
            f"the note of direction {index} must be at most {LONGEST_NOTE} printable characters (and line ends), got "
            f"{short(note)}."
        )
    for key in ("hidden", "starred"):
        if not isinstance(entry.get(key, False), bool):
            return f"the {key} of direction {index} must be true or false, got {short(entry[key])}."
    return None


def check_new(index: int, annotations: Mapping[str, Any]) -> None:
    """Refuse to write what a file may hold, as older ones do, but commands would misread or could not show.

    Args:
        index: The direction's index, for the message.
        annotations: What is to be written on it; what `annotation_fault` sees is not looked at.

    Raises:
        UserError: If a name has a meaning where directions are selected, or a path size is above `LARGEST_PATH_SIZE`.
    """
    size = annotations.get("path_size")
    if isinstance(size, int | float) and math.isfinite(size) and size > LARGEST_PATH_SIZE:
        raise UserError(f"The path_size of direction {index} must be at most {LARGEST_PATH_SIZE:g}, got {short(size)}.")
    name = annotations.get("name")
    if name == "all":
        raise UserError(
            f"The name of direction {index} must not be all (that means every direction), got {short(name)}."
        )
    if isinstance(name, str) and "," in name:
        raise UserError(
            f"The name of direction {index} must have no comma (it separates directions), got {short(name)}."
        )


def order_fault(order: Any, ndirs: int) -> str | None:
    """Say why a header's order is not one.

    Args:
        order: What the header has.
        ndirs: Number of directions.

    Returns:
        The reason, or ``None`` if it is ``None`` (as in the matrix) or names each index once.
    """
    if order is None:
        return None
    sound = isinstance(order, list) and all(type(index) is int for index in order)
    if not sound or sorted(order) != list(range(ndirs)):
        return f"its header's 'order' must name each index from 0 to {ndirs - 1} once, or be null, got {short(order)}."
    return None


def history_fault(history: Sequence[Any]) -> str | None:
    """Say why a header's history is not one; whether a change can be undone is seen when it is.

    Args:
        history: The list that the header has.

    Returns:
        The reason, or ``None``.
    """
    for number, change in enumerate(history):
        texts = [change.get(key) for key in ("time", "tool_version", "what")] if isinstance(change, dict) else [None]
        if not all(isinstance(text, str) for text in texts) or not isinstance(change.get("before"), dict | None):
            return f"change {number} of its header's history must have time, tool_version, what and before."
    return None


def annotate(header: Mapping[str, Any], changes: Mapping[int, Mapping[str, Any]]) -> dict[str, Any]:
    """Write on directions.

    Args:
        header: As JSON gives it.
        changes: For each index, some of `ANNOTATIONS`. Names and notes are put in Unicode's composed form, so
            that names which look alike are alike.

    Returns:
        The new header with the change in its history; an equal one if everything was so already. Only what may be in a
        file but must not be written any more is checked.

    Raises:
        UserError: If something else than an annotation is to be written, or what `check_new` refuses.
    """
    new = copy.deepcopy(dict(header))
    before: dict[str, dict[str, Any]] = {}
    said: list[str] = []
    for index, wanted in changes.items():
        entry = new["directions"][index]
        changed = {key: _composed(value) for key, value in wanted.items() if _composed(value) != entry.get(key)}
        for key in changed:
            if key not in ANNOTATIONS:
                hint = nearest(key, ANNOTATIONS)
                raise UserError(f"A direction has no annotation {key!r}; it has {', '.join(ANNOTATIONS)}.{hint}")
        check_new(index, changed)
        if changed:
            said.append(f"{index} {short(entry['name'])}: {', '.join(_said(key, changed[key]) for key in changed)}")
            before[str(index)] = {key: entry[key] for key in changed}
            entry.update(changed)
    if not before:
        return new
    shown = "; ".join(said[:_NAMED_PARTS]) + (f"; and {len(said) - _NAMED_PARTS} more" if said[_NAMED_PARTS:] else "")
    return _remember(new, shown, {"directions": before})


def reorder(header: Mapping[str, Any], order: Sequence[int]) -> dict[str, Any]:
    """Change the order in which directions are shown; their indices stay.

    Args:
        header: As JSON gives it.
        order: Every index once.

    Returns:
        The new header with the change in its history; an equal one if they were in this order already.
    """
    new = copy.deepcopy(dict(header))
    plain = list(range(len(new["directions"])))
    old = new["order"]
    if list(order) == (plain if old is None else old):
        return new
    new["order"] = None if list(order) == plain else list(order)
    moved = ", ".join(map(str, order[:_NAMED_PARTS])) + (", …" if len(order) > _NAMED_PARTS else "")
    return _remember(new, f"order: {moved}", {"order": old})


def undo(header: Mapping[str, Any]) -> dict[str, Any]:
    """Take the last change back; the header becomes what it was before.

    Args:
        header: As JSON gives it.

    Returns:
        The header without the last change, and without its record. It is not checked.

    Raises:
        UserError: If there is none, or it cannot be undone.
    """
    new = copy.deepcopy(dict(header))
    if not new["history"]:
        raise UserError("There is no change to undo: the file's history is empty.")
    last = new["history"].pop()
    try:
        for index, fields in (last["before"].get("directions") or {}).items():
            new["directions"][int(index)].update({key: fields[key] for key in ANNOTATIONS if key in fields})
        if "order" in last["before"]:
            new["order"] = last["before"]["order"]
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise UserError(f"The last change ({last['what']}) cannot be undone. Its history begins there.") from error
    return new


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[tuple[int | None, str, Any, Any]]:
    """List what differs between two headers of the same directions.

    Args:
        before: A header.
        after: Another.

    Returns:
        For each annotation that differs: the direction's index, the annotation, its old and its new value; at the end
        ``None`` and ``"order"`` with the two orders, if they differ.
    """
    found: list[tuple[int | None, str, Any, Any]] = []
    for index, (old, new) in enumerate(zip(before["directions"], after["directions"], strict=True)):
        found += [(index, key, old[key], new[key]) for key in ANNOTATIONS if old[key] != new[key]]
    if before["order"] != after["order"]:
        found.append((None, "order", before["order"], after["order"]))
    return found


def begin_history(header: Mapping[str, Any], what: str) -> dict[str, Any]:
    """Start a history anew, for directions that come from another file: its indices mean nothing here.

    Args:
        header: As JSON gives it.
        what: What was done, in words.

    Returns:
        The header with one change in its history, which cannot be undone.
    """
    return _remember(dict(header) | {"history": []}, what, None)


def _remember(header: dict[str, Any], what: str, before: dict[str, Any] | None) -> dict[str, Any]:
    """Add a change to the history."""
    now = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    change = {"time": now, "tool_version": __version__, "what": what, "before": before}
    history = [*header["history"], change][-HISTORY_LENGTH:]
    sizes = list(itertools.accumulate(len(json.dumps(entry)) for entry in reversed(history)))
    kept = max(1, sum(size <= HISTORY_SIZE for size in sizes))
    return header | {"history": history[-kept:]}


def _composed(value: Any) -> Any:
    """Put text in Unicode's composed form, and lines in one ending; leave everything else."""
    return unicodedata.normalize("NFC", value.replace("\r\n", "\n")) if isinstance(value, str) else value


def _said(key: str, value: Any) -> str:
    """Say one annotation in the history."""
    if key in ("hidden", "starred"):
        return key if value else f"not {key}"
    return f"{key} {value:g}" if key == "path_size" and isinstance(value, int | float) else f"{key} {short(value)}"
