"""Shim of `directions.settings.train`."""

from directions.settings.train import PAPER_CHANNELS, RESUMABLE, DataFormat, OnBroken, TrainConfig  # shim

__all__ = ["PAPER_CHANNELS", "RESUMABLE", "DataFormat", "OnBroken", "TrainConfig"]
