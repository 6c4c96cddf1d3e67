"""Hessians are measured right, in either way, in a stream that can be taken up again."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from closed import DoubleGenerator, RotatedSeparable
from joint_cases import MEASUREMENT as SIX_POINTS
from joint_cases import last
from naive import difference_hessian, normal, small_network, textbook_gram_schmidt

from directions.basis import SearchSpace, random_basis
from directions.joint.measure import difference_hessians, draw_base_point, gradient_hessians, jacobian_matrix, measure
from directions.joint.moments import Moments, half_vectors, quadratic_penalty, symmetric_matrices
from directions.penalty import hessian_penalty_exact, jacobian_penalty_exact, off_diagonal_sum
from directions.sampling import image_map
from directions.search import Search

MEASUREMENT = dataclasses.replace(SIX_POINTS, base_points=5, output_probes=2)
JACOBIAN = dataclasses.replace(MEASUREMENT, kind="jacobian")


@pytest.mark.parametrize("rows", [1, 5, 1000])
def test_difference_hessians_equal_the_naive_ones(rows):
    """Each entry by its own evaluations, however they are batched."""
    w = normal(1, 4, seed=3)
    H = symmetric_matrices(difference_hessians(small_network, w, step=1e-4, rows=rows))
    torch.testing.assert_close(H, difference_hessian(small_network, w)[0], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("rows", [1, 3, 100])
def test_gradient_hessians_are_those_of_the_combinations(rows):
    """Of ⟨r, f⟩ with r from the source over the square root of the number of outputs, however they are batched."""
    w = normal(1, 4, seed=3)
    rng = torch.Generator().manual_seed(5)
    H = gradient_hessians(small_network, w, num_probes=3, step=1e-4, rng=rng, rows=rows)
    probes = torch.randn(3, 6, generator=torch.Generator().manual_seed(5), dtype=torch.float64) / math.sqrt(6)
    expected = torch.einsum("kp,pij->kij", probes, difference_hessian(small_network, w)[0])
    torch.testing.assert_close(symmetric_matrices(H), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("rows", [1, 3, 1000])
def test_jacobian_matrix_is_that_of_the_derivatives(rows):
    """JᵀJ over the number of outputs, however the images are batched: 2n of them."""
    w, made = normal(1, 4, seed=3), []
    J = torch.func.jacrev(lambda w: small_network(w[None]).flatten())(w[0])
    got = jacobian_matrix(lambda w: made.append(len(w)) or small_network(w), w, step=1e-4, rows=rows)
    torch.testing.assert_close(got, J.mT @ J / 6, rtol=1e-6, atol=1e-9)
    assert (sum(made), max(made)) == (8, min(8, max(2, rows // 2 * 2)))
    linear = normal(4, 3)
    torch.testing.assert_close(jacobian_matrix(lambda w: w @ linear, w, step=0.7), linear @ linear.mT / 3)


def test_quadratic_form_of_jacobians_is_the_jacobian_penalty():
    """Along any basis, each place's divided by the square of its trace; places weigh alike."""
    generator = DoubleGenerator()
    moments = last(measure(generator, JACOBIAN))
    Q = random_basis(4, 4, torch.Generator().manual_seed(1), dtype=torch.float64)
    expected = []
    for number in range(5):
        points, w = draw_base_point(generator, JACOBIAN, number)
        f = image_map(generator, points, Q, 1.0)
        trace = jacobian_matrix(f, w @ Q.mT, step=1e-3).trace()
        expected.append(float(jacobian_penalty_exact(f, w @ Q.mT) / trace**2))
    assert quadratic_penalty(moments.matrices(), Q) == pytest.approx(sum(expected) / 5, rel=1e-5)
    assert JACOBIAN.evaluations == 5 * 8


@pytest.mark.parametrize("vectors", [None, 6, 1000])
@pytest.mark.parametrize("ndirs", [2, 4])
def test_quadratic_form_equals_the_exact_penalty(vectors, ndirs):
    """From the moments, the penalty of any basis is what automatic differentiation computes directly, in float64."""
    Q = random_basis(ndirs, 4, torch.Generator().manual_seed(1), dtype=torch.float64)
    maps = [RotatedSeparable(textbook_gram_schmidt(normal(4, 4)), normal(3, 4, seed=s), curve="exp") for s in (1, 2)]
    w = normal(2, 4, seed=4)
    moments = Moments(4, vectors)
    assert moments.stacked == (vectors == 6)
    for f, point in zip(maps, w, strict=True):
        moments.add(half_vectors(f.hessian(point[None])[0]))
    expected = [
        hessian_penalty_exact(lambda v, f=f, point=point: f(point + v @ Q), torch.zeros(1, ndirs, dtype=torch.float64))
        for f, point in zip(maps, w, strict=True)
    ]
    mean = float(sum(expected)) / 2
    assert quadratic_penalty(moments.matrices(), Q) == pytest.approx(mean, rel=1e-12)


@pytest.mark.parametrize("vectors", [None, 6])
def test_halves_of_the_moments_make_the_whole(vectors):
    """Even and odd base points, weighted by their number, are all of them."""
    moments = Moments(4, vectors)
    for part in normal(6, 10).split(2):
        moments.add(part)
    even, odd, whole = (quadratic_penalty(moments.matrices(half), torch.eye(4).double()) for half in (0, 1, None))
    assert (2 * even + odd) / 3 == pytest.approx(whole, rel=1e-12)


@pytest.mark.parametrize("space", [SearchSpace(2, 4, 4), SearchSpace(0, 4, 4)], ids=str)
def test_measure_takes_the_whole_hessians_of_its_space(space):
    """At the places that are drawn; only the searched components are moved."""
    generator = DoubleGenerator()
    part = dataclasses.replace(MEASUREMENT, search=Search(space, space.size, (0, 1, 2)))
    moments = last(measure(generator, part))
    assert moments.size == space.size
    whole = 0.0
    for number in range(part.base_points):
        points, w = draw_base_point(generator, part, number)
        H = generator.hessian(points.z + space.embed(w), points.y)[
            0, :, space.start : space.stop, space.start : space.stop
        ]
        whole += float(2 * off_diagonal_sum(H).mean()) / part.base_points
    assert quadratic_penalty(moments.matrices(), torch.eye(space.size).double()) == pytest.approx(whole, rel=1e-5)


def test_draw_base_point_is_spread_as_the_steps_are():
    """Within the path size, to both sides, equally in every direction, over all classes."""
    generator = DoubleGenerator()
    drawn = [draw_base_point(generator, MEASUREMENT, number) for number in range(300)]
    w = torch.cat([step for _, step in drawn])
    lengths = w.norm(dim=1)
    assert float(lengths.max()) <= 3.0
    assert float(lengths.mean()) == pytest.approx(1.5, abs=0.15)
    spread = w.T @ w / len(w)  # η² / n on the diagonal, 3²/3/4
    torch.testing.assert_close(spread, 0.75 * torch.eye(4, dtype=torch.float64), rtol=0, atol=0.2)
    assert {int(points.y) for points, _ in drawn} == {0, 1, 2}
