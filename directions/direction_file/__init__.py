"""Directions and the file that keeps them: bytes, header, the moves of a latent, and the object that joins them.

After discovery, which finds what is kept here, and conversion; before rendering, evaluation and other people's code.
"""

from directions.direction_file.edits import edit_directions
from directions.direction_file.file import Directions, load_directions

__all__ = ["Directions", "edit_directions", "load_directions"]
