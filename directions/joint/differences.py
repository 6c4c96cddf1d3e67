"""Shim."""

from directions.joint.measure import difference_entries as difference_entries  # shim
from directions.joint.measure import difference_evaluations as difference_evaluations  # shim
from directions.joint.measure import difference_hessians as difference_hessians  # shim
