"""What the tests of joint diagonalisation share."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch

from directions.basis import SearchSpace, random_basis
from directions.joint.measure import planned_measurement
from directions.joint.moments import Moments, half_vectors
from directions.search import Search
from directions.settings.discover import DiscoverConfig

CONFIG = DiscoverConfig(
    path_size=3.0, epsilon=1e-3 / math.sqrt(2), batch_size=4, base_points=6, output_probes=3, measurement="differences"
)
MEASUREMENT = planned_measurement(CONFIG, Search(SearchSpace(0, 4, 4), 4, (0, 1, 2)))


def last(stream: Iterable[Moments]) -> Moments:
    *_, moments = stream
    return moments


def moments_of(hessians: torch.Tensor) -> Moments:
    """As if one output had been measured at as many base points as there are matrices, (base points, n, n)."""
    moments = Moments(hessians.shape[-1])
    for H in hessians:
        moments.add(half_vectors((H + H.mT) / 2)[None])
    return moments


def rotation(n: int, seed: int = 0) -> torch.Tensor:
    return random_basis(n, n, torch.Generator().manual_seed(seed), dtype=torch.float64)


def planted(n: int, count: int, noise: float = 0.0, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Matrices that one basis diagonalises, but for noise; and the basis."""
    source = torch.Generator().manual_seed(seed)
    Q = random_basis(n, n, source, dtype=torch.float64)
    D = torch.randn(count, n, generator=source, dtype=torch.float64)
    N = torch.randn(count, n, n, generator=source, dtype=torch.float64) * noise / math.sqrt(n)
    return Q.mT @ (D[:, :, None] * Q) + (N + N.mT) / 2, Q
