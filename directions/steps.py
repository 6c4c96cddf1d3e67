"""Shim."""

from directions.sampling import draw_steps as draw_steps  # shim
from directions.sampling import move as move  # shim
from directions.sampling import one_hot_steps as one_hot_steps  # shim
