"""Moved."""

from directions.evaluation.metrics import Measuring, RealImages, Result  # shim

__all__ = ["Measuring", "RealImages", "Result"]
