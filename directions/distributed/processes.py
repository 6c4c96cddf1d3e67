"""Shim of `directions.ranks`."""

from directions.ranks import Processes  # shim

__all__ = ["Processes"]
