"""Moved."""

from directions.evaluation.metrics import FILE_NAME, MetricFile  # shim

__all__ = ["FILE_NAME", "MetricFile"]
