"""Shim of `directions.run`."""

from directions.run import CHECKPOINT_VERSION, RunFolder, check_name  # shim

__all__ = ["CHECKPOINT_VERSION", "RunFolder", "check_name"]
