"""Shim of `directions.device`."""

from directions.device import explained, is_out_of_memory, keep_freed_memory  # shim

__all__ = ["explained", "is_out_of_memory", "keep_freed_memory"]
