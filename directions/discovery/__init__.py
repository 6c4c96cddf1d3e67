"""Shims of `directions.discovery_new`."""
