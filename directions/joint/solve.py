"""Diagonalise measured Hessians from several starts, and say how far the answer can be trusted.

The end of the flow through `directions.joint`: moments come in, a basis of the whole searched space goes out, with
what the starts and the two halves of the base points say about it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from directions.basis import random_basis
from directions.distributed.ranks import Ranks
from directions.joint.jacobi import Diagonalisation, joint_diagonalise, plane_stiffness
from directions.joint.matching import match_directions
from directions.joint.moments import Moments, quadratic_penalty
from directions.joint.notes import joint_notes
from directions.sampling import derived_rng

_UNDETERMINED = 1e-8
"""A plane whose best and worst angle differ by less than this share of the Hessians' energy decides nothing."""

_SAME = 1e-6
"""Starts whose penalty is within this share of the best have reached the same optimum."""


@dataclass(frozen=True, kw_only=True, eq=False)
class JointSolution:
    """A basis that diagonalises the measured Hessians jointly, and what is known about it."""

    basis: Tensor
    """(n, n) orthonormal rows in the searched space, float64: those with the most curvature along themselves first, the
    largest entry of each positive."""
    penalty: float
    """Its penalty at the measured places, in units of (image / z²)²."""
    random_penalty: float
    """The same of a random basis, the mean over the random starts (of the identity if there are none)."""
    excess: tuple[float, ...]
    """For each start, the penalty that it ended with relative to the best, less 1; the best has 0."""
    cosines: tuple[float, ...]
    """For each start, the smallest |cosine| between a direction of the best that is determined and its partner."""
    undetermined: tuple[tuple[int, ...], ...]
    """Groups of directions within which every rotation is as good."""
    confidence: tuple[float, ...] | None
    """For each direction, |cosine| between its partners in the solutions of the two halves of the base points; ``None``
    if a half is empty."""
    converged: bool
    """Whether every start was followed to its end."""
    zero: bool
    """Whether all Hessians were zero."""

    @property
    def agreeing_starts(self) -> int:
        """Number of starts that reached the best penalty, the best one included."""
        return sum(excess <= _SAME for excess in self.excess)

    def report(self) -> dict[str, Any]:
        """Return what is known about the solution as a whole, as plain JSON types."""
        return {
            "penalty": self.penalty,
            "random_penalty": self.random_penalty,
            "starts": len(self.excess),
            "agreeing_starts": self.agreeing_starts,
            "largest_excess": max(self.excess),
            "smallest_cosine": min(self.cosines),
            "converged": self.converged,
            "zero": self.zero,
        }

    def columns(self) -> dict[str, list[Any]]:
        """Return what is known about each direction: its confidence, and the number of its undetermined group."""
        group = {index: number for number, members in enumerate(self.undetermined) for index in members}
        n = len(self.basis)
        return {
            "confidence": [None] * n if self.confidence is None else list(self.confidence),
            "undetermined": [group.get(index) for index in range(n)],
        }

    def notes(self) -> list[str]:
        """Say in plain words what should make a reader careful; directions are numbered."""
        columns = self.columns() | {"name": [str(index) for index in range(len(self.basis))]}
        return joint_notes(
            self.report(), [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
        )


def solve(
    moments: Moments,
    *,
    starts: int = 8,
    seed: int = 0,
    on_start: Callable[[int, int], None] = lambda done, total: None,
    ranks: Ranks | None = None,
) -> JointSolution:
    """Find the basis with the smallest penalty at the measured places.

    Args:
        moments: What was measured.
        starts: Number of starts, at least 1: the identity and random bases. Each half is solved from the same ones.
        seed: Seed of the random starts.
        on_start: Called after each start of this process with the number done and the number in all.
        ranks: Those that share the starts; ``None`` is this process alone.

    Returns:
        The best basis and what is known about it.
    """
    matrices = moments.matrices()
    n = moments.size
    halves = moments.base_points > 1
    ranks = ranks or Ranks()
    mine = ranks.share(range(starts))
    total_starts = len(mine) * (3 if halves else 1)
    done = 0

    def from_all_starts(stack: Tensor) -> list[Diagonalisation]:
        nonlocal done
        found = []
        for number in mine:
            found.append(joint_diagonalise(stack, start_basis(n, number, seed)))
            done += 1
            on_start(done, total_starts)
        return ranks.collect(found)

    found = from_all_starts(matrices)
    best = min(found, key=lambda one: one.energy)
    basis = _in_order(matrices, best.Q)
    energy = float(matrices.square().sum())
    undetermined = _groups(plane_stiffness(matrices, basis) <= _UNDETERMINED * energy)
    loose = {index for group in undetermined for index in group}
    firm = [index for index in range(n) if index not in loose]

    confidence = None
    if halves:
        first, second = (min(from_all_starts(moments.matrices(half)), key=lambda one: one.energy).Q for half in (0, 1))
        partners = [half[match_directions(basis, half)[0]] for half in (first, second)]
        confidence = tuple((partners[0] * partners[1]).sum(dim=1).abs().tolist())
    random_starts = [start_basis(n, number, seed) for number in range(min(1, starts - 1), starts)]
    # Where the optimum is zero, what is left of it is rounding, and a ratio of roundings means nothing.
    unit = max(best.energy, 1e-9 * energy) or 1.0
    return JointSolution(
        basis=basis,
        penalty=2 * best.energy,
        random_penalty=sum(quadratic_penalty(matrices, Q) for Q in random_starts) / len(random_starts),
        excess=tuple((one.energy - best.energy) / unit for one in found),
        cosines=tuple(float(match_directions(basis, one.Q)[1][firm].min()) if firm else 1.0 for one in found),
        undetermined=undetermined,
        confidence=confidence,
        converged=all(one.converged for one in found),
        zero=energy == 0,
    )


def start_basis(n: int, number: int, seed: int) -> Tensor:
    """Return the basis of a start: the identity for the first, a random one for the others, (n, n) float64."""
    if number == 0:
        return torch.eye(n, dtype=torch.float64)
    return random_basis(n, n, derived_rng(seed, number, "joint start"), dtype=torch.float64)


def _in_order(matrices: Tensor, Q: Tensor) -> Tensor:
    """Put rows in an order and with signs that do not depend on the start."""
    along = torch.einsum("kij,ai,aj->ka", matrices, Q, Q).square().sum(dim=0)
    Q = Q[along.argsort(descending=True, stable=True)]
    largest = Q.gather(1, Q.abs().argmax(dim=1, keepdim=True))
    return Q * largest.sign()


def _groups(joined: Tensor) -> tuple[tuple[int, ...], ...]:
    """Connected components of more than one member, given which pairs are joined."""
    groups: list[set[int]] = []
    for a, b in joined.triu(1).nonzero().tolist():
        merged = {a, b}.union(*(group for group in groups if group & {a, b}))
        groups = [group for group in groups if not group & merged] + [merged]
    return tuple(sorted(tuple(sorted(group)) for group in groups))
