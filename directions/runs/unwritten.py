"""The folder of a run as the ranks see it that do not write: rank 0 alone does, and may be on another machine.

Stands in for `directions.runs.folder.RunFolder` where a run is recorded, so that recording is the same on every rank.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from directions.runs.folder import RunFolder, Settings

if TYPE_CHECKING:
    from directions.direction_file import Directions
    from directions.generators.base import Generator


@dataclass(frozen=True)
class UnwrittenFolder(RunFolder):
    """Knows where the folder is, on rank 0's machine, and writes nothing."""

    def write_config(self, config: Settings) -> None:
        """Leave it to rank 0, as every write."""

    def write_checkpoint(self, state: Mapping[str, Any], generator: Generator) -> None:
        """Leave it to rank 0."""

    def write_directions(self, directions: Directions) -> None:
        """Leave it to rank 0."""

    def remove_partial_files(self) -> None:
        """Leave it to rank 0."""

    def append_line(self, content: Mapping[str, Any]) -> None:
        """Leave it to rank 0."""

    def keep_lines(self, wanted: Callable[[Mapping[str, Any]], bool]) -> None:
        """Leave it to rank 0."""

    def log(self, message: str) -> None:
        """Leave it to rank 0."""
