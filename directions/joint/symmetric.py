r"""Symmetric matrices as vectors of their upper half, so that second moments of Hessians have no redundant entries.

Below everything else in the package's joint diagonalisation. Off-diagonal entries are multiplied by :math:`\sqrt2`:
products of vectors are then those of the matrices, :math:`\langle h, k \rangle = \mathrm{tr}(HK)`.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


def half_size(n: int) -> int:
    """Return the number of entries on and above the diagonal of an n × n matrix."""
    return n * (n + 1) // 2


def half_vectors(H: Tensor) -> Tensor:
    r"""Write symmetric matrices as vectors.

    Args:
        H: (…, n, n); the part below the diagonal is not looked at.

    Returns:
        (…, n(n+1)/2), row by row, off-diagonal entries times :math:`\sqrt2`.

    Example:
        >>> half_vectors(torch.tensor([[1.0, 2.0], [2.0, 3.0]]))
        tensor([1.0000, 2.8284, 3.0000])
    """
    n = H.shape[-1]
    rows, columns = torch.triu_indices(n, n, device=H.device)
    return H[..., rows, columns] * half_weights(n).to(H)


def symmetric_matrices(h: Tensor) -> Tensor:
    """Undo `half_vectors`.

    Args:
        h: (…, n(n+1)/2).

    Returns:
        (…, n, n), symmetric.

    Example:
        >>> symmetric_matrices(half_vectors(torch.eye(2)))
        tensor([[1., 0.],
                [0., 1.]])
    """
    n = (math.isqrt(8 * h.shape[-1] + 1) - 1) // 2
    assert half_size(n) == h.shape[-1], "no triangle has that many entries"
    rows, columns = torch.triu_indices(n, n, device=h.device)
    entries = h / half_weights(n).to(h)
    H = h.new_empty(*h.shape[:-1], n, n)
    H[..., rows, columns] = entries
    H[..., columns, rows] = entries
    return H


def half_weights(n: int) -> Tensor:
    r"""Return 1 for each diagonal entry and :math:`\sqrt2` for each off-diagonal one, (n(n+1)/2,) float64."""
    rows, columns = torch.triu_indices(n, n)
    return torch.where(rows == columns, 1.0, math.sqrt(2.0)).double()
