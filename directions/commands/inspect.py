"""Moved to `directions.commands.files`."""

from directions.commands.files import inspect  # shim

__all__ = ["inspect"]
