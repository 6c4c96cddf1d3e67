"""The tests' own maps and generator have the Hessians that they say, and the penalty finds their directions."""

from __future__ import annotations

import pytest
import torch
from closed import ClosedFormGenerator, Quadratic, RotatedSeparable
from naive import difference_hessian, textbook_gram_schmidt

from directions.basis import gram_schmidt, initial_matrix
from directions.penalty import exact_hessian, hessian_penalty
from directions.sampling import draw_steps, move, one_hot_steps


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_quadratic_equals_the_formula():
    """Half of zᵀHz, one output for each matrix; a matrix counts by its symmetric part."""
    H, z = normal(3, 4, 4), normal(5, 4, seed=1)
    f = Quadratic(H)
    expected = torch.stack([torch.stack([row @ matrix @ row / 2 for matrix in H]) for row in z])
    torch.testing.assert_close(f(z), expected)
    torch.testing.assert_close(f.hessian(z), ((H + H.mT) / 2).expand(5, 3, 4, 4))


@pytest.mark.parametrize(("curve", "g"), [("cos", torch.cos), ("exp", torch.exp)])
def test_rotated_separable_equals_the_formula(curve, g):
    """Σ_i c_pi g(q_i·z), and its Hessian by differences."""
    Q, weights, z = textbook_gram_schmidt(normal(3, 3)), normal(2, 3, seed=1), normal(4, 3, seed=2)
    f = RotatedSeparable(Q, weights, curve=curve)
    expected = torch.stack([torch.stack([sum(c[i] * g(Q[i] @ row) for i in range(3)) for c in weights]) for row in z])
    torch.testing.assert_close(f(z), expected)
    torch.testing.assert_close(f.hessian(z), difference_hessian(f, z), rtol=1e-5, atol=1e-6)


def test_generator_hessian_is_that_of_its_pixels_and_has_no_penalty_along_its_directions():
    """The closed form equals automatic differentiation, class by class; z axes have a penalty."""
    generator = ClosedFormGenerator(6, 4).double()
    z, w = generator.sample_z(2, seed=0).double(), torch.zeros(2, 6, dtype=torch.float64)

    def penalty(Q, y):
        rng = torch.Generator().manual_seed(0)
        return hessian_penalty(lambda w: generator(z.repeat(len(w) // 2, 1) + w @ Q, y), w, num_probes=4, rng=rng)

    for y in range(3):
        torch.testing.assert_close(exact_hessian(lambda z, y=y: generator(z, y), z), generator.hessian(z, y))
        assert penalty(generator.directions, y) < 1e-8 * penalty(torch.eye(6, dtype=torch.float64), y)


def test_minimising_the_penalty_finds_the_directions():
    """Gram–Schmidt, steps and penalty together, a few hundred steps of Adam on A: the rows of Q are the known ones."""
    generator, rng = ClosedFormGenerator(6, 8), torch.Generator().manual_seed(0)
    A = initial_matrix(6, 6, "random", rng).requires_grad_()
    optimiser = torch.optim.Adam([A], lr=0.03)
    for _ in range(300):
        z = generator.sample_z_from(16, rng)
        w = one_hot_steps(*draw_steps(16, 6, 5.0, rng), 6)
        Q = gram_schmidt(A)
        penalty = hessian_penalty(lambda w, z=z, Q=Q: generator(move(z.repeat(len(w) // 16, 1), Q, w)), w, rng=rng)
        optimiser.zero_grad()
        penalty.backward()
        optimiser.step()
    overlap = (gram_schmidt(A) @ generator.directions.T).abs()
    assert overlap.amax(dim=0).min() > 0.999
    assert overlap.amax(dim=1).min() > 0.999
