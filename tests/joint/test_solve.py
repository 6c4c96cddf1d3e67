"""Joint diagonalisation, from one start and the whole way: known directions are found, what is not known is said."""

from __future__ import annotations

import dataclasses
import itertools
import re

import pytest
import torch
from closed import DoubleGenerator
from joint_cases import MEASUREMENT, last, moments_of, planted, rotation
from naive import normal, textbook_gram_schmidt

from directions.basis import SearchSpace, check_orthonormal
from directions.joint.diagonalise import joint_diagonalise
from directions.joint.measure import measure
from directions.joint.notes import joint_notes, verdict
from directions.joint.solve import JointSolution, match_directions, solve
from directions.penalty import off_diagonal_sum
from directions.search import Search

FIVE = dataclasses.replace(MEASUREMENT, search=Search(SearchSpace(0, 5, 5), 5, (0, 1, 2)))
H8 = normal(3, 8, 8, seed=2)
STRUCTURELESS = moments_of(H8 + H8.mT)
"""Has several optima."""


def notes(solution: JointSolution) -> list[str]:
    columns = solution.columns() | {"name": [str(index) for index in range(len(solution.basis))]}
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    return joint_notes(solution.report(), rows)


def along(Q: torch.Tensor, *values: float) -> torch.Tensor:
    """The matrix with these eigenvalues along the rows of Q."""
    return Q.mT @ torch.diag(torch.tensor(values, dtype=torch.float64)) @ Q


@pytest.mark.parametrize("kind", ["differences", "gradients"])
@pytest.mark.parametrize("seed", range(2))
def test_solve_finds_the_true_directions_of_a_generator(kind, seed):
    """Up to order and sign, to 1e-6, from any start: each start by itself is as good."""
    generator = DoubleGenerator(dim_z=5, resolution=5, seed=seed)
    measurement = dataclasses.replace(FIVE, kind=kind, seed=seed)
    solution = solve(last(measure(generator, measurement)), starts=5, seed=seed)
    partners, _ = match_directions(solution.basis, generator.directions)
    true = torch.nn.functional.normalize(generator.directions[partners])  # they are float32 numbers
    aligned = solution.basis * (solution.basis * true).sum(dim=1, keepdim=True).sign()
    torch.testing.assert_close(aligned, true, rtol=0, atol=1e-6)
    assert (len(solution.excess), solution.agreeing_starts) == (3, 3)
    assert min(solution.cosines) > 1 - 1e-12
    assert solution.penalty < 1e-9 * solution.random_penalty
    assert min(solution.confidence) > 1 - 1e-10
    assert notes(solution) == []


def test_solve_is_reproducible_and_canonical():
    """The same moments, the same answer; rows in the order of curvature, with the largest entry positive."""
    H = torch.stack([along(rotation(4, 1), 1.0, -8.0, 3.0, 0.5), along(rotation(4, 1), 1.0, 1.0, 2.0, 0.5)])
    one, other = (solve(moments_of(H), seed=seed) for seed in (0, 1))
    torch.testing.assert_close(one.basis, other.basis, rtol=0, atol=1e-10)
    curvature = torch.einsum("kij,ai,aj->ka", H, one.basis, one.basis).square().sum(dim=0)
    assert curvature.tolist() == sorted(curvature.tolist(), reverse=True)
    assert all(row[row.abs().argmax()] > 0 for row in one.basis)


def test_solve_zero_hessians():
    """Nothing to go by: some basis, and the note says so."""
    solution = solve(moments_of(torch.zeros(3, 4, 4)))
    assert check_orthonormal(solution.basis) is None
    assert (solution.penalty, solution.zero) == (0.0, True)
    assert solution.undetermined == ((0, 1, 2, 3),)
    (note,) = notes(solution)
    assert note.startswith("All measured Hessians are zero: the penalty is the same for every basis")


def test_solve_repeated_eigenvalues():
    """Two directions that no Hessian tells apart are named, the others are found and not doubted."""
    Q = rotation(4, 2)
    solution = solve(moments_of(torch.stack([along(Q, 3.0, 3.0, 1.0, 0.0), along(Q, 2.0, 2.0, -5.0, 0.0)] * 2)))
    (pair,) = solution.undetermined
    plane = solution.basis[list(pair)]
    torch.testing.assert_close(plane.mT @ plane, Q[:2].mT @ Q[:2], rtol=0, atol=1e-10)
    rest = [index for index in range(4) if index not in pair]
    torch.testing.assert_close(match_directions(solution.basis[rest], Q[2:])[1], torch.ones(2, dtype=torch.float64))
    assert min(solution.cosines) > 1 - 1e-10
    (note,) = notes(solution)
    assert note.startswith(f"Directions {pair[0]} and {pair[1]} are not determined: within the space that they span,")


