"""Shim of `directions.settings`."""

from directions.settings.base import MAX_SEED, ConfigError  # shim
from directions.settings.discover import (  # shim
    RESUMABLE,
    UNUSED,
    Classes,
    DiscoverConfig,
    Init,
    Measuring,
    Method,
    Precision,
    Reduction,
    parse_classes,
)

__all__ = [
    "MAX_SEED",
    "RESUMABLE",
    "UNUSED",
    "Classes",
    "ConfigError",
    "DiscoverConfig",
    "Init",
    "Measuring",
    "Method",
    "Precision",
    "Reduction",
    "parse_classes",
]
