"""Shim."""
from directions.penalty import Outputs as Outputs  # shim
from directions.penalty import check_deterministic as check_deterministic  # shim
from directions.penalty import symmetric_sums as symmetric_sums  # shim
