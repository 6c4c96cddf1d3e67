"""Shim of `directions.ranks`."""

from directions.ranks import Ranks  # shim

__all__ = ["Ranks"]
