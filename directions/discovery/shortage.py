"""Discovery that runs out of memory: what was too large, and what to make smaller to go on.

Around the loop (``loop.py``) and the measurements at the end of a run; `directions.memory` tells such errors from
others. The run folder and the command line add where to go on.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeVar

from directions.config import DiscoverConfig
from directions.errors import OutOfMemoryError
from directions.memory import explained, smaller_divisors

_Item = TypeVar("_Item")


def too_large(config: DiscoverConfig, world_size: int = 1) -> OutOfMemoryError:
    """Say that a run's images did not fit, and which micro-batch to try.

    Args:
        config: Its settings.
        world_size: Number of processes that share a batch.

    Returns:
        The error, with the micro-batch to try, if there is a smaller one.
    """
    each = config.batch_size // world_size
    together = config.micro_batch or each
    images = 2 * config.num_probes * together
    what = f"Out of memory with {images} images at once, {2 * config.num_probes} for each sample of a micro-batch of "
    smaller = smaller_divisors(each, together)
    if smaller:
        allowed = "" if len(smaller) == 1 else f" (or {', '.join(map(str, smaller[1:]))})"
        return OutOfMemoryError(
            f"{what}{together}. Try --micro-batch {smaller[0]}{allowed}: a step keeps its {config.batch_size} samples, "
            "and its result up to rounding.",
            micro_batch=smaller[0],
        )
    fewer = " A new run may take --num-probes 2." if config.num_probes > 2 else ""
    held = "" if config.recompute else " A BigGAN holds less with --recompute, at the cost of time."
    return OutOfMemoryError(
        f"{what}1, which cannot be made smaller.{fewer}{held} Or use a generator of fewer pixels, or a --device with "
        "more memory."
    )


def watched(snapshots: Iterator[_Item], config: DiscoverConfig, world_size: int = 1) -> Iterator[_Item]:
    """Pass on what a loop yields; if it runs out of memory, say what to try.

    Args:
        snapshots: The loop.
        config: Its settings.
        world_size: Number of processes that share a batch.

    Yields:
        What it yields.
    """
    with explained(lambda: too_large(config, world_size)):
        yield from snapshots
