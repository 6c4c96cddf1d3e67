"""Moved to `directions.direction_file.format`."""

from directions.direction_file.format import pack, unpack  # shim

__all__ = ["pack", "unpack"]
