# ruff: noqa: D100, F401
from directions.rendering.page import row_caption  # shim
from directions.rendering.stills import COLUMNS  # shim
