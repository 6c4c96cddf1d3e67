"""Shim of `directions.run`."""

from directions.run import Interrupted, StopSignals  # shim

__all__ = ["Interrupted", "StopSignals"]
