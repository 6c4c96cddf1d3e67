"""Directions and the file that keeps them."""

from directions.direction_file.file import Directions, direction_file, edit_directions, load_directions

__all__ = ["Directions", "direction_file", "edit_directions", "load_directions"]
