"""Shim of `directions.discovery_new`."""

from directions.discovery_new import Record, Snapshot  # shim

__all__ = ["Record", "Snapshot"]
