# ruff: noqa: D100, F401
from directions.settings.render import MAX_GIF_FPS as MAX_FPS  # shim
