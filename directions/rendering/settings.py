# ruff: noqa: D100, F401
from directions.settings.render import MAX_SAMPLES, SMALLEST_TILE, RenderSettings  # shim
