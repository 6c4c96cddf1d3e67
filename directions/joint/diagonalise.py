r"""Orthogonal joint diagonalisation of symmetric matrices by a preconditioned quasi-Newton method, from one start."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from directions.penalty import off_diagonal_sum

# Largest size that is always solved in float64: there it costs little, and gives the last digits.
_DOUBLE_UP_TO = 24

# Entries of the matrices that are multiplied at once: they stay in a core's cache.
_CHUNK = 2**18

# Steps that L-BFGS remembers.
_MEMORY = 8

# Largest angle of a step in any plane, in radians.
_LONGEST_STEP = 0.5

# Lengths of a step that are tried.
_HALVINGS = 10

# Iterations in a row that gain nothing that counts, before the end.
_PATIENCE = 3

# Seconds between reports within an iteration.
_REPORT = 0.5


@dataclass(frozen=True, kw_only=True, eq=False)
class Diagonalisation:
    """What the iterations arrived at.

    Attributes:
        Q: (n, n) orthonormal rows, float64.
        energy: Sum of the squares of all off-diagonal entries of ``Q M_k Qᵀ``, over all matrices, computed in float64.
        start_energy: The same of the start.
        total: Sum of the squares of all entries of the matrices: the share on the diagonals is ``1 - energy / total``.
        iterations: Number of iterations.
        converged: Whether the last iterations gained nothing that counts; otherwise they were given up.
    """

    Q: Tensor
    energy: float
    start_energy: float
    total: float
    iterations: int
    converged: bool


@dataclass(frozen=True, eq=False)
class _Sums:
    """What an iteration needs of ``D_k = Q M_k Qᵀ`` with diagonals d_k: sums over k, (n, n) float64."""

    energy: float
    cross: Tensor  # Σ (d_a − d_b) D_ab: turning row a towards row b by the angle t changes the energy by −4t times this
    along: Tensor  # Σ (d_a − d_b)² − 4 D_ab²: a quarter of the energy's second derivative by that angle


def joint_diagonalise(
    matrices: Tensor,
    start: Tensor | None = None,
    *,
    tolerance: float = 1e-5,
    max_iterations: int = 1000,
    on_iteration: Callable[[int, float], None] | None = None,
) -> Diagonalisation:
    r"""Rotate a basis until it makes the matrices jointly as diagonal as rotations can.

    Steps are :math:`Q ← \exp(E)\,Q` with E skew. L-BFGS finds E from the gradient and, as preconditioner, the curvature
    in each plane of two rows, which is all of the curvature where the matrices are diagonal. Where that gains no more,
    planes are turned by their best angles, which are known in closed form: the answer is no saddle point, and no
    rotation of two of its rows improves it by more than the tolerance.

    Args:
        matrices: (K, n, n) symmetric; there may be none. Multiplied in float32, for n <= 24 or a tolerance below 1e-7
            in float64.
        start: (n, n) orthonormal rows to start from; ``None`` is the identity.
        tolerance: The relative gain of the energy in an iteration that no longer counts.
        max_iterations: Where to give up.
        on_iteration: Called with the number of each iteration, from 1, and the energy before it; while an iteration
            takes long, again every half second, and with 0 and infinity before the first. What it raises ends the work.

    Returns:
        The basis and how it was reached.

    References:
        Ablin, Cardoso & Gramfort 2018, "Faster ICA under orthogonal constraint", ICASSP: the relative skew coordinates
        and the preconditioned L-BFGS. Cardoso & Souloumiac 1996, "Jacobi angles for simultaneous diagonalization", SIAM
        J. Matrix Anal. Appl. 17(1): the angles.

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
    dtype = torch.float64 if n <= _DOUBLE_UP_TO or tolerance < 1e-7 else torch.float32
    # Divided by the largest entry, so that squares neither under- nor overflow.
    scale = (float(matrices.abs().max()) if matrices.numel() else 0.0) or 1.0
    M = (matrices.detach() / scale).to(dtype)
    total = float(M.square().sum(dtype=torch.float64))
    rounding = (4 * n * torch.finfo(dtype).eps) ** 2 * total
    Q = torch.eye(n, dtype=torch.float64) if start is None else start.detach().double()
    iteration, energy, reported = 0, math.inf, 0.0

    def report(every: float = _REPORT) -> None:
        nonlocal reported
        if on_iteration is not None and time.monotonic() - reported >= every:
            on_iteration(iteration, energy)
            reported = time.monotonic()

    here = _sums(M, Q, report)
    start_energy = here.energy
    steps: deque[tuple[Tensor, Tensor]] = deque(maxlen=_MEMORY)
    idle, converged = 0, here.energy <= rounding
    while not converged and iteration < max_iterations:
        iteration, energy = iteration + 1, here.energy * scale**2
        report(every=0.0)
        floor = max(tolerance * here.energy, rounding)
        if idle < _PATIENCE:
            E, Q_next, there = _line_search(M, Q, here, _quasi_newton(here, steps), report)
            change = 4 * (here.cross - there.cross)
            if there.energy < here.energy and float((E * change).sum()) > 0:
                steps.append((E, change))
            else:
                steps.clear()
            idle = idle + 1 if here.energy - there.energy <= floor else 0
            if there.energy < here.energy:
                Q, here = Q_next, there
        else:
            # All that the gradient shows is gained; on a saddle or a maximum it is zero, and the best angles are not.
            turn, gain = _best_angles(here, least=floor / n)
            there = _sums(M, turn @ Q, report) if gain > floor else here
            converged = here.energy - there.energy <= floor
            if not converged:
                Q, here, idle = turn @ Q, there, 0
                steps.clear()
    Q = 1.5 * Q - 0.5 * (Q @ Q.mT) @ Q  # what rounding has added in many rotations
    exact = 0.0
    for part in _parts(matrices.detach()):
        exact += float(off_diagonal_sum(Q @ part.double() @ Q.mT).sum())
        report()
    return Diagonalisation(
        Q=Q,
        energy=exact,
        start_energy=start_energy * scale**2,
        total=total * scale**2,
        iterations=iteration,
        converged=converged,
    )


