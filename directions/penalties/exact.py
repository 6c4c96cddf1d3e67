"""Shim."""
from directions.penalty import exact_hessian as exact_hessian  # shim
from directions.penalty import hessian_penalty_exact as hessian_penalty_exact  # shim
from directions.penalty import off_diagonal_sum as off_diagonal_sum  # shim
