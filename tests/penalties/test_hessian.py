"""The Hessian Penalty: closed form, naive reference, laws, conventions, errors."""

from __future__ import annotations

import pytest
import torch
from closed import Quadratic, RotatedSeparable
from hypothesis import given, settings
from hypothesis import strategies as st
from naive import all_signs, normal, small_network, textbook_gram_schmidt, textbook_variances

from directions.errors import UserError
from directions.penalty import hessian_penalty, hessian_penalty_exact, off_diagonal_sum, penalty_per_sample, rademacher


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def signs(k: int, batch: int, n: int, seed: int = 0) -> torch.Tensor:
    return rademacher((k, batch, n), rng(seed), dtype=torch.float64)


# Closed form: the theorem


@pytest.mark.parametrize("n", [1, 2, 6])
def test_variance_over_all_signs_is_twice_the_off_diagonal_sum(n):
    """Var_v(vᵀHv) = 2·Σ_{i≠j} H_ij², exactly, when the probes are the whole population of sign vectors."""
    f = Quadratic(normal(3, n, n))
    population = all_signs(n)
    w = normal(1, n, seed=1)
    sample_variance = hessian_penalty(f, w, probes=population.unsqueeze(1))
    population_variance = sample_variance * (len(population) - 1) / len(population)
    expected = 2 * off_diagonal_sum(f.hessian(w)).mean()
    torch.testing.assert_close(population_variance, expected, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(hessian_penalty_exact(f, w), expected)


@pytest.mark.parametrize("num_probes", [2, 8])
def test_hessian_penalty_converges_to_the_theorem(num_probes):
    """With any number of probes the mean over 2¹⁶ draws comes to within 2% of 2·Σ H_ij²."""
    f, w = Quadratic(normal(2, 5, 5, seed=5)), torch.zeros(2**16, 5, dtype=torch.float64)
    estimate = hessian_penalty(f, w, num_probes=num_probes, rng=rng(0))
    torch.testing.assert_close(estimate, hessian_penalty_exact(f, w[:1]), rtol=0.02, atol=0)


def test_estimate_of_a_smooth_map_is_second_order_in_epsilon():
    """Halving ε quarters the distance to the exact penalty."""
    n = 4
    f, w, population = small_network, normal(1, n, seed=5) / 2, all_signs(n).unsqueeze(1)
    exact = hessian_penalty_exact(f, w)
    errors = [
        float(hessian_penalty(f, w, probes=population, epsilon=e) * (2**n - 1) / 2**n - exact)
        for e in (0.04, 0.02, 0.01)
    ]
    assert errors[0] / errors[1] == pytest.approx(4, rel=0.15)
    assert errors[1] / errors[2] == pytest.approx(4, rel=0.05)


@pytest.mark.parametrize("curve", ["cos", "exp"])
def test_penalty_vanishes_along_the_directions_of_a_separable_map(curve):
    """When no direction's effect depends on another's, the estimate is zero for finite ε too, not only in the limit."""
    f = RotatedSeparable(textbook_gram_schmidt(normal(6, 6)), normal(4, 6, seed=1), curve=curve)
    z, w = normal(5, 6, seed=2), torch.zeros(5, 6, dtype=torch.float64)
    assert hessian_penalty(lambda w: f(z.repeat(len(w) // 5, 1) + w @ f.Q), w, epsilon=0.5, rng=rng(0)) < 1e-24
    assert hessian_penalty(lambda w: f(z.repeat(len(w) // 5, 1) + w), w, epsilon=0.5, rng=rng(0)) > 1e-3


# Naive reference


@pytest.mark.parametrize("reduction", ["mean", "max"])
@pytest.mark.parametrize("num_probes", [2, 3, 5])
def test_two_evaluations_a_probe_equal_the_textbook_with_centre(num_probes, reduction):
    """Without the centre, value and gradients (by w and by the network) are the textbook's to float64 rounding."""
    leaves = w, weights = normal(3, 4).requires_grad_(), normal(4, 6, seed=1).requires_grad_()
    probes = signs(num_probes, 3, 4)

    def f(w):
        return torch.tanh(w @ weights)

    penalty = hessian_penalty(f, w, probes=probes, reduction=reduction)
    variances = textbook_variances(f, w, probes, 0.1)
    expected = variances.mean() if reduction == "mean" else variances.max()
    torch.testing.assert_close(penalty, expected, rtol=1e-10, atol=0)
    gradients = [torch.autograd.grad(value, leaves) for value in (penalty, expected)]
    torch.testing.assert_close(*gradients, rtol=1e-8, atol=1e-10)


@settings(deadline=None, max_examples=25)
@given(
    batch=st.integers(1, 4),
    n=st.integers(1, 6),
    num_probes=st.integers(2, 4),
    outputs=st.lists(st.integers(1, 3), max_size=3),
    seed=st.integers(0, 1000),
)
def test_hessian_penalty_equals_the_textbook_for_every_shape(batch, n, num_probes, outputs, seed):
    """Any batch, width, number of probes and shape of the output, no axes at all included."""
    weights = normal(n, *outputs, seed=seed)

    def f(w):
        return torch.sin(torch.tensordot(w, weights, dims=1))

    w, probes = normal(batch, n, seed=seed + 1), signs(num_probes, batch, n, seed)
    expected = textbook_variances(f, w, probes, 0.1)
    torch.testing.assert_close(hessian_penalty(f, w, probes=probes), expected.mean(), rtol=1e-8, atol=1e-16)
    per_sample = expected.reshape(batch, -1).mean(dim=1)
    torch.testing.assert_close(penalty_per_sample(f, w, probes=probes), per_sample, rtol=1e-8, atol=1e-16)


# Laws


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 1000), scale=st.floats(-10, 10))
def test_penalty_ignores_what_is_separable_and_scales_with_the_square(seed, scale):
    """Adding functions of single coordinates changes nothing; multiplying the output by a multiplies it by a²."""
    w, probes = normal(2, 4, seed=seed), signs(3, 2, 4, seed)
    penalty = hessian_penalty(small_network, w, probes=probes)

    def changed(w):
        return scale * (small_network(w) + (w.exp() + torch.cos(3 * w) + 7).sum(dim=1).reshape(-1, 1, 1))

    torch.testing.assert_close(hessian_penalty(changed, w, probes=probes), scale**2 * penalty, rtol=1e-6, atol=1e-16)


# Conventions


@pytest.mark.parametrize("reduction", ["mean", "max"])
def test_several_outputs_add_up(reduction):
    """A tuple or list counts as the sum of its tensors' penalties, one call for all."""
    w, probes = normal(3, 4), signs(3, 3, 4)
    maps = small_network, lambda w: w.sum(dim=1).sin()
    for penalty in (hessian_penalty, penalty_per_sample):
        parts = [penalty(f, w, probes=probes, reduction=reduction) for f in maps]
        for kind in (tuple, list):
            total = penalty(lambda w, kind=kind: kind(f(w) for f in maps), w, probes=probes, reduction=reduction)
            torch.testing.assert_close(total, sum(parts))


@pytest.mark.parametrize("output", [torch.bfloat16, torch.float16])
def test_half_precision_outputs_are_upcast_before_any_difference(output):
    """The penalty of rounded images is computed in float32 from those images."""
    w, probes = normal(3, 4).float(), signs(3, 3, 4).float()
    weights = normal(4, 6).float()

    def f(w):
        return torch.sin(w @ weights).to(output)

    penalty = hessian_penalty(f, w, probes=probes)
    expected = textbook_variances(lambda w: f(w.float()).double(), w, probes, 0.1).mean()
    assert penalty.dtype == torch.float32
    torch.testing.assert_close(penalty.double(), expected, rtol=1e-4, atol=0)


# Errors


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_probes": 1}, r"num_probes must be at least 2 \(the variance over one probe is undefined\), got 1\."),
        ({"probes": torch.ones(2, 5, 3)}, r"probes must be \(k, \*w\.shape\).*got \(2, 5, 3\) for w of shape \(2, 3\)"),
        ({"epsilon": 0.0}, r"epsilon must be a positive number \(a step in units of w\), got 0\.0"),
        ({"reduction": "men"}, r"reduction must be 'mean' or 'max', got 'men'\. Did you mean 'mean'\?"),
    ],
)
def test_hessian_penalty_refuses_bad_arguments_before_calling_f(arguments, message):
    """What is wrong, what was given, what is allowed; f, which may be expensive, is not called."""

    def f(w):
        pytest.fail("f was called")

    with pytest.raises(UserError, match=message):
        hessian_penalty(f, torch.zeros(2, 3), **arguments)
