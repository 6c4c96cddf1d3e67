"""Moved to `directions.direction_file.file`."""

from directions.direction_file.file import edit_directions  # shim

__all__ = ["edit_directions"]
