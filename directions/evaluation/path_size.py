"""Moved."""

from directions.evaluation.activeness import prior_radius, suggested_path_sizes  # shim

__all__ = ["prior_radius", "suggested_path_sizes"]
