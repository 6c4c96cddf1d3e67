"""Diagonalise measured matrices from several starts, and say how far the answer can be trusted."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from directions.basis import random_basis
from directions.joint.diagonalise import Diagonalisation, joint_diagonalise, plane_stiffness
from directions.joint.moments import JoinedMoments, Moments
from directions.joint.notes import SAME
from directions.ranks import Ranks
from directions.sampling import derived_rng

# A plane whose best and worst angle differ by less than this share of the matrices' energy decides nothing.
_UNDETERMINED = 1e-8

# Starts that have reached the best penalty, after which no more are made.
_ENOUGH = 3


@dataclass(frozen=True, kw_only=True, eq=False)
class JointSolution:
    """A basis that diagonalises the measured matrices jointly, and what is known about it.

    Attributes:
        basis: (n, n) orthonormal rows in the searched space, float64: those with the most curvature along themselves
            first, the largest entry of each positive.
        penalty: Its penalty at the measured places; of Hessians, in units of (image / z²)².
        random_penalty: The same of a random basis, the mean over the random starts (of the identity if there are none).
        excess: For each start, the penalty that it ended with relative to the best, less 1; the best has 0.
        cosines: For each start, the smallest |cosine| between a direction of the best that is determined and its
            partner.
        undetermined: Groups of directions within which every rotation is as good.
        confidence: For each direction, |cosine| between its partners in the solutions of the two halves of the base
            points; ``None`` if a half is empty.
        converged: Whether every start was followed to its end.
        zero: Whether all matrices were zero.
    """

    basis: Tensor
    penalty: float
    random_penalty: float
    excess: tuple[float, ...]
    cosines: tuple[float, ...]
    undetermined: tuple[tuple[int, ...], ...]
    confidence: tuple[float, ...] | None
    converged: bool
    zero: bool

    @property
    def agreeing_starts(self) -> int:
        """Number of starts that reached the best penalty to 0.1%, the best one included."""
        return sum(excess <= SAME for excess in self.excess)

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


class Solving:
    """How far `solve_in_steps` has come.

    Args:
        starts: The largest number of starts a phase.
        phases: 3 (all base points, even ones, odd ones), or 1: a single base point has no halves.
    """

    def __init__(self, starts: int, phases: int) -> None:
        self.solution: JointSolution | None = None
        """The answer, once there is one."""
        self._starts = starts
        self._found: list[list[Diagonalisation]] = [[] for _ in range(phases)]

    @property
    def done(self) -> int:
        """Starts that are finished, in all phases."""
        return sum(len(found) for found in self._found)

    @property
    def total(self) -> int:
        """Starts that will be made, as far as is known: more where they disagree."""
        return sum(_needed(found, self._starts) for found in self._found)

    def state_dict(self) -> dict[str, Any]:
        """Return what the finished starts have found, as tensors and plain types."""
        return {"found": [[dataclasses.asdict(one) for one in found] for found in self._found]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` returned for the same moments."""
        self._found = [[Diagonalisation(**one) for one in found] for found in state["found"]]


def solve(
    moments: Moments | JoinedMoments,
    *,
    starts: int = 8,
    seed: int = 0,
    ranks: Ranks | None = None,
) -> JointSolution:
    """Find the basis with the smallest penalty at the measured places.

    Args:
        moments: What was measured.
        starts: Largest number of starts, at least 1: the identity and random bases. After three, no more are made once
            three have reached the best penalty to 0.1%. Each half of the base points is solved in the same way.
        seed: Seed of the random starts.
        ranks: Those that share the starts; ``None`` is this process alone.

    Returns:
        The best basis and what is known about it.
    """
    *_, last = solve_in_steps(moments, starts=starts, seed=seed, ranks=ranks)
    assert last.solution is not None, "the last step has the solution"
    return last.solution