def test_solve_halves_that_differ_lower_the_confidence():
    """Even base points prefer one basis, odd ones another: what they share is sure, the rest is doubted."""
    Q = rotation(4, 3)
    turned = Q.clone()
    turned[0], turned[1] = (Q[0] + Q[1]) / 2**0.5, (Q[0] - Q[1]) / 2**0.5
    stack = [along(basis, top, -top, 2.0, 0.3 * n) for n, (basis, top) in enumerate([(Q, 3.0), (turned, 1.0)] * 3)]
    solution = solve(moments_of(torch.stack(stack)))
    shared = (solution.basis @ Q[2:].mT).abs().amax(dim=1) > 0.99
    assert shared.sum() == 2
    for index in range(4):
        assert (solution.confidence[index] > 0.99) == bool(shared[index])
        assert shared[index] or solution.confidence[index] == pytest.approx(2**-0.5, abs=0.05)
    assert "differ between the two halves" in notes(solution)[0]


def test_solve_goes_on_until_three_starts_agree_and_says_when_none_do():
    """Structureless matrices have several optima: no more starts than it takes, or all and the gap between them."""
    few, many = solve(STRUCTURELESS, starts=5), solve(STRUCTURELESS, starts=60)
    assert len(few.excess) == 5
    assert few.agreeing_starts < 3
    assert max(few.excess) > 1e-3
    assert any("starts reached the best penalty" in note for note in notes(few))
    for excess, cosine in zip(few.excess, few.cosines, strict=True):
        assert (excess < 1e-6) == (cosine > 0.999)
    assert 3 < len(many.excess) < 60
    assert many.agreeing_starts == 3
    assert many.excess[-1] <= 1e-3
    assert not any("starts reached" in note for note in notes(many))


def entry(name, confidence, activeness):
    return {"name": name, "confidence": confidence, "activeness": activeness, "undetermined": None}


REPORT = {
    "penalty": 1.0, "random_penalty": 2.0, "starts": 8, "agreeing_starts": 6, "largest_excess": 1e-4, "converged": True,
    "zero": False,
}  # fmt: skip
SURE, DOUBTFUL, IDLE = entry("sure", 0.99, 1.0), entry("doubtful", 0.5, 1.0), entry("idle", 0.1, 1e-3)


@pytest.mark.parametrize(
    ("report", "directions", "expected"),
    [
        ({}, [SURE, IDLE], []),
        ({}, [SURE, DOUBTFUL, IDLE], ["Direction doubtful differs .*the mean is 0.74, weighted by activeness"]),
        ({}, [{**DOUBTFUL, "activeness": None}] * 9, ["doubtful, doubtful and 4 others differ .*the mean is 0.50\\)"]),
        ({"starts": 2, "agreeing_starts": 2}, [SURE], []),
        ({"penalty": 1.95}, [SURE], [r"hardly below that of random directions \(2\)"]),
        ({"converged": False}, [SURE], ["given up before it had converged"]),
        ({}, [entry("a", None, None)], ["no halves to compare"]),
    ],
)
def test_joint_notes_say_what_to_act_on(report, directions, expected):
    """And nothing on a run without a flaw."""
    said = joint_notes(REPORT | report, directions)
    assert len(said) == len(expected)
    for note, pattern in zip(said, expected, strict=True):
        assert re.search(pattern, note)


# One start

EXACT = 1e-10


def energy(matrices: torch.Tensor, Q: torch.Tensor) -> float:
    """Written from the definition."""
    return float(sum(((Q @ M @ Q.T) ** 2).sum() - ((Q @ M @ Q.T).diagonal() ** 2).sum() for M in matrices))


def by_gradients(matrices: torch.Tensor, start: torch.Tensor) -> float:
    """An independent solver: L-BFGS over a free matrix that textbook Gram–Schmidt makes orthonormal."""
    A = start.clone().requires_grad_()
    optimizer = torch.optim.LBFGS(
        [A], max_iter=500, history_size=50, tolerance_grad=1e-11, tolerance_change=1e-15, line_search_fn="strong_wolfe"
    )

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        Q = textbook_gram_schmidt(A)
        value = off_diagonal_sum(Q @ matrices @ Q.mT).sum()
        value.backward()
        return value

    optimizer.step(loss)
    return float(loss().detach())


