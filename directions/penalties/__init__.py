"""Shim."""
from directions.penalty import check_deterministic as check_deterministic  # shim
from directions.penalty import exact_hessian as exact_hessian  # shim
from directions.penalty import hessian_penalty as hessian_penalty  # shim
from directions.penalty import hessian_penalty_exact as hessian_penalty_exact  # shim
from directions.penalty import off_diagonal_sum as off_diagonal_sum  # shim
from directions.penalty import penalty_per_sample as penalty_per_sample  # shim
from directions.penalty import rademacher as rademacher  # shim
