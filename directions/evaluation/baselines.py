"""Bases that nobody had to learn, to compare a learned one with: random orthonormal rows and the axes of z.

After discovery and beside the other metrics. The same number of directions, in the same searched space, scored at the
same held-out places.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from directions.basis import random_basis
from directions.distributed.ranks import Ranks
from directions.held_out import HeldOutSet, held_out_penalty
from directions.sampling import derived_rng
from directions.search import Search

if TYPE_CHECKING:
    from directions.generators.base import Generator


def random_directions(search: Search, seed: int) -> Tensor:
    """Draw random orthonormal directions in the searched space.

    Args:
        search: Their number and the space.
        seed: Seed of the draw.

    Returns:
        (ndirs, |z|) float32, zero outside the space.
    """
    rng = derived_rng(seed, purpose="random directions")
    return search.space.embed(random_basis(search.ndirs, search.space.size, rng))


def axis_directions(search: Search) -> Tensor:
    """Return the first ``ndirs`` axes of the searched space, (ndirs, |z|) float32."""
    return search.space.embed(torch.eye(search.ndirs, search.space.size))


def baseline_penalties(
    generator: Generator, search: Search, held_out: HeldOutSet, *, random_seeds: int = 5, ranks: Ranks | None = None
) -> dict[str, float]:
    """Score what needs no learning.

    Args:
        generator: In eval mode.
        search: Number of directions and the space.
        held_out: Where to score.
        random_seeds: Number of random bases, of seeds 0, 1, …
        ranks: Those that share the places; ``None`` is this process alone.

    Returns:
        ``random``, the mean held-out penalty over the random bases, and ``axes``, that of the axes of z.
    """
    bases = [random_directions(search, seed) for seed in range(random_seeds)]
    scores = [held_out_penalty(generator, basis, held_out, ranks=ranks) for basis in bases]
    return {
        "random": math.fsum(scores) / len(scores),
        "axes": held_out_penalty(generator, axis_directions(search), held_out, ranks=ranks),
    }
