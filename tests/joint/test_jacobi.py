"""Plane rotations: right, monotone, closed under what the problem is closed under."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from naive import textbook_gram_schmidt

from directions.basis import check_orthonormal, random_basis
from directions.joint import jacobi
from directions.joint.jacobi import joint_diagonalise, plane_stiffness
from directions.joint.matching import match_directions
from directions.penalties.exact import off_diagonal_sum


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def rotation(n: int, seed: int = 0) -> torch.Tensor:
    return random_basis(n, n, rng(seed), dtype=torch.float64)


def planted(n: int, count: int, noise: float = 0.0, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Matrices that one basis diagonalises, but for noise; and the basis."""
    source = rng(seed)
    Q = random_basis(n, n, source, dtype=torch.float64)
    D = torch.randn(count, n, generator=source, dtype=torch.float64)
    N = torch.randn(count, n, n, generator=source, dtype=torch.float64) * noise / math.sqrt(n)
    return Q.mT @ (D[:, :, None] * Q) + (N + N.mT) / 2, Q


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


@pytest.mark.parametrize("n", [2, 3, 5, 12, 20])
@pytest.mark.parametrize("seed", range(3))
def test_joint_diagonalise_finds_the_planted_basis(n, seed):
    """From any start, up to order and sign; 20 rows are swept in blocks."""
    matrices, Q = planted(n, 4)
    found = joint_diagonalise(matrices, rotation(n, seed + 100))
    _, cosines = match_directions(found.Q, Q)
    torch.testing.assert_close(cosines, torch.ones(n, dtype=torch.float64), rtol=0, atol=1e-12)
    assert found.converged
    assert found.energy < 1e-20
    assert check_orthonormal(found.Q, 1e-14) is None


@pytest.mark.parametrize("n", [3, 6])
@pytest.mark.parametrize("noise", [0.3, 3.0])
def test_joint_diagonalise_equals_an_independent_solver(n, noise):
    """Where no basis diagonalises everything, the best of some starts is the best of L-BFGS from as many others."""
    matrices, _ = planted(n, 6, noise)
    found = min(joint_diagonalise(matrices, rotation(n, seed), settled=0.0).energy for seed in range(4))
    other = min(by_gradients(matrices, rotation(n, seed)) for seed in range(10, 14))
    assert found == pytest.approx(other, rel=1e-9)


def test_joint_diagonalise_cannot_be_improved_by_gradients():
    """Each of its end points is a stationary one, and L-BFGS from there finds nothing lower."""
    matrices, _ = planted(5, 5, noise=3.0)
    for seed in range(3):
        found = joint_diagonalise(matrices, rotation(5, seed), settled=0.0)
        assert by_gradients(matrices, found.Q) == pytest.approx(found.energy, rel=1e-12)


def test_joint_diagonalise_reports_its_energy():
    """The number that comes with the basis is that of the basis."""
    matrices, _ = planted(5, 3, noise=1.0)
    found = joint_diagonalise(matrices)
    assert found.energy == pytest.approx(energy(matrices, found.Q), rel=1e-12)


@pytest.mark.parametrize("n", [6, 21])
def test_joint_diagonalise_never_rises(n):
    """More sweeps, less energy; the sum that the sweeps claim is what is lost."""
    matrices, _ = planted(n, 5, noise=3.0)
    start = rotation(n, 3)
    energies = [energy(matrices, start)]
    energies += [joint_diagonalise(matrices, start, max_sweeps=sweeps).energy for sweeps in range(1, 6)]
    assert all(after < before for before, after in itertools.pairwise(energies))
    assert not joint_diagonalise(matrices, start, max_sweeps=1).converged


@given(n=st.integers(2, 6), count=st.integers(1, 5), seed=st.integers(0, 10**6))
@settings(deadline=None, max_examples=20)
def test_sweep_gains_what_it_says(n, count, seed):
    """The closed form of the gain is the drop of the energy, to rounding."""
    matrices, _ = planted(n, count, noise=2.0, seed=seed)
    X, Q = matrices.permute(1, 2, 0).clone(), torch.eye(n, dtype=torch.float64)
    gain = jacobi._sweep(X, Q, flat=0.0)
    before, after = energy(matrices, torch.eye(n, dtype=torch.float64)), energy(matrices, Q)
    assert gain >= 0
    assert before - after == pytest.approx(gain, abs=1e-12 * float(matrices.square().sum()))
    torch.testing.assert_close(X.permute(2, 0, 1), Q @ matrices @ Q.mT)


def test_blocks_end_where_single_rotations_do(monkeypatch):
    """The order of the planes does not decide a problem with one optimum."""
    matrices, _ = planted(20, 8, noise=0.3)
    whole = joint_diagonalise(matrices, settled=0.0)
    monkeypatch.setattr(jacobi, "_block_rows", lambda K: 6)
    assert joint_diagonalise(matrices, settled=0.0).energy == pytest.approx(whole.energy, rel=1e-12)


