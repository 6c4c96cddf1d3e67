"""Shim."""
from directions.penalty import Reduction as Reduction  # shim
