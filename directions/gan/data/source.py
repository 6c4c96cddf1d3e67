"""Shim of `directions.gan.data_new`."""

from directions.gan.data_new import data_format, open_data, open_folder  # shim

__all__ = ["data_format", "open_data", "open_folder"]
