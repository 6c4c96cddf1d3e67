"""Moved to `directions.commands.files`."""

from directions.commands.files import convert  # shim

__all__ = ["convert"]
