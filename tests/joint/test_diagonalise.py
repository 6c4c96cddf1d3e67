"""Joint diagonalisation from one start: right, monotone, closed under what the problem is closed under."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from joint_cases import planted, rotation
from naive import textbook_gram_schmidt

from directions.basis import check_orthonormal
from directions.joint.diagonalise import joint_diagonalise, plane_stiffness
from directions.joint.solve import match_directions
from directions.penalty import off_diagonal_sum

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


@pytest.mark.parametrize("n", [2, 5, 20])
@pytest.mark.parametrize("seed", range(2))
def test_joint_diagonalise_finds_the_planted_basis(n, seed):
    """From any start, up to order and sign, to the last digits at the default tolerance."""
    matrices, Q = planted(n, 4)
    found = joint_diagonalise(matrices, rotation(n, seed + 100))
    _, cosines = match_directions(found.Q, Q)
    torch.testing.assert_close(cosines, torch.ones(n, dtype=torch.float64), rtol=0, atol=1e-12)
    assert found.converged
    assert found.energy < 1e-20
    assert found.total == pytest.approx(float(matrices.square().sum()))
    assert check_orthonormal(found.Q, 1e-14) is None


@pytest.mark.parametrize(("tolerance", "error"), [(1e-5, 1e-6), (EXACT, 1e-12)])
def test_joint_diagonalise_of_large_matrices_is_as_exact_as_asked(tolerance, error):
    """40 rows are in float32 by default, and the last digits can be had; rows are orthonormal in any case."""
    matrices, Q = planted(40, 10)
    found = joint_diagonalise(matrices, rotation(40, 1), tolerance=tolerance)
    assert float((1 - match_directions(found.Q, Q)[1]).max()) < error
    assert found.energy == pytest.approx(energy(matrices, found.Q), rel=1e-9, abs=1e-11)
    assert check_orthonormal(found.Q, 1e-13) is None


@pytest.mark.parametrize("n", [3, 6])
@pytest.mark.parametrize("noise", [0.3, 3.0])
def test_joint_diagonalise_equals_an_independent_solver(n, noise):
    """Where no basis diagonalises everything, the best of some starts is the best of L-BFGS from as many others."""
    matrices, _ = planted(n, 6, noise)
    found = min(joint_diagonalise(matrices, rotation(n, seed), tolerance=EXACT).energy for seed in range(4))
    other = min(by_gradients(matrices, rotation(n, seed)) for seed in range(10, 14))
    assert found == pytest.approx(other, rel=1e-9)


@pytest.mark.parametrize("noise", [0.0, 0.5, 3.0])
def test_joint_diagonalise_ends_at_one_optimum_from_all_starts(noise):
    """Twelve components, as the built-in generator has: one optimum, to ten digits."""
    matrices, _ = planted(12, 78, noise)
    energies = [joint_diagonalise(matrices, rotation(12, seed), tolerance=EXACT).energy for seed in range(5)]
    assert energies == pytest.approx([min(energies)] * 5, rel=1e-9, abs=1e-20)


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


def test_joint_diagonalise_reports_and_stops_when_told():
    """Every iteration is reported with the energy before it; what the callback raises ends the work at once."""
    matrices, _ = planted(6, 5, noise=1.0)
    start, seen = rotation(6, 1), []
    found = joint_diagonalise(matrices, start, on_iteration=lambda *at: seen.append(at))
    assert [at for at, _ in seen if at > 0] == list(range(1, found.iterations + 1))
    assert [value for at, value in seen if at == 1] == pytest.approx([energy(matrices, start)])

    def stop(iteration, energy):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        joint_diagonalise(matrices, start, on_iteration=stop)


def test_joint_diagonalise_turns_with_its_matrices():
    """Rotating the space rotates the answer."""
    matrices, _ = planted(6, 4, noise=0.3)
    R = rotation(6, 7)
    plain = joint_diagonalise(matrices, tolerance=1e-14).Q
    turned = joint_diagonalise(R.mT @ matrices @ R, tolerance=1e-14).Q
    _, cosines = match_directions(turned, plain @ R)
    torch.testing.assert_close(cosines, torch.ones(6, dtype=torch.float64), rtol=0, atol=1e-10)


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


def test_plane_stiffness_equals_a_scan_of_angles():
    """Energy at the worst angle less that at the best, in every plane."""
    matrices, _ = planted(4, 3, noise=1.0)
    Q = rotation(4, 2)
    stiffness = plane_stiffness(matrices, Q)
    angles = torch.linspace(0, math.pi / 2, 401, dtype=torch.float64)
    for a, b in ((0, 1), (1, 3)):
        energies = []
        for cos, sin in zip(angles.cos(), angles.sin(), strict=True):
            turned = Q.clone()
            turned[a], turned[b] = Q[a] * cos + Q[b] * sin, Q[b] * cos - Q[a] * sin
            energies.append(energy(matrices, turned))
        assert float(stiffness[a, b]) == pytest.approx(max(energies) - min(energies), rel=1e-4)
    assert not stiffness.diagonal().any()
