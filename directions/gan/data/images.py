"""Shim of `directions.gan.data_new`."""

from directions.gan.data_new import ImageData  # shim

__all__ = ["ImageData"]
