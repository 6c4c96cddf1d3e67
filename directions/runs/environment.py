"""Shim of `directions.run`."""

from directions.run import describe_environment  # shim

__all__ = ["describe_environment"]
