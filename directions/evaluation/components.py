"""Moved."""

from directions.evaluation.activeness import (
    CARRIED,
    ComponentActiveness,
    component_activeness,
    components_carrying,
)  # shim

__all__ = ["CARRIED", "ComponentActiveness", "component_activeness", "components_carrying"]