def solve_in_steps(
    moments: Moments | JoinedMoments,
    *,
    starts: int = 8,
    seed: int = 0,
    ranks: Ranks | None = None,
    resume_from: Mapping[str, Any] | None = None,
    on_iteration: Callable[[Solving, int, float], None] | None = None,
) -> Iterator[Solving]:
    """`solve`, start by start, in a stream that can be stopped and taken up again.

    Args:
        moments: What was measured.
        starts: Largest number of starts.
        seed: Seed of the random starts.
        ranks: Those that share the starts.
        resume_from: `Solving.state_dict` of an earlier call with the same moments and settings; ``None`` starts anew.
        on_iteration: Called as that of `joint_diagonalise` is, with what is being solved first. May raise.

    Yields:
        How far it has come, at the beginning and after each start (or each round of one for every rank), the last with
        the solution: always the same object, which changes.
    """
    ranks, n = ranks or Ranks(), moments.size
    halves = (None, 0, 1) if moments.base_points > 1 else (None,)
    solving = Solving(starts, len(halves))
    if resume_from is not None:
        solving.load_state_dict(resume_from)
    yield solving
    tolerance = 1e-10 if n <= 24 else 1e-5  # up to 24 components the last digits cost little
    tell = functools.partial(on_iteration, solving) if on_iteration else None

    def diagonalise(matrices: Tensor, number: int) -> Diagonalisation:
        return joint_diagonalise(matrices, start_basis(n, number, seed), tolerance=tolerance, on_iteration=tell)

    for half, found in zip(halves, solving._found, strict=True):
        while len(found) < _needed(found, starts):
            matrices = moments.matrices(half)
            while len(found) < _needed(found, starts):
                turn = range(starts)[len(found) : len(found) + ranks.world_size]
                found += ranks.collect([diagonalise(matrices, number) for number in ranks.share(turn)])
                del found[_needed(found, starts) :]  # several ranks may have made more than one process would have
                yield solving
    solving.solution = _solution(moments.matrices(), solving._found)
    yield solving


def start_basis(n: int, number: int, seed: int) -> Tensor:
    """Return the basis of a start: the identity for the first, a random one for the others, (n, n) float64."""
    if number == 0:
        return torch.eye(n, dtype=torch.float64)
    return random_basis(n, n, derived_rng(seed, number, "joint start"), dtype=torch.float64)


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


def _excess(found: Sequence[Diagonalisation]) -> list[float]:
    best = min(one.energy for one in found)
    # Where the optimum is zero, what is left of it is rounding, and a ratio of roundings means nothing.
    unit = max(best, 1e-9 * found[0].total) or 1.0
    return [(one.energy - best) / unit for one in found]


def _needed(found: Sequence[Diagonalisation], starts: int) -> int:
    """Count the starts that have to be made, given the first ones; the number of ranks makes no difference."""
    for count in range(min(_ENOUGH, starts), starts):
        if len(found) < count or sum(excess <= SAME for excess in _excess(found[:count])) >= _ENOUGH:
            return count
    return starts


def _solution(matrices: Tensor, phases: Sequence[Sequence[Diagonalisation]]) -> JointSolution:
    found, *halves = phases
    n = matrices.shape[-1]
    best = min(found, key=lambda one: one.energy)
    basis = _in_order(matrices, best.Q)
    undetermined = _groups(plane_stiffness(matrices, basis) <= _UNDETERMINED * best.total)
    firm = [index for index in range(n) if not any(index in group for group in undetermined)]
    confidence = None
    if halves:
        first, second = (min(half, key=lambda one: one.energy).Q for half in halves)
        partners = [half[match_directions(basis, half)[0]] for half in (first, second)]
        confidence = tuple((partners[0] * partners[1]).sum(dim=1).abs().tolist())
    random = [2 * one.start_energy for one in found[1:] or found]
    return JointSolution(
        basis=basis,
        penalty=2 * best.energy,
        random_penalty=sum(random) / len(random),
        excess=tuple(_excess(found)),
        cosines=tuple(float(match_directions(basis, one.Q)[1][firm].min()) if firm else 1.0 for one in found),
        undetermined=undetermined,
        confidence=confidence,
        converged=all(one.converged for one in found),
        zero=best.total == 0,
    )


def _in_order(matrices: Tensor, Q: Tensor) -> Tensor:
    """Put rows in an order and with signs that do not depend on the start."""
    along = sum(((Q @ part * Q).sum(dim=2)).square().sum(dim=0) for part in matrices.split(16))
    assert isinstance(along, Tensor)
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
