"""Moved."""

from directions.held_out import axis_directions, baseline_penalties, random_directions  # shim

__all__ = ["axis_directions", "baseline_penalties", "random_directions"]
