"""Shim of `directions.discovery_new`."""

from directions.discovery_new import discover, learning_rate, penalty_and_gradient  # shim

__all__ = ["discover", "learning_rate", "penalty_and_gradient"]
