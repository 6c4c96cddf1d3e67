"""What a direction file's header tells of its directions, and finding one by what it is called.

The part of `directions.Directions` that needs no matrix; ``file.py`` adds that and what can be done with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from directions.direction_file.header import as_json
from directions.direction_file.lookup import Key, find


class Records:
    """What is known of each direction, and of all.

    Args:
        header: As JSON gives it, in the newest format.
    """

    def __init__(self, header: Mapping[str, Any]) -> None:
        self._header = dict(header)

    @property
    def header(self) -> dict[str, Any]:
        """All that the file says, as JSON would give it (a copy)."""
        return as_json(self._header)

    @property
    def names(self) -> tuple[str, ...]:
        """The name of each direction."""
        return tuple(entry["name"] for entry in self._header["directions"])

    @property
    def generator(self) -> str:
        """The name of the generator, for ``load_generator``."""
        return str(self._header["generator"]["name"])

    @property
    def layers(self) -> tuple[int, ...] | None:
        """The layers of the generator that the directions act on, in order and without gaps; ``None`` is all."""
        layers = self._header["layers"]
        return None if layers is None else tuple(layers)

    @property
    def path_sizes(self) -> tuple[float, ...]:
        """How far each direction is worth going to either side, in latent units."""
        return tuple(float(entry["path_size"]) for entry in self._header["directions"])

    @property
    def activeness(self) -> tuple[float | None, ...]:
        """How much each direction changes the images, or ``None`` where it was not measured."""
        return tuple(entry.get("activeness") for entry in self._header["directions"])

    @property
    def notes(self) -> tuple[str, ...]:
        """What people wrote about each direction; empty for most."""
        return tuple(entry["note"] for entry in self._header["directions"])

    @property
    def hidden(self) -> tuple[bool, ...]:
        """Whether each direction is to be left out of galleries and pages."""
        return tuple(entry["hidden"] for entry in self._header["directions"])

    @property
    def starred(self) -> tuple[bool, ...]:
        """Whether each direction was found worth coming back to."""
        return tuple(entry["starred"] for entry in self._header["directions"])

    @property
    def order(self) -> tuple[int, ...]:
        """The indices in the order in which to show the directions; it changes no index."""
        return tuple(range(len(self._header["directions"])) if self._header["order"] is None else self._header["order"])

    @property
    def history(self) -> tuple[dict[str, Any], ...]:
        """What was changed, the oldest first: ``time`` (UTC), ``tool_version``, ``what``, and ``before`` to undo it."""
        return tuple(self.header["history"])

    def index(self, key: Key) -> int:
        """Find a direction.

        Args:
            key: Its index (as a number, or as the text of one), its name, or the beginning of its name.

        Returns:
            Its index, from 0.

        Raises:
            UserError: If there is no such direction, or several names begin so.
        """
        return find(self.names, key)
