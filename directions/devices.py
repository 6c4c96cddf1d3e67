"""Shim of `directions.device`."""

from directions.device import full_float32, in_precision, multiplying, resolve_device  # shim

__all__ = ["full_float32", "in_precision", "multiplying", "resolve_device"]
