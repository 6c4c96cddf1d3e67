"""Find, look at and use directions in a generator's latent space that each change one thing.

The names below are the public interface; each is loaded from its module on first use, so that ``import directions``
is instant and does not import torch. The modules follow one another in the order of the data: a generator is moved
along a basis by steps, a penalty judges it, discovery turns that into a direction file, and the file is rendered,
evaluated or loaded in other code.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

__version__ = "0.1.0"

__all__ = [
    "Directions",
    "DiscoverConfig",
    "__version__",
    "check_orthonormal",
    "discover",
    "edit_directions",
    "exact_hessian",
    "gram_schmidt",
    "hessian_penalty",
    "hessian_penalty_exact",
    "jacobian_penalty",
    "jacobian_penalty_exact",
    "load_directions",
    "load_generator",
    "load_weights",
]

if TYPE_CHECKING:
    from directions.basis import check_orthonormal, gram_schmidt
    from directions.direction_file import Directions, edit_directions, load_directions
    from directions.discovery import discover
    from directions.generators.registry import load_generator
    from directions.generators.weights import load_weights
    from directions.penalty import (
        exact_hessian,
        hessian_penalty,
        hessian_penalty_exact,
        jacobian_penalty,
        jacobian_penalty_exact,
    )
    from directions.settings.discover import DiscoverConfig

_HOMES = {
    "Directions": "directions.direction_file",
    "DiscoverConfig": "directions.settings.discover",
    "check_orthonormal": "directions.basis",
    "discover": "directions.discovery",
    "edit_directions": "directions.direction_file",
    "exact_hessian": "directions.penalty",
    "gram_schmidt": "directions.basis",
    "hessian_penalty": "directions.penalty",
    "hessian_penalty_exact": "directions.penalty",
    "jacobian_penalty": "directions.penalty",
    "jacobian_penalty_exact": "directions.penalty",
    "load_directions": "directions.direction_file",
    "load_generator": "directions.generators.registry",
    "load_weights": "directions.generators.weights",
}


def __getattr__(name: str) -> object:
    """Import a public name from its module the first time it is asked for."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """List the public names, loaded or not."""
    return sorted({*globals(), *__all__})
