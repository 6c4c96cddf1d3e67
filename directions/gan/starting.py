"""Shim of `directions.gan.recording`."""

from directions.gan.recording import starting_state  # shim

__all__ = ["starting_state"]
