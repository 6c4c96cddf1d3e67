"""Shims of `directions.run`."""
