"""The direction file that is explored: read again whenever somebody has changed it, and written on from the page.

Between the file (``directions.direction_file``) and the routes (``app.py``). The page knows a direction by an id that
follows from its numbers, not by its place or name, so a page that is behind never moves or names another direction
than the one that it shows.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from directions.direction_file import Directions, load_directions
from directions.direction_file.edits import edit_directions
from directions.errors import UserError
from directions.explorer.body import Body, list_of, number, shorten, switch, text
from directions.explorer.view import DIRECTION_ID, MAX_AMOUNT, View

_LONGEST_TEXT = 4000
"""More than any name or note may have; what is longer is refused before it is looked at."""


class ChangedError(UserError):
    """The file no longer has what a page speaks of; the page must read it again."""


def direction_id(row: np.ndarray) -> str:
    """Make the id of a direction.

    Args:
        row: Its numbers, (dim_z,) float32.

    Returns:
        16 hexadecimal digits of their SHA-256.
    """
    return hashlib.sha256(np.ascontiguousarray(row, dtype="<f4").tobytes()).hexdigest()[:16]


@dataclass(frozen=True)
class Content:
    """What the file held at one time.

    Attributes:
        directions: The directions.
        ids: The id of each.
        revision: Tells one state of the file from another.
    """

    directions: Directions
    ids: tuple[str, ...]
    revision: str

    def index(self, identifier: str) -> int:
        """Find a direction.

        Args:
            identifier: From `direction_id`.

        Returns:
            Its index.

        Raises:
            ChangedError: If it is not there.
        """
        if identifier not in self.ids:
            raise ChangedError(f"The file has no direction {identifier} any more: load the page again.")
        return self.ids.index(identifier)

    def moves(self, view: View) -> tuple[tuple[int, float], ...]:
        """Find the directions that a view moves along.

        Args:
            view: Names them by id.

        Returns:
            The index of each and how far to go, by index.
        """
        return tuple(sorted((self.index(identifier), amount) for identifier, amount in view.moves))

    def described(self) -> dict[str, Any]:
        """Say what the page shows of it.

        Returns:
            What JSON can hold: the directions in the order in which they are shown, and where they come from.
        """
        header = self.directions.header
        entries = header["directions"]
        keys = ("name", "path_size", "activeness", "penalty_share", "note", "starred", "hidden")
        return {
            "revision": self.revision,
            "method": header["method"],
            "classes": header["classes"],
            "truncation": header["truncation"],
            "layers": header["layers"],
            "last_change": header["history"][-1]["what"] if header["history"] else None,
            "directions": [
                {"id": self.ids[index], "index": index, **{key: entries[index].get(key) for key in keys}}
                for index in self.directions.order
            ],
        }


class OpenFile:
    """A direction file, as it is now.

    Args:
        path: The file.
        check: Called with what was read, raises ``UserError`` if it cannot be used here.
    """

    def __init__(self, path: Path, check: Callable[[Directions], None] = lambda found: None) -> None:
        self.path = path
        self._check = check
        self._lock = threading.Lock()
        self._seen: tuple[Any, Content] | None = None
        self.read()

    def read(self) -> Content:
        """Read the file, or remember it if nobody has written it since.

        Returns:
            What it holds.
        """
        with self._lock:
            stamp = _stamp(self.path)
            if self._seen is None or stamp is None or self._seen[0] != stamp:
                self._seen = (stamp, self._content(load_directions(self.path)))
            return self._seen[1]

    def change(self, body: Body) -> Content:
        """Write on the file what a page asks for: an annotation of a direction, a new order, or the last change undone.

        Args:
            body: ``id`` and some of ``name``, ``path_size``, ``note``, ``starred``, ``hidden``; or ``order``, all ids;
                or ``undo``, true.

        Returns:
            What the file holds then.

        Raises:
            UserError: If the request is not sound, or the file cannot be changed so; it is then as it was.
        """
        if "undo" in body:
            wanted = body.take("undo", switch)
            body.finish()
            if not wanted:
                raise UserError("undo must be true.")
            edit_directions(self.path, lambda found: found.undone())
        elif "order" in body:
            ids = body.take("order", list_of(text(DIRECTION_ID, "an id of a direction"), 1, 1_000_000))
            body.finish()
            edit_directions(self.path, lambda found: found.reordered(self._order(found, ids)))
        else:
            identifier = body.take("id", text(DIRECTION_ID, "the id of a direction, 16 hexadecimal digits"))
            annotations = _annotations(body)
            body.finish()
            if not annotations:
                raise UserError("There is nothing to write: give name, path_size, note, starred or hidden.")
            edit_directions(
                self.path,
                lambda found: found.annotated(self._content(found).index(identifier), **annotations),
            )
        return self.read()

    def _content(self, directions: Directions) -> Content:
        self._check(directions)
        revision = hashlib.sha256(directions.matrix.tobytes() + repr(directions.header).encode()).hexdigest()[:16]
        return Content(directions, tuple(direction_id(row) for row in directions.matrix), revision)

    def _order(self, found: Directions, ids: tuple[str, ...]) -> list[int]:
        content = self._content(found)
        order = [content.index(identifier) for identifier in ids]
        if sorted(order) != list(range(len(found))):
            raise UserError(f"order must name each of the {len(found)} directions once, got {len(ids)} ids.")
        return order


def _annotations(body: Body) -> dict[str, Any]:
    """Take what is to be written on a direction."""
    readers: dict[str, Callable[[str, Any], Any]] = {
        "name": _words,
        "path_size": number(0, MAX_AMOUNT, above=True),
        "note": _words,
        "starred": switch,
        "hidden": switch,
    }
    return {key: body.take(key, read) for key, read in readers.items() if key in body}


def _words(name: str, value: Any) -> str:
    """Read text; what it may hold is for the file to say."""
    if not isinstance(value, str) or len(value) > _LONGEST_TEXT:
        raise UserError(f"{name} must be text of at most {_LONGEST_TEXT} characters, got {shorten(value)}.")
    return value.strip()


def _stamp(path: Path) -> tuple[int, ...] | None:
    """What tells a file from the one that replaces it; ``None`` if it cannot be told."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
