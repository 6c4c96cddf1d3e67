"""Moved to `directions.commands.files`."""

from directions.commands.files import name  # shim

__all__ = ["name"]
