"""The direction file that is explored: read again whenever somebody has changed it, and written on from the page."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from directions.direction_file import Directions, edit_directions, load_directions
from directions.errors import UserError
from directions.explorer.models import ChangeRequest, View
from directions.rendering.frames import random_rivals


class ChangedError(UserError):
    """The file no longer has what a page speaks of; the page must read it again."""


def direction_id(row: np.ndarray) -> str:
    """Make the id of a direction.

    It follows from the direction's numbers, not from its place or name, so that a page that is behind never moves or
    names another direction than the one that it shows.

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

    @classmethod
    def of(cls, directions: Directions) -> Content:
        """Identify what was read."""
        revision = hashlib.sha256(directions.matrix.tobytes() + repr(directions.header).encode()).hexdigest()[:16]
        return cls(directions, tuple(direction_id(row) for row in directions.matrix), revision)

    @cached_property
    def rivals(self) -> Directions:
        """Random directions of the same lengths, drawn as ``render --against random`` draws them."""
        return random_rivals(self.directions, 0)

    def index(self, identifier: str) -> int:
        """Find a direction by its id.

        Returns:
            Its index.

        Raises:
            ChangedError: If it is not there.
        """
        if identifier not in self.ids:
            raise ChangedError(f"The file has no direction {identifier} any more: load the page again.")
        return self.ids.index(identifier)

    def moves(self, view: View) -> tuple[tuple[int, float], ...]:
        """Return the index of each direction that a view moves along, and how far it goes; by index."""
        return tuple(sorted((self.index(identifier), amount) for identifier, amount in view.moves.items() if amount))

    def described(self) -> dict[str, Any]:
        """Say what the page shows: the directions in the order in which they are shown, and where they come from."""
        header = self.directions.header
        entries = header["directions"]
        keys = ("name", "path_size", "activeness", "penalty_share", "note", "starred", "hidden")
        return {
            "revision": self.revision,
            "last_change": header["history"][-1]["what"] if header["history"] else None,
            **{key: header[key] for key in ("method", "classes", "truncation", "layers")},
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
        """Read the file, or remember it if nobody has written it since."""
        with self._lock:
            found = self.path.stat() if self.path.exists() else None  # reading will say why
            stamp = found and (found.st_mtime_ns, found.st_size, found.st_ino)
            if self._seen is None or stamp is None or self._seen[0] != stamp:
                directions = load_directions(self.path)
                self._check(directions)
                self._seen = (stamp, Content.of(directions))
            return self._seen[1]

    def change(self, request: ChangeRequest) -> Content:
        """Write on the file what a page asks for.

        Args:
            request: Annotations of a direction, a new order, or the last change undone.

        Returns:
            What the file holds then.

        Raises:
            UserError: If the file cannot be changed so; it is then as it was.
        """
        if request.undo:
            edit_directions(self.path, lambda found: found.undone())
        elif request.order is not None:
            ids = request.order
            edit_directions(self.path, lambda found: found.reordered([Content.of(found).index(one) for one in ids]))
        elif request.id is not None and request.annotations():
            name, changes = request.id, request.annotations()
            edit_directions(self.path, lambda found: found.annotated(Content.of(found).index(name), **changes))
        else:
            raise UserError("There is nothing to write: give id, and name, path_size, note, starred or hidden.")
        return self.read()
