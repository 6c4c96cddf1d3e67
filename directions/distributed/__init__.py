"""Shims of `directions.ranks`."""
