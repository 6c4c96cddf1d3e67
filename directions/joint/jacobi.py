r"""Orthogonal joint diagonalisation of symmetric matrices by plane rotations, from one start.

Takes the matrices of `directions.joint.moments`; `directions.joint.solve` calls it from several starts.
The best angle in the plane of two rows is known in closed form and is the best of all angles, not a local one; the
energy off the diagonals therefore never rises. Rotations in disjoint planes do not touch each other's diagonals, so
n/2 of them are made at once, and n − 1 such rounds make a sweep. Libraries have the same rotations, but one after the
other in Python (pyriemann's ``rjd``, which brings scikit-learn along), or gradient steps on the orthogonal group
(pymanopt, geoopt), which need a step size and get caught more easily; hence this module. The tests hold it against an
independent solver.

References:
    Cardoso & Souloumiac 1996, "Jacobi angles for simultaneous diagonalization", SIAM J. Matrix Anal. Appl. 17(1).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from directions.penalties.exact import off_diagonal_sum

_CACHE = 2**20
"""Bytes of a core's cache that two blocks of rows may fill, which is what large problems are bound by."""

_FLAT = 1e-14
"""A plane whose best and worst angle differ by less than this share of the total energy is left alone: rounding."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Diagonalisation:
    """What the rotations arrived at."""

    Q: Tensor
    """(n, n) orthonormal rows, float64."""
    energy: float
    """Sum of the squares of all off-diagonal entries of ``Q M_k Qᵀ``, over all matrices."""
    sweeps: int
    """Sweeps over all planes."""
    converged: bool
    """Whether the last sweep gained nothing that counts; otherwise it was given up."""


def joint_diagonalise(
    matrices: Tensor,
    start: Tensor | None = None,
    *,
    tolerance: float = 1e-10,
    settled: float = 1e-7,
    max_sweeps: int = 200,
) -> Diagonalisation:
    """Rotate a basis until it makes the matrices jointly as diagonal as rotations in planes can.

    Args:
        matrices: (K, n, n) symmetric; there may be none.
        start: (n, n) orthonormal rows to start from; ``None`` is the identity.
        tolerance: The angle, in radians, that no longer counts: sweeps end when one gains less than what such an angle
            would in a plane that holds all of the matrices' energy (its square times that energy).
        settled: The share of the remaining energy that no longer counts: sweeps also end when one gains less. Matrices
            that no basis makes nearly diagonal would otherwise go on for thousands of sweeps that change nothing.
        max_sweeps: Where to give up.

    Returns:
        The basis and how it was reached.

    Example:
        >>> M = torch.tensor([[[2.0, 1.0], [1.0, 2.0]], [[0.0, 3.0], [3.0, 0.0]]])
        >>> found = joint_diagonalise(M)
        >>> found.Q.abs()
        tensor([[0.7071, 0.7071],
                [0.7071, 0.7071]], dtype=torch.float64)
        >>> found.energy < 1e-28, found.converged
        (True, True)
    """
    n = matrices.shape[-1]
    matrices = matrices.detach().double()
    Q = torch.eye(n, dtype=torch.float64) if start is None else start.detach().double().clone()
    total = float(matrices.square().sum())
    # The matrices come last: an entry of all of them is a contiguous run, and so are whole rows.
    X = (Q @ matrices @ Q.mT).permute(1, 2, 0).contiguous()
    rows = _block_rows(len(matrices))
    sweeps, converged = 0, False
    while not converged and sweeps < max_sweeps:
        gain = _sweep_blocks(X, Q, _FLAT * total, rows) if n > 2 * rows else _sweep(X, Q, _FLAT * total)
        sweeps += 1
        remaining = float(X.square().sum() - X.diagonal().square().sum())
        converged = gain <= max(tolerance**2 * total, settled * remaining)
    Q = _orthonormal(Q)
    energy = float(off_diagonal_sum(Q @ matrices @ Q.mT).sum())
    return Diagonalisation(Q=Q, energy=energy, sweeps=sweeps, converged=converged)


def plane_stiffness(matrices: Tensor, Q: Tensor) -> Tensor:
    """Measure how much the energy off the diagonals depends on the angle in each plane of two rows.

    Args:
        matrices: (K, n, n) symmetric.
        Q: (n, n) orthonormal rows.

    Returns:
        (n, n) symmetric: energy at the worst angle less that at the best. Zero where every angle is as good, and on
        the diagonal.
    """
    X = Q.to(matrices) @ matrices @ Q.to(matrices).mT
    diagonal = X.diagonal(dim1=1, dim2=2)
    d = diagonal.unsqueeze(2) - diagonal.unsqueeze(1)
    along, cross = (d.square() - 4 * X.square()).sum(dim=0), 4 * (d * X).sum(dim=0)
    return (torch.hypot(along, cross) / 2).fill_diagonal_(0.0)


def _sweep(X: Tensor, Q: Tensor, flat: float) -> float:
    """Rotate in every plane once, in place.

    Args:
        X: (m, m, K), the matrices along the present rows.
        Q: (m, …), the rows, or whatever is to be rotated along.
        flat: Planes in which the angle matters less than this are left alone.

    Returns:
        The energy that this took off the off-diagonals.
    """
    gain = 0.0
    for p, q in _rounds(len(X)):
        d, o = X[p, p] - X[q, q], 2 * X[p, q]
        # In the plane, (d, o) turns by twice the angle; its second moments give the angle that makes o smallest.
        along, cross = (d * d - o * o).sum(dim=1), 2 * (d * o).sum(dim=1)
        size = torch.hypot(along, cross)
        angle = torch.where(size > 2 * flat, torch.atan2(cross, along) / 4, 0.0)
        # (size − along)/4 without its cancellation; a flat plane is not rotated and gains nothing.
        gains = torch.where(along > 0, cross.square() / (size + along).clamp_min(1e-300), size - along) / 4
        gain += float(torch.where(size > 2 * flat, gains, 0.0).sum())
        c, s = angle.cos(), angle.sin()
        _rotate(X, p, q, c, s)
        _rotate(X.transpose(0, 1), p, q, c, s)
        _rotate(Q, p, q, c, s)
    return gain


def _rotate(rows: Tensor, p: Tensor, q: Tensor, c: Tensor, s: Tensor) -> None:
    first, second = rows[p], rows[q]
    shape = (-1,) + (1,) * (rows.ndim - 1)
    c, s = c.view(shape), s.view(shape)
    rows[p] = c * first + s * second
    rows[q] = c * second - s * first


def _block_rows(K: int) -> int:
    """Return the number of rows of a block, two of which fit the cache for K matrices."""
    return max(4, int((_CACHE / (8 * max(1, K))) ** 0.5) // 2)


def _sweep_blocks(X: Tensor, Q: Tensor, flat: float, size: int) -> float:
    """The same for many rows: sweep two blocks of rows at a time, then turn all columns by what that amounts to."""
    n, gain = len(X), 0.0
    blocks = torch.arange(n).split(size)
    for first, second in _rounds(len(blocks)):
        for a, b in zip(first.tolist(), second.tolist(), strict=True):
            rows = torch.cat((blocks[a], blocks[b]))
            inner = X[rows[:, None], rows].contiguous()
            turn = torch.eye(len(rows), dtype=X.dtype)
            gain += _sweep(inner, turn, flat)
            turned = (turn @ X[rows].flatten(1)).view(len(rows), n, -1)
            turned[:, rows] = inner
            X[rows] = turned
            X[:, rows] = turned.transpose(0, 1)
            Q[rows] = turn @ Q[rows]
    return gain


@lru_cache(maxsize=64)
def _rounds(n: int) -> tuple[tuple[Tensor, Tensor], ...]:
    """Pair up 0 … n − 1 as in a round-robin tournament: in n − 1 rounds (n if odd) each meets every other once."""
    players = list(range(n + n % 2))  # an odd one out plays against nobody, n
    rounds = []
    for _ in range(len(players) - 1):
        half = len(players) // 2
        pairs = [sorted(pair) for pair in zip(players[:half], players[: half - 1 : -1], strict=True)]
        pairs = [pair for pair in pairs if pair[1] < n]
        # A single player meets nobody, and an empty list alone would not become a tensor of indices.
        first, second = ([pair[side] for pair in pairs] for side in (0, 1))
        rounds.append((torch.tensor(first, dtype=torch.long), torch.tensor(second, dtype=torch.long)))
        players = [players[0], players[-1], *players[1:-1]]
    return tuple(rounds)


def _orthonormal(Q: Tensor) -> Tensor:
    """Remove what rounding has added in thousands of rotations: one step towards the nearest orthonormal rows."""
    return 1.5 * Q - 0.5 * (Q @ Q.mT) @ Q