@pytest.mark.parametrize("K", [0, 1, 4, 500, 10**6])
def test_two_blocks_fit_the_cache(K):
    """As many rows as fit, and never fewer than four."""
    rows = jacobi._block_rows(K)
    assert rows == 4 or 8 * K * (2 * rows) ** 2 <= jacobi._CACHE
    assert 8 * max(K, 1) * (2 * (rows + 1)) ** 2 > jacobi._CACHE


def test_joint_diagonalise_ends_where_sweeps_no_longer_count():
    """Matrices that no basis makes nearly diagonal end long before the last digit, and no worse than they say."""
    generator = torch.Generator().manual_seed(0)
    matrices = torch.randn(20, 12, 12, dtype=torch.float64, generator=generator)
    matrices = matrices + matrices.mT
    early, late = joint_diagonalise(matrices, settled=1e-5), joint_diagonalise(matrices, settled=0.0, max_sweeps=10**4)
    assert early.converged
    assert late.converged
    assert early.sweeps < late.sweeps / 2
    assert late.energy <= early.energy <= 1.01 * late.energy


@pytest.mark.parametrize("n", range(1, 9))
def test_rounds_meet_every_pair_once(n):
    """A tournament: nobody twice in a round, everybody against everybody."""
    rounds = jacobi._rounds(n)
    for p, q in rounds:
        players = [*p.tolist(), *q.tolist()]
        assert len(set(players)) == len(players)
    pairs = [pair for p, q in rounds for pair in zip(p.tolist(), q.tolist(), strict=True)]
    assert sorted(pairs) == [(a, b) for a in range(n) for b in range(a + 1, n)]


def test_joint_diagonalise_one_matrix_is_an_eigendecomposition():
    """With a single matrix the answer is known from linear algebra."""
    matrices, _ = planted(6, 1, noise=1.0)
    vectors = torch.linalg.eigh(matrices[0]).eigenvectors.mT
    _, cosines = match_directions(joint_diagonalise(matrices, rotation(6, 1)).Q, vectors)
    torch.testing.assert_close(cosines, torch.ones(6, dtype=torch.float64), rtol=0, atol=1e-12)


def test_joint_diagonalise_turns_with_its_matrices():
    """Rotating the space rotates the answer."""
    matrices, _ = planted(6, 4, noise=0.3)
    R = rotation(6, 7)
    plain = joint_diagonalise(matrices).Q
    turned = joint_diagonalise(R.mT @ matrices @ R).Q
    _, cosines = match_directions(turned, plain @ R)
    torch.testing.assert_close(cosines, torch.ones(6, dtype=torch.float64), rtol=0, atol=1e-10)


@pytest.mark.parametrize(
    "matrices",
    [
        torch.zeros(3, 4, 4),
        torch.zeros(0, 4, 4),
        torch.eye(4).expand(3, 4, 4),
        torch.diag(torch.tensor([1.0, 1.0, 1.0, 2.0])).expand(2, 4, 4),
        torch.full((2, 4, 4), 1e-200, dtype=torch.float64),
    ],
    ids=["zero", "none", "identity", "repeated", "tiny"],
)
def test_joint_diagonalise_degenerate_gives_a_basis(matrices):
    """Whatever comes in, orthonormal rows come out, with no energy left where none need be."""
    found = joint_diagonalise(matrices, rotation(4, 1))
    assert check_orthonormal(found.Q, 1e-14) is None
    assert found.converged
    assert found.energy <= 1e-28


def test_joint_diagonalise_leaves_its_input_alone():
    """Neither the matrices nor the start are changed."""
    matrices, _ = planted(5, 3, noise=1.0)
    start = rotation(5, 1)
    kept = matrices.clone(), start.clone()
    joint_diagonalise(matrices, start)
    assert torch.equal(matrices, kept[0])
    assert torch.equal(start, kept[1])


def test_plane_stiffness_equals_a_scan_of_angles():
    """Energy at the worst angle less that at the best, in every plane."""
    matrices, _ = planted(4, 3, noise=1.0)
    Q = rotation(4, 2)
    stiffness = plane_stiffness(matrices, Q)
    angles = torch.linspace(0, math.pi / 2, 401, dtype=torch.float64)
    for a, b in ((0, 1), (1, 3)):
        energies = []
        for angle in angles:
            turned = Q.clone()
            turned[a], turned[b] = (
                Q[a] * angle.cos() + Q[b] * angle.sin(),
                Q[b] * angle.cos() - Q[a] * angle.sin(),
            )
            energies.append(energy(matrices, turned))
        assert float(stiffness[a, b]) == pytest.approx(max(energies) - min(energies), rel=1e-4)
    assert not stiffness.diagonal().any()
