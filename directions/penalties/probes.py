"""Shim."""
from directions.penalty import rademacher as rademacher  # shim
