"""What the tests of joint diagonalisation share."""

from __future__ import annotations

from collections.abc import Iterable

import torch

from directions.basis import SearchSpace
from directions.joint.measure import Measurement
from directions.joint.moments import Moments
from directions.joint.symmetric import half_vectors

MEASUREMENT = Measurement(
    space=SearchSpace(0, 4, 4),
    classes=(0, 1, 2),
    truncation=1.0,
    path_size=3.0,
    base_points=6,
    kind="differences",
    output_probes=3,
    step=1e-3,
    seed=0,
    rows=16,
)


def last(stream: Iterable[Moments]) -> Moments:
    *_, moments = stream
    return moments


def moments_of(hessians: torch.Tensor) -> Moments:
    """As if one output had been measured at as many base points as there are matrices, (base points, n, n)."""
    moments = Moments(hessians.shape[-1])
    for H in hessians:
        moments.add(half_vectors((H + H.mT) / 2)[None])
    return moments
