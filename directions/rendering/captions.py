# ruff: noqa: D100, F401
from directions.rendering.page import Page, RowCaption, enlarge  # shim
