"""Shim of `directions.discovery_new`."""

from directions.discovery_new import too_large  # shim

__all__ = ["too_large"]
