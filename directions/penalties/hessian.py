"""Shim."""
from directions.penalty import hessian_penalty as hessian_penalty  # shim
from directions.penalty import penalty_per_sample as penalty_per_sample  # shim
