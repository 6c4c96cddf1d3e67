"""Moved to `directions.direction_file.annotate`."""

from directions.direction_file.annotate import LARGEST_PATH_SIZE  # shim

__all__ = ["LARGEST_PATH_SIZE"]
