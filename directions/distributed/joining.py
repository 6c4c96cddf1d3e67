"""Shim of `directions.ranks`."""

from directions.ranks import joined  # shim

__all__ = ["joined"]
