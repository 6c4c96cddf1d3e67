"""Programs that write in the same direction file, as processes of their own; no torch, so that they start at once."""

from __future__ import annotations

from pathlib import Path

from directions.direction_file import edit_directions


def write_notes(path: Path, index: int, times: int) -> None:
    """Write the numbers from 0 up into a direction's note, one after the other."""
    for turn in range(times):
        changes = {index: {"note": str(turn), "path_size": turn + 1}}
        edit_directions(path, lambda found, changes=changes: found.annotated_each(changes), timeout=60)
