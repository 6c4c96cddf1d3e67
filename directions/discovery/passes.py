"""How the passes of a step are carried out: compiled or not, recomputing or not, and whether the device can do it.

Called by ``loop.py`` before anything is computed. What it changes is how fast a step is and how much memory it takes,
and with a reduced precision the digits of the result.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

from directions.config import ConfigError, DiscoverConfig

if TYPE_CHECKING:
    from directions.generators.base import Generator


def prepare_steps(generator: Generator, config: DiscoverConfig) -> None:
    """Make a generator carry out the passes of steps as a configuration says.

    Args:
        generator: In eval mode.
        config: Whether to compile and recompute, and in which precision.

    Raises:
        ConfigError: If the generator or its device cannot do it.

    Warns:
        UserWarning: If the precision makes the penalty's gradient visibly wrong.
    """
    if config.precision == "tf32" and generator.device.type != "cuda":
        raise ConfigError(
            "precision", f"tf32 is for CUDA GPUs, and generator {generator.name!r} is on {generator.device}."
        )
    if config.precision == "bf16":
        warnings.warn(
            "precision bf16 changes the penalty and its gradient, the more the smaller epsilon is: see "
            "docs/precision.md. Held-out scores are in float32 and tell whether the steps help.",
            stacklevel=3,
        )
    prepare = getattr(generator, "prepare_steps", None)
    if prepare is not None:
        prepare(compiled=config.compile, recompute=config.recompute)
        return
    for name in ("compile", "recompute"):
        if getattr(config, name):
            raise ConfigError(name, f"is for the generators of this package, which {generator.name!r} is not.")
