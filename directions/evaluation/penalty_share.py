"""Moved."""

from directions.evaluation.activeness import penalty_shares  # shim

__all__ = ["penalty_shares"]
