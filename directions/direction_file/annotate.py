"""What people write on directions (names, ranges, notes, stars, an order), by hand or as a table, and its history."""

from __future__ import annotations

import csv
import io
import json
import os
import unicodedata
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from typing import Any

from directions import __version__
from directions.direction_file.format import short
from directions.errors import UserError, nearest
from directions.files import user_path

ANNOTATIONS = ("name", "path_size", "note", "hidden", "starred")
"""What can be written on a direction; each is a key of its entry in the header."""

LARGEST_PATH_SIZE = 100.0
"""Of a path size that is written, in latent units: so far do sliders go. z itself has a length of about the square root
of its width, and far beyond it images are no numbers any more."""

HISTORY_LENGTH = 200
"""Changes that a file remembers; the oldest are forgotten, and can then not be undone."""

HISTORY_SIZE = 1_000_000
"""Characters that they take in the file, about, at most: many long notes in turn would fill it."""

_MEASURED = "measured: "
"""How a line of the history begins that nobody wrote by hand."""

_NAMED_PARTS = 4
_FLAGS = dict.fromkeys(("true", "yes", "1", "x"), True) | dict.fromkeys(("false", "no", "0"), False)


def check_new(index: int, annotations: Mapping[str, Any]) -> None:
    """Refuse to write what a file may hold, as older ones do, but commands would misread or could not show.

    Args:
        index: The direction's index, for the message.
        annotations: What is to be written on it; types and lengths are for the check of the header to see.

    Raises:
        UserError: If a name has a meaning where directions are selected, or a path size is above `LARGEST_PATH_SIZE`.
    """
    name, size = annotations.get("name"), annotations.get("path_size")
    if isinstance(size, int | float) and size > LARGEST_PATH_SIZE:
        raise UserError(f"The path_size of direction {index} must be at most {LARGEST_PATH_SIZE:g}, got {short(size)}.")
    if name == "all":
        raise UserError(f"The name of direction {index} must not be all (that means every direction), got 'all'.")
    if isinstance(name, str) and "," in name:
        what = f"The name of direction {index}"
        raise UserError(f"{what} must have no comma (it separates directions), got {short(name)}.")


def annotate(header: dict[str, Any], changes: Mapping[int, Mapping[str, Any]]) -> dict[str, Any]:
    """Write on directions.

    Args:
        header: As JSON gives it; changed in place, here and in the functions below.
        changes: For each index, some of `ANNOTATIONS`. Names and notes are put in Unicode's composed form, so
            that names which look alike are alike.

    Returns:
        The header with the change in its history; as it was if everything was so already. Only what may be in a file
        but must not be written any more is checked.

    Raises:
        UserError: If something else than an annotation is to be written, or what `check_new` refuses.
    """
    before: dict[str, dict[str, Any]] = {}
    said: list[str] = []
    for index, wanted in changes.items():
        entry = header["directions"][index]
        changed = {key: _plain(value) for key, value in wanted.items() if _plain(value) != entry.get(key)}
        for key in changed.keys() - ANNOTATIONS:
            hint = nearest(key, ANNOTATIONS)
            raise UserError(f"A direction has no annotation {key!r}; it has {', '.join(ANNOTATIONS)}.{hint}")
        check_new(index, changed)
        if changed:
            said.append(f"{index} {short(entry['name'])}: {', '.join(_said(key, changed[key]) for key in changed)}")
            before[str(index)] = {key: entry[key] for key in changed}
            entry.update(changed)
    if not before:
        return header
    more = f"; and {len(said) - _NAMED_PARTS} more" if len(said) > _NAMED_PARTS else ""
    return _remember(header, "; ".join(said[:_NAMED_PARTS]) + more, {"directions": before})


def fill_in(header: dict[str, Any], columns: Mapping[str, Sequence[Any]]) -> dict[str, Any]:
    """Write what was measured of each direction; a path size that somebody has written before stays.

    Args:
        header: As JSON gives it.
        columns: For ``path_size`` and others of an entry's keys a value for each direction.

    Returns:
        The header with the change in its history, which undoes as far as path sizes go.
    """
    written = sized_by_hand(header)
    before: dict[str, dict[str, Any]] = {}
    for index, entry in enumerate(header["directions"]):
        found = {key: values[index] for key, values in columns.items() if key != "path_size" or index not in written}
        if found.get("path_size", entry["path_size"]) != entry["path_size"]:
            before[str(index)] = {"path_size": entry["path_size"]}
        entry.update(found)
    return _remember(header, f"{_MEASURED}{', '.join(columns)}", {"directions": before})


def sized_by_hand(header: Mapping[str, Any]) -> set[int]:
    """Return the indices of directions whose path size somebody has written, as far as the history goes."""
    by_hand = (change for change in header["history"] if not change["what"].startswith(_MEASURED))
    return {index for change in by_hand for index, fields in changed_directions(change) if "path_size" in fields}


def changed_directions(change: Mapping[str, Any]) -> list[tuple[int, Mapping[str, Any]]]:
    """Return the directions that a change of the history was about, by index, with what was written on them before."""
    return [(int(index), fields) for index, fields in ((change["before"] or {}).get("directions") or {}).items()]


def reorder(header: dict[str, Any], order: Sequence[int]) -> dict[str, Any]:
    """Change the order in which directions are shown, given as every index once; their indices stay."""
    old, plain = header["order"], list(range(len(header["directions"])))
    if list(order) == (plain if old is None else old):
        return header
    header["order"] = None if list(order) == plain else list(order)
    moved = ", ".join(map(str, order[:_NAMED_PARTS])) + (", …" if len(order) > _NAMED_PARTS else "")
    return _remember(header, f"order: {moved}", {"order": old})


