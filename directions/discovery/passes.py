"""Shim of `directions.discovery_new`."""

from directions.discovery_new import prepare_steps  # shim

__all__ = ["prepare_steps"]
