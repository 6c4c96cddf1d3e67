"""Moved."""

from directions.evaluation.factors import FactorTable  # shim
from directions.evaluation.scene_reader import SCENE_FACTORS as COLUMNS  # shim

__all__ = ["COLUMNS", "FactorTable"]
