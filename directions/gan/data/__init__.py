"""Shims of `directions.gan.data_new`."""
