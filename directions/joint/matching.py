"""Shim."""

from directions.joint.solve import match_directions as match_directions  # shim