def plane_stiffness(matrices: Tensor, Q: Tensor) -> Tensor:
    """Measure how much the energy off the diagonals depends on the angle in each plane of two rows.

    Args:
        matrices: (K, n, n) symmetric.
        Q: (n, n) orthonormal rows.

    Returns:
        (n, n) symmetric: energy at the worst angle less that at the best. Zero where every angle is as good, and on
        the diagonal.
    """
    sums = _sums(matrices.double(), Q)
    return (torch.hypot(sums.along, 4 * sums.cross) / 2).fill_diagonal_(0.0)


def _parts(matrices: Tensor) -> tuple[Tensor, ...]:
    return matrices.split(max(1, _CHUNK // matrices.shape[-1] ** 2))


def _sums(M: Tensor, Q: Tensor, report: Callable[[], None] = lambda: None) -> _Sums:
    n = M.shape[-1]
    turned = Q.mT.to(M.dtype).contiguous()
    cross, squares, gram = torch.zeros(3, n, n, dtype=torch.float64)
    for part in _parts(M):
        # Two products of tall matrices: several times as fast as a product a matrix.
        D = (part.reshape(-1, n) @ turned).view(-1, n, n).mT.reshape(-1, n) @ turned
        D = D.view(-1, n, n)
        d = D.diagonal(dim1=1, dim2=2)
        cross += (d.unsqueeze(2) * D).sum(dim=0)
        squares += D.square().sum(dim=0)
        gram += d.double().mT @ d.double()
        report()
    squares = ((squares + squares.mT) / 2).fill_diagonal_(0.0)  # exactly symmetric, so that steps are exactly skew
    sizes = gram.diagonal()[:, None] + gram.diagonal()
    spread = sizes - 2 * gram
    # Where equal diagonals cancel, rounding is left, which would pass for a gain.
    spread[spread < 1e-14 * sizes] = 0.0
    bound = (spread * squares).sqrt()
    cross = (cross - cross.mT).clamp(-bound, bound)
    return _Sums(float(squares.sum()), cross, (spread - 4 * squares).fill_diagonal_(0.0))


def _quasi_newton(here: _Sums, steps: Sequence[tuple[Tensor, Tensor]]) -> Tensor:
    """The step of L-BFGS, from the last steps and what each has changed the gradient by."""
    # In each plane, the curvature at the angle that is best or worst there: never less than at the present one, so
    # that no plane is turned by more than a quarter, also where the energy is far from quadratic.
    curvature = 4 * torch.hypot(here.along, 4 * here.cross)
    curvature = curvature.clamp_min(max(1e-3 * float(curvature.mean()), 1e-300))
    descent = E = 4 * here.cross
    factors = []
    for step, change in reversed(steps):
        factors.append(float((step * E).sum() / (step * change).sum()))
        E = E - factors[-1] * change
    E = E / curvature
    for (step, change), factor in zip(steps, reversed(factors), strict=True):
        E = E + (factor - float((change * E).sum() / (step * change).sum())) * step
    return E if float((E * descent).sum()) > 0 else descent / curvature


def _line_search(
    M: Tensor, Q: Tensor, here: _Sums, E: Tensor, report: Callable[[], None]
) -> tuple[Tensor, Tensor, _Sums]:
    """Halve a step until the energy falls; return it, where it leads, and the sums there."""
    E = E * min(1.0, _LONGEST_STEP / max(float(E.abs().max()), 1e-300))
    for _ in range(_HALVINGS):
        Q_next = torch.matrix_exp(E) @ Q
        there = _sums(M, Q_next, report)
        if there.energy < here.energy:
            break
        E = E / 2
    return E, Q_next, there


def _best_angles(here: _Sums, least: float) -> tuple[Tensor, float]:
    """Turn as many planes as share no row by their best angles, those first that gain most.

    Args:
        here: The sums at the present rows.
        least: Gains up to this are left alone.

    Returns:
        (n, n) the rotation, and what it gains.
    """
    # In a plane, the vectors (d_a − d_b, 2 D_ab) turn by twice the angle; their second moments give the best one.
    along, cross = here.along, 4 * here.cross
    size = torch.hypot(along, cross)
    # (size − along)/4 without its cancellation.
    gains = torch.where(along > 0, cross.square() / (size + along).clamp_min(1e-300), size - along) / 4
    turn, free, gain = torch.eye(len(along), dtype=torch.float64), [True] * len(along), 0.0
    planes = (gains.triu(1) > least).nonzero()
    for a, b in planes[gains[planes[:, 0], planes[:, 1]].argsort(descending=True)].tolist():
        if free[a] and free[b]:
            free[a] = free[b] = False
            angle = float(torch.atan2(cross[a, b], along[a, b])) / 4
            turn[a, a] = turn[b, b] = math.cos(angle)
            turn[a, b] = math.sin(angle)
            turn[b, a] = -turn[a, b]
            gain += float(gains[a, b])
    return turn, gain
