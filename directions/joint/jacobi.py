"""Shim."""

from directions.joint.diagonalise import joint_diagonalise as joint_diagonalise  # shim
from directions.joint.diagonalise import plane_stiffness as plane_stiffness  # shim
