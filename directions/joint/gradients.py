"""Shim."""

from directions.joint.measure import gradient_evaluations as gradient_evaluations  # shim
from directions.joint.measure import gradient_hessians as gradient_hessians  # shim
