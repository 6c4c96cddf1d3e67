r"""Second moments of the measured matrices, in which the penalty of every basis is contained.

With :math:`h` the half-vector of one Hessian at one place and :math:`C = \mathrm{mean}\,hh^\top` over places and
outputs, the penalty of orthonormal rows :math:`Q` is the quadratic form

.. math:: 2\,\mathrm{mean} \sum_{a ≠ b} (QHQ^\top)_{ab}^2 = 2 \sum_{a ≠ b} s_{ab}^\top C s_{ab},
          \qquad s_{ab} = \text{half-vector of } \tfrac12 (q_a q_b^\top + q_b q_a^\top).

An eigenvector of C is itself a symmetric matrix :math:`M_k`, with a weight :math:`λ_k`, so that the form is also
:math:`2 \sum_k \sum_{a≠b} (Q \sqrt{λ_k} M_k Q^\top)_{ab}^2`: minimising it is diagonalising the few matrices
:math:`\sqrt{λ_k} M_k` jointly, however many Hessians were measured.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from directions.penalty import off_diagonal_sum

# Eigenvalues below this share of the largest are rounding errors of the sum.
_RANK_TOLERANCE = 1e-14

# Matrices that are turned at once.
_CHUNK = 16


def half_size(n: int) -> int:
    """Return the number of entries on and above the diagonal of an n × n matrix."""
    return n * (n + 1) // 2


def half_vectors(H: Tensor) -> Tensor:
    r"""Write symmetric matrices as vectors whose products are those of the matrices, :math:`\mathrm{tr}(HK)`.

    Args:
        H: (…, n, n); the part below the diagonal is not looked at.

    Returns:
        (…, n(n+1)/2), row by row, off-diagonal entries times :math:`\sqrt2`.

    Example:
        >>> half_vectors(torch.tensor([[1.0, 2.0], [2.0, 3.0]]))
        tensor([1.0000, 2.8284, 3.0000])
    """
    rows, columns = torch.triu_indices(*H.shape[-2:], device=H.device)
    return H[..., rows, columns] * torch.where(rows == columns, 1.0, math.sqrt(2.0)).to(H)


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
    rows, columns = torch.triu_indices(n, n, device=h.device)
    entries = h / torch.where(rows == columns, 1.0, math.sqrt(2.0)).to(h)
    H = h.new_empty(*h.shape[:-1], n, n)
    H[..., rows, columns] = entries
    H[..., columns, rows] = entries
    return H


class Moments:
    """Second moments of matrices, kept apart for even and odd base points so that each half can be solved by itself.

    Either as the sum of ``hhᵀ``, whose size does not depend on how many matrices are added, or as the vectors
    themselves where those are fewer than a matrix has entries.

    Args:
        size: Width n of the searched space.
        vectors: How many vectors will be added in all, if known; decides which of the two is smaller. ``None`` takes
            the sum.
    """

    def __init__(self, size: int, vectors: int | None = None) -> None:
        self.size = size
        self.stacked = vectors is not None and vectors < half_size(size)
        self.base_points = 0
        self._counts = [0, 0]
        width = half_size(size)
        self._sums = [torch.zeros(0 if self.stacked else width, width, dtype=torch.float64) for _ in range(2)]

    def add(self, vectors: Tensor) -> None:
        """Add the matrices of the next base point.

        Args:
            vectors: (matrices, n(n+1)/2), scaled such that the mean of ``hhᵀ`` over them is that over all outputs.
        """
        self.add_condensed(*self.condense(vectors))

    def condense(self, vectors: Tensor) -> tuple[int, Tensor]:
        """Reduce the matrices of one base point to what is added: the smaller of their vectors and ``Σ hhᵀ``.

        Args:
            vectors: As for `add`.

        Returns:
            What `add_condensed` takes, on the CPU: other processes can add it too.
        """
        # The product in float64: the penalty is a small difference of its entries.
        vectors = vectors.double()
        return len(vectors), (vectors.mT @ vectors if self._summed(len(vectors)) else vectors).cpu()

    def add_condensed(self, count: int, entries: Tensor) -> None:
        """Add the matrices of the next base point, as `condense` has returned them."""
        half = self.base_points % 2
        if self.stacked:
            self._sums[half] = torch.cat((self._sums[half], entries))
        else:
            self._sums[half] += entries if self._summed(count) else entries.mT @ entries
        self._counts[half] += count
        self.base_points += 1

    def _summed(self, count: int) -> bool:
        return not self.stacked and count >= half_size(self.size)

    def matrices(self, half: int | None = None) -> Tensor:
        """Return the matrices whose joint diagonalisation minimises the penalty.

        Args:
            half: 0 or 1 for the even or odd base points only; ``None`` for all.

        Returns:
            (K, n, n) float64 symmetric with K <= n(n+1)/2. The sum of the squares of their off-diagonal entries along a
            basis is half the penalty of that basis. K is 0 if all measured matrices are zero.
        """
        halves = [half] if half is not None else [0, 1]
        count = sum(self._counts[h] for h in halves)
        assert count, "nothing was measured"
        if self.stacked:
            rows = torch.cat([self._sums[h] for h in halves])
            return symmetric_matrices(rows[rows.any(dim=1)] / count**0.5)
        C = torch.stack([self._sums[h] for h in halves]).sum(dim=0) / count
        weights, vectors = torch.linalg.eigh(C)
        kept = weights > _RANK_TOLERANCE * weights[-1]
        return symmetric_matrices((vectors[:, kept] * weights[kept].sqrt()).mT)

    def state_dict(self) -> dict[str, Any]:
        """Return a copy of what was measured: tensors and plain types."""
        return {
            "base_points": self.base_points,
            "counts": list(self._counts),
            "sums": [part.clone() for part in self._sums],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` returned, for the same size and number of vectors."""
        self.base_points = state["base_points"]
        self._counts = list(state["counts"])
        # The number of base points may have changed since, and with it which of the two is smaller.
        self.stacked = self.stacked and all(len(part) < part.shape[1] for part in state["sums"])
        self._sums = [
            part.clone() if self.stacked or len(part) == part.shape[1] else part.mT @ part for part in state["sums"]
        ]


@dataclass(frozen=True)
class JoinedMoments:
    """What was measured for several criteria, to be diagonalised together, each with the same weight."""

    parts: tuple[Moments, ...]

    @property
    def size(self) -> int:
        """Width n of the searched space."""
        return self.parts[0].size

    @property
    def base_points(self) -> int:
        """Base points of the criterion that has fewest."""
        return min(part.base_points for part in self.parts)

    def matrices(self, half: int | None = None) -> Tensor:
        """Return the matrices of all, those of each divided by the root of the sum of their squares."""
        found = [part.matrices(half) for part in self.parts]
        return torch.cat([each / each.square().sum().sqrt().clamp_min(1e-300) for each in found])


def quadratic_penalty(matrices: Tensor, Q: Tensor) -> float:
    r"""Compute the penalty of a basis from measured matrices, :math:`2 \sum_k \sum_{a≠b} (Q M_k Q^\top)_{ab}^2`.

    Args:
        matrices: (K, n, n) from `Moments.matrices`.
        Q: (ndirs, n) orthonormal rows, in the searched space.

    Returns:
        The expectation of `directions.penalty.hessian_penalty` at the measured places, in its units; of Jacobian
        matrices, that of `directions.penalty.jacobian_penalty`, each place's divided by the square of its trace.
    """
    Q = Q.to(matrices)
    return 2 * sum(float(off_diagonal_sum(Q @ part @ Q.mT).sum()) for part in matrices.split(_CHUNK))
