# ruff: noqa: D100, F401, N813
from directions.rendering.animate import Encoder as make_encoder  # shim
