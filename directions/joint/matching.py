"""Which direction of one basis is which of another: for starts, halves and seeds that may order them differently.

Used by `directions.joint.solve` and by comparisons of solvers.
"""

from __future__ import annotations

import torch
from torch import Tensor


def match_directions(Q: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
    """Pair up the directions of two bases such that the sum of the absolute cosines of pairs is the largest possible.

    Args:
        Q: (ndirs, dim) orthonormal rows.
        other: (at least ndirs, dim) orthonormal rows.

    Returns:
        For each row of ``Q``, the index of its partner, (ndirs,) int64, and the absolute cosine of the two,
        (ndirs,) float64.

    Example:
        >>> match_directions(torch.eye(2), torch.tensor([[0.0, -1.0], [1.0, 0.0]]))
        (tensor([1, 0]), tensor([1., 1.], dtype=torch.float64))
    """
    from scipy.optimize import linear_sum_assignment

    cosines = (Q.detach().cpu().double() @ other.detach().cpu().double().mT).abs()
    rows, columns = linear_sum_assignment(cosines.numpy(), maximize=True)
    partners = torch.from_numpy(columns)
    return partners, cosines[torch.from_numpy(rows), partners]
