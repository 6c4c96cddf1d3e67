"""Directions and the file that keeps them."""

from directions.direction_file.file import Directions, edit_directions, load_directions

__all__ = ["Directions", "edit_directions", "load_directions"]
