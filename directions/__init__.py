"""Find, look at and use directions in a generator's latent space that each change one thing.

The names below are the public interface; each is loaded from its module on first use, so that ``import directions``
is instant and does not import torch. The modules follow one another in the order of the data: a generator is moved
along a basis by steps, a penalty judges it, discovery turns that into a direction file, and the file is rendered,
evaluated or loaded in other code.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from directions.basis import check_orthonormal as check_orthonormal
    from directions.basis import gram_schmidt as gram_schmidt
    from directions.direction_file import Directions as Directions
    from directions.direction_file import edit_directions as edit_directions
    from directions.direction_file import load_directions as load_directions
    from directions.discovery import discover as discover
    from directions.generators.registry import load_generator as load_generator
    from directions.generators.weights import load_weights as load_weights
    from directions.penalty import exact_hessian as exact_hessian
    from directions.penalty import hessian_penalty as hessian_penalty
    from directions.penalty import hessian_penalty_exact as hessian_penalty_exact
    from directions.penalty import jacobian_penalty as jacobian_penalty
    from directions.penalty import jacobian_penalty_exact as jacobian_penalty_exact
    from directions.settings.discover import DiscoverConfig as DiscoverConfig

__version__ = "0.1.0"

_NAMES = {
    "basis": "check_orthonormal gram_schmidt",
    "direction_file": "Directions edit_directions load_directions",
    "discovery": "discover",
    "generators.registry": "load_generator",
    "generators.weights": "load_weights",
    "penalty": "exact_hessian hessian_penalty hessian_penalty_exact jacobian_penalty jacobian_penalty_exact",
    "settings.discover": "DiscoverConfig",
}
_HOMES = {name: f"directions.{module}" for module, names in _NAMES.items() for name in names.split()}
__all__ = ["__version__", *_HOMES]  # noqa: PLE0604 — each is text


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
