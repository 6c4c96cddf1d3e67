"""Annotations from a table that a spreadsheet wrote, for many directions at once.

Read here, applied by `directions.Directions.annotated_each`. Everything is read before anything is changed.
"""

from __future__ import annotations

import csv
import io
import math
import os
from pathlib import Path
from typing import Any

from directions.direction_file.annotations import ANNOTATIONS
from directions.errors import UserError, nearest

INDEX = "index"
COLUMNS = (INDEX, *ANNOTATIONS)

_TRUE = ("true", "yes", "1", "x")
_FALSE = ("false", "no", "0")
_LARGEST = 10_000_000


def read_annotations(path: str | os.PathLike[str]) -> dict[str, dict[str, Any]]:
    """Read a table with the columns ``index``, ``name``, ``path_size``, ``note``, ``hidden`` and ``starred``.

    The first line names the columns, in any order; all but ``index`` may be missing. ``index`` may also be a
    direction's present name. An empty cell leaves that annotation as it is.

    Args:
        path: A CSV file in UTF-8, with commas, semicolons or tabs between cells.

    Returns:
        For each direction, as the table calls it, what to write.

    Raises:
        UserError: If the file cannot be read, a column is unknown or missing, or a cell is not what it must be; the
            message names the line.
    """
    path = Path(path)
    text = _read(path)
    delimiter = max(",;\t", key=text.partition("\n")[0].count)
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        columns = _columns(path, next(rows, []))
        changes: dict[str, dict[str, Any]] = {}
        for cells in rows:
            if not any(cell.strip() for cell in cells):
                continue
            where = f"{path}, line {rows.line_num}"
            if len(cells) > len(columns):
                raise UserError(
                    f"{where}: {len(cells)} cells for {len(columns)} columns. Put a cell with {delimiter!r} in quotes."
                )
            row = dict(zip(columns, cells, strict=False))
            key = row.pop(INDEX).strip()
            if not key:
                raise UserError(f"{where}: the index is empty. Give the index of a direction, or its present name.")
            if key in changes:
                raise UserError(f"{where}: direction {key} was given in a line before. Say all of it in one line.")
            changes[key] = {name: _value(where, name, cell) for name, cell in row.items() if cell.strip()}
    except csv.Error as error:
        raise UserError(f"{path}, line {rows.line_num}: this is not CSV ({error}). Save it as CSV in UTF-8.") from error
    if not changes:
        raise UserError(f"{path} names no direction. Below the line that names the columns, give a line for each.")
    return changes


def _read(path: Path) -> str:
    """Read the file as UTF-8, with or without the mark that spreadsheets put before it."""
    try:
        with path.open("rb") as file:
            data = file.read(_LARGEST + 1)
    except FileNotFoundError:
        raise UserError(f"There is no file {path}. Check the path.") from None
    except OSError as error:
        raise UserError(f"Cannot read {path}: {error.strerror}. Check that you may read it.") from error
    if len(data) > _LARGEST:
        raise UserError(f"{path} has more than {_LARGEST:,} bytes. Is it a table of annotations?")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not text in UTF-8 ({error}). Save it as CSV in UTF-8.") from error


def _columns(path: Path, cells: list[str]) -> list[str]:
    """Check the first line."""
    names = [cell.strip().lower().replace(" ", "_") for cell in cells]
    for name in names:
        if name not in COLUMNS:
            raise UserError(
                f"{path}: the first line must name columns among {', '.join(COLUMNS)}, got {name[:40]!r}."
                f"{nearest(name, COLUMNS)}"
            )
    if len(set(names)) < len(names) or INDEX not in names or len(names) < 2:
        raise UserError(
            f"{path}: the first line must name the column {INDEX} and at least one more, each once, got "
            f"{', '.join(names) or 'nothing'}."
        )
    return names


def _value(where: str, name: str, cell: str) -> Any:
    """Turn a cell into what the annotation is."""
    text = cell.strip()
    if name == "path_size":
        try:
            size = float(text)
        except ValueError:
            size = math.nan
        if not (math.isfinite(size) and size > 0):
            raise UserError(f"{where}: path_size must be a positive number, got {text!r}.")
        return size
    if name in ("hidden", "starred"):
        if text.lower() not in (*_TRUE, *_FALSE):
            raise UserError(f"{where}: {name} must be yes or no, got {text!r}.")
        return text.lower() in _TRUE
    return text
