"""Shim."""

from directions.joint.moments import half_size as half_size  # shim
from directions.joint.moments import half_vectors as half_vectors  # shim
from directions.joint.moments import symmetric_matrices as symmetric_matrices  # shim
