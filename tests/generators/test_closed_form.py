"""Maps and a generator with known Hessians."""

from __future__ import annotations

import pytest
import torch
from naive import difference_hessian, textbook_gram_schmidt

from directions.basis import gram_schmidt, initial_matrix
from directions.errors import UserError
from directions.generators.base import Generator
from directions.generators.closed_form import ClosedFormGenerator, Quadratic, RotatedSeparable
from directions.penalty import exact_hessian, hessian_penalty, off_diagonal_sum
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
    assert off_diagonal_sum(Q @ f.hessian(z) @ Q.T).max() < 1e-25


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Quadratic(torch.eye(3)), r"H must be \(outputs, n, n\), got shape \(3, 3\)"),
        (lambda: RotatedSeparable(torch.eye(3), torch.ones(2, 4)), r"weights \(outputs, n\), got shapes \(3, 3\) and"),
        (lambda: RotatedSeparable(torch.eye(2, 3), torch.ones(2, 3)), r"Q must be \(n, n\)"),
        (lambda: RotatedSeparable(2 * torch.eye(3), torch.ones(2, 3)), "must be orthonormal, .* by 3"),
        (lambda: RotatedSeparable(torch.full((3, 3), torch.nan), torch.ones(2, 3)), "must be orthonormal"),
        (lambda: RotatedSeparable(torch.eye(3), torch.ones(2, 3), curve="expo"), "Did you mean 'exp'"),
        (lambda: ClosedFormGenerator(0, 8), "dim_z must be at least 1, got 0"),
        (lambda: ClosedFormGenerator(4, 0), "resolution must be at least 1, got 0"),
        (lambda: ClosedFormGenerator(4, 8, num_classes=-1), "num_classes must be at least 0, got -1"),
    ],
)
def test_closed_forms_refuse_what_has_no_meaning(make, message):
    """What is wrong, what was given, what is allowed."""
    with pytest.raises(UserError, match=message):
        make()


def test_generator_makes_images_in_range():
    """Images are (batch, 3, height, width), within [−1, 1], and use a good part of it."""
    generator = ClosedFormGenerator(5, 16)
    images = generator(generator.sample_z(200, seed=0), 1)
    assert images.shape == (200, 3, 16, 16)
    assert images.abs().max() <= 1
    assert images.max() - images.min() > 0.8


def test_generator_has_the_attributes_of_one():
    """What other code asks a generator for."""
    generator = ClosedFormGenerator(5, 16)
    assert isinstance(generator, Generator)
    assert (generator.name, generator.dim_z, generator.num_classes, generator.resolution) == ("closed-form", 5, 3, 16)
    assert generator.num_layers == 1
    assert generator.class_names == ("class 0", "class 1", "class 2")
    assert generator.device == torch.device("cpu")
    assert not list(generator.parameters())


def test_generator_follows_from_its_arguments():
    """Equal arguments give equal images and digests; others do not."""
    first, again, other = ClosedFormGenerator(4, 8), ClosedFormGenerator(4, 8), ClosedFormGenerator(4, 8, seed=1)
    z = first.sample_z(3, seed=0)
    assert torch.equal(first(z), again(z))
    assert first.digest == again.digest != other.digest
    assert not torch.equal(first(z), other(z))


def test_generator_hessian_is_that_of_its_pixels():
    """The closed form equals automatic differentiation, class by class."""
    generator = ClosedFormGenerator(3, 4).double()
    z = generator.sample_z(2, seed=0).double()
    for y in range(3):
        torch.testing.assert_close(exact_hessian(lambda z, y=y: generator(z, y), z), generator.hessian(z, y))


@pytest.mark.parametrize("y", [0, 2])
def test_generator_penalty_vanishes_along_its_directions_only(y):
    """What discovery should find: its own directions have no penalty, z axes have."""
    generator = ClosedFormGenerator(6, 8).double()
    z, w = generator.sample_z(4, seed=0).double(), torch.zeros(4, 6, dtype=torch.float64)

    def penalty(Q):
        rng = torch.Generator().manual_seed(0)
        return hessian_penalty(lambda w: generator(z.repeat(len(w) // 4, 1) + w @ Q, y), w, num_probes=4, rng=rng)

    assert penalty(generator.directions) < 1e-8 * penalty(torch.eye(6, dtype=torch.float64))


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


def test_truncation_reaches_the_latents():
    """Half the truncation, half as far from zero; the images take no notice otherwise."""
    generator = ClosedFormGenerator(4, 8)
    z = generator.sample_z(9, seed=1)
    torch.testing.assert_close(generator.sample_z(9, seed=1, truncation=0.5), z / 2)
    assert torch.equal(generator(z, truncation=0.5), generator(z))


@pytest.mark.parametrize(
    ("y", "expected"),
    [
        (2, [2, 2, 2]),
        ("class 1", [1, 1, 1]),
        ([0, "class 2", 1], [0, 2, 1]),
        ((2, 1, 0), [2, 1, 0]),
        (torch.tensor([1, 1, 0]), [1, 1, 0]),
        (torch.tensor(1), [1, 1, 1]),
    ],
)
def test_classes_come_in_every_form(y, expected):
    """Index, name, list of both, tensor; each image is that of its class."""
    generator = ClosedFormGenerator(4, 8)
    indices = generator.class_indices(y, 3)
    assert indices.dtype == torch.int64
    assert indices.tolist() == expected
    z = generator.sample_z(3, seed=0)
    one_by_one = torch.cat([generator(z[i : i + 1], k) for i, k in enumerate(expected)])
    torch.testing.assert_close(generator(z, y), one_by_one)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda g: g(torch.zeros(2, 5)), r"z must be \(batch, 4\) .*got torch.float32 of shape \(2, 5\)"),
        (lambda g: g(torch.zeros(2, 4), 3), "A class must be from 0 to 2 .*, got 3"),
        (lambda g: g(torch.zeros(2, 4), "clas 1"), "no class 'clas 1'. Did you mean 'class 1'"),
        (lambda g: g(torch.zeros(2, 4), truncation=0.0), r"truncation must be above 0 and at most 1, got 0\.0"),
    ],
)
def test_generator_refuses_bad_input(call, message):
    """What is wrong, what was given, what is allowed."""
    with pytest.raises(UserError, match=message):
        call(ClosedFormGenerator(4, 8))
