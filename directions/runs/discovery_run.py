"""Shim of `directions.run`."""

from directions.run import record_run, require_tensorboard  # shim

__all__ = ["record_run", "require_tensorboard"]
