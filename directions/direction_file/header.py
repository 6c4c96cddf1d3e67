"""Moved to `directions.direction_file.format`."""

from directions.direction_file.format import DescribesGenerator, as_json, make_header  # shim

__all__ = ["DescribesGenerator", "as_json", "make_header"]