def undo(header: dict[str, Any]) -> dict[str, Any]:
    """Take the last change back; the header becomes what it was before, and is not checked.

    Args:
        header: As JSON gives it.

    Returns:
        The header without the last change, and without its record.

    Raises:
        UserError: If there is none, or it cannot be undone.
    """
    if not header["history"]:
        raise UserError("There is no change to undo: the file's history is empty.")
    last = header["history"].pop()
    try:
        for index, fields in (last["before"].get("directions") or {}).items():
            header["directions"][int(index)].update({key: fields[key] for key in ANNOTATIONS if key in fields})
        header["order"] = last["before"].get("order", header["order"])
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise UserError(f"The last change ({last['what']}) cannot be undone. Its history begins there.") from error
    return header


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


def begin_history(header: dict[str, Any], what: str, by_hand: Sequence[int]) -> dict[str, Any]:
    """Start a history anew for directions of another file, whose indices mean nothing here.

    Args:
        header: Of the new set.
        what: What was done, in words.
        by_hand: The indices, in the new set, whose path sizes somebody has written, so that no measurement replaces
            them. They stand before what was done, which cannot be undone.

    Returns:
        The header with the history.
    """
    header["history"] = []
    kept = {str(index): {"path_size": header["directions"][index]["path_size"]} for index in by_hand}
    if kept:
        header = _remember(header, "path sizes written before", {"directions": kept})
    return _remember(header, what, None)


def read_annotations(path: str | os.PathLike[str]) -> dict[str, dict[str, Any]]:
    """Read a table with the columns ``index``, ``name``, ``path_size``, ``note``, ``hidden`` and ``starred``.

    The first line names the columns, in any order; all but ``index`` may be missing. ``index`` may also be a
    direction's present name. An empty cell leaves that annotation as it is.

    Args:
        path: A CSV file in UTF-8, with commas, semicolons or tabs between cells.

    Returns:
        For each direction, as the table calls it, what to write.

    Raises:
        UserError: If the file is no table, a column is unknown or missing, or a cell is not what it must be; the
            message names the line.
    """
    path = user_path(path)
    try:
        text = path.read_text(encoding="utf-8-sig")  # with or without the mark that spreadsheets put before it
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not text in UTF-8 ({error}). Save it as CSV in UTF-8.") from error
    delimiter = max(",;\t", key=text.partition("\n")[0].count)
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    changes: dict[str, dict[str, Any]] = {}
    try:
        columns = _columns(next(rows, []))
        for cells in (cells for cells in rows if any(cell.strip() for cell in cells)):
            if len(cells) > len(columns):
                raise UserError(f"{len(cells)} cells for {len(columns)} columns. Put {delimiter!r} in quotes.")
            row = {name: cell.strip() for name, cell in zip(columns, cells, strict=False)}
            key = row.pop("index")
            if not key or key in changes:
                raise UserError(f"the index must be that of a direction, or its name, once, got {key!r}.")
            changes[key] = {name: _value(name, cell) for name, cell in row.items() if cell}
    except (UserError, csv.Error) as error:
        reason = error if isinstance(error, UserError) else f"this is not CSV ({error}). Save it as CSV in UTF-8."
        raise UserError(f"{path}, line {rows.line_num}: {reason}") from error
    if not changes:
        raise UserError(f"{path} names no direction. Below the line that names the columns, give a line for each.")
    return changes


def _columns(cells: Sequence[str]) -> list[str]:
    """Read the line that names the columns."""
    names, allowed = [cell.strip().lower().replace(" ", "_") for cell in cells], ("index", *ANNOTATIONS)
    for name in names:
        if name not in allowed:
            hint = nearest(name, allowed)
            raise UserError(f"the first line must name columns among {', '.join(allowed)}, got {short(name)}.{hint}")
    if len(set(names)) < len(names) or "index" not in names or len(names) < 2:
        got = ", ".join(names) or "nothing"
        raise UserError(f"the first line must name the column index and at least one more, each once, got {got}.")
    return names


def _value(name: str, cell: str) -> Any:
    """Turn a cell into what the annotation is; whether it is allowed is seen when it is written."""
    try:
        return _FLAGS[cell.lower()] if name in ("hidden", "starred") else float(cell) if name == "path_size" else cell
    except (KeyError, ValueError):
        allowed = "a positive number" if name == "path_size" else "yes or no"
        raise UserError(f"{name} must be {allowed}, got {cell!r}.") from None


def _remember(header: dict[str, Any], what: str, before: dict[str, Any] | None) -> dict[str, Any]:
    """Add a change to the history."""
    now = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    change = {"time": now, "tool_version": __version__, "what": what, "before": before}
    history = [*header["history"], change][-HISTORY_LENGTH:]
    while len(history) > 1 and len(json.dumps(history)) > HISTORY_SIZE:
        del history[0]
    return header | {"history": history}


def _plain(value: Any) -> Any:
    """Put text in Unicode's composed form and lines in one ending, and make NumPy's numbers Python's."""
    if isinstance(value, str):
        return unicodedata.normalize("NFC", value.replace("\r\n", "\n"))
    return value.item() if hasattr(value, "item") else value


def _said(key: str, value: Any) -> str:
    if key in ("hidden", "starred"):
        return key if value else f"not {key}"
    return f"{key} {value:g}" if key == "path_size" and isinstance(value, int | float) else f"{key} {short(value)}"
