"""Moved to `directions.commands.files`."""

from directions.commands.files import merge, select  # shim

__all__ = ["merge", "select"]
