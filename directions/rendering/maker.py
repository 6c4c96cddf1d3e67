# ruff: noqa: D100, F401
from directions.rendering.frames import PIXELS_AT_ONCE, to_uint8  # shim