@pytest.mark.parametrize(
    ("n", "tolerance", "error"),
    [(2, 1e-5, 1e-12), (5, 1e-5, 1e-12), (20, 1e-5, 1e-12), (40, 1e-5, 1e-6), (40, EXACT, 1e-12)],
)
def test_joint_diagonalise_finds_the_planted_basis(n, tolerance, error):
    """Up to order and sign, to the last digits; 40 rows in float32, unless more is asked for, but orthonormal."""
    matrices, Q = planted(n, 10)
    found = joint_diagonalise(matrices, rotation(n, 100), tolerance=tolerance)
    assert found.converged
    assert float((1 - match_directions(found.Q, Q)[1]).max()) < error
    assert found.energy == pytest.approx(energy(matrices, found.Q), rel=1e-9, abs=1e-11)
    assert found.total == pytest.approx(float(matrices.square().sum()))
    assert check_orthonormal(found.Q, 1e-13) is None


@pytest.mark.parametrize("n", [3, 6])
@pytest.mark.parametrize("noise", [0.3, 3.0])
def test_joint_diagonalise_equals_an_independent_solver(n, noise):
    """Where no basis diagonalises everything, the best of some starts is the best of L-BFGS from as many others."""
    matrices, _ = planted(n, 6, noise)
    found = min(joint_diagonalise(matrices, rotation(n, seed), tolerance=EXACT).energy for seed in range(4))
    other = min(by_gradients(matrices, rotation(n, seed)) for seed in range(10, 14))
    assert found == pytest.approx(other, rel=1e-9)


@pytest.mark.parametrize("n", [6, 30])
def test_joint_diagonalise_never_rises(n):
    """More iterations, less energy; and what is given up before its end says so."""
    matrices, _ = planted(n, 5, noise=3.0)
    start = rotation(n, 3)
    found = [joint_diagonalise(matrices, start, max_iterations=count) for count in range(6)]
    assert found[0].energy == pytest.approx(energy(matrices, start))
    assert all(after.energy < before.energy for before, after in itertools.pairwise(found))
    assert [(one.iterations, one.converged) for one in found] == [(count, False) for count in range(6)]


def test_joint_diagonalise_leaves_saddle_points():
    """From axes along which the gradient is zero, in one plane or in several at once."""
    M = torch.tensor([[2.0, 1.0], [1.0, 2.0]])
    assert joint_diagonalise(M[None]).energy < 1e-28
    both = torch.block_diag(M, 3 * M, torch.eye(1))
    assert joint_diagonalise(torch.stack((both, both @ both))).energy < 1e-26


REPEATED = torch.diag(torch.tensor([1.0, 1.0, 1.0, 2.0])).expand(2, 4, 4)
TINY = torch.full((2, 4, 4), 1e-200, dtype=torch.float64)


@pytest.mark.parametrize("matrices", [torch.zeros(3, 4, 4), torch.zeros(0, 4, 4), REPEATED, TINY, torch.ones(1, 1, 1)])
def test_joint_diagonalise_degenerate_gives_a_basis(matrices):
    """Whatever comes in, orthonormal rows come out, with no energy left where none need be; nothing is changed."""
    start = rotation(matrices.shape[-1], 1)
    kept = matrices.clone()
    found = joint_diagonalise(matrices, start)
    assert check_orthonormal(found.Q, 1e-14) is None
    assert found.converged
    assert found.energy <= 1e-25
    assert torch.equal(matrices, kept)


@pytest.mark.parametrize(
    ("method", "kept", "told"), [("joint", 3, " of the 12 that were found"), ("adam", 5, ""), ("joint", 12, "")]
)
def test_verdict_says_of_how_many_it_speaks(method, kept, told):
    """The numbers are of all that a run has found; a file may have some of them."""
    scores = {"share_on_diagonal": 0.5, "share_error": None}
    header = {
        "first": {"count": 3, "found": 0.6, "random": 0.4},
        "penalty": {"hessians": {"found": scores, "random": scores}},
        "space": [0, 12], "method": method, "config": {"ndirs": 5}, "directions": [{}] * kept,
    }  # fmt: skip
    assert verdict(header)[0] == f"The first 3 directions{told} carry 60% of the activeness, of random directions 40%."
