"""η, w = η·e_i and z + wQ."""

from __future__ import annotations

import pytest
import torch

from directions.errors import UserError
from directions.steps import draw_steps, move, one_hot_steps


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_draw_steps_is_uniform_within_the_path_size():
    """Lengths fill [−path_size, path_size) evenly; each direction is drawn about equally often."""
    index, eta = draw_steps(20_000, 8, 5.0, rng(0), dtype=torch.float64)
    assert index.dtype == torch.int64
    assert eta.dtype == torch.float64
    assert eta.min() >= -5
    assert eta.max() < 5
    quarters = torch.histc(eta, bins=4, min=-5, max=5) / 20_000
    torch.testing.assert_close(quarters, torch.full((4,), 0.25, dtype=torch.float64), rtol=0, atol=0.015)
    counts = torch.bincount(index, minlength=8) / 20_000
    torch.testing.assert_close(counts, torch.full((8,), 1 / 8), rtol=0, atol=0.012)
    assert abs(float(torch.corrcoef(torch.stack((index.double(), eta)))[0, 1])) < 0.03


def test_draw_steps_is_determined_by_the_rng():
    """The same seed gives the same steps."""
    for first, second in zip(draw_steps(7, 3, 2.0, rng(4)), draw_steps(7, 3, 2.0, rng(4)), strict=True):
        assert torch.equal(first, second)
    assert not torch.equal(draw_steps(7, 3, 2.0, rng(4))[1], draw_steps(7, 3, 2.0, rng(5))[1])


def test_draw_steps_scales_with_the_path_size():
    """The path size is a unit: the same draw, stretched."""
    torch.testing.assert_close(draw_steps(9, 3, 6.0, rng(1))[1], 3 * draw_steps(9, 3, 2.0, rng(1))[1])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, 3, 1.0), "n must be at least 1, got 0"),
        ((4, 0, 1.0), "ndirs must be at least 1, got 0"),
        ((4, 3, 0.0), r"path_size must be a positive number \(in latent units\), got 0\.0"),
        ((4, 3, -1.0), "path_size must be a positive number"),
        ((4, 3, float("nan")), "path_size must be a positive number .* got nan"),
        ((4, 3, float("inf")), "path_size must be a positive number .* got inf"),
    ],
)
def test_draw_steps_refuses(arguments, message):
    """Each argument out of range has its message."""
    with pytest.raises(UserError, match=message):
        draw_steps(*arguments)


def test_one_hot_steps_equals_the_loop():
    """w is zero but for η at the chosen direction."""
    index, eta = draw_steps(50, 6, 5.0, rng(2), dtype=torch.float64)
    expected = torch.zeros(50, 6, dtype=torch.float64)
    for row, (i, length) in enumerate(zip(index, eta, strict=True)):
        expected[row, i] = length
    assert torch.equal(one_hot_steps(index, eta, 6), expected)


def test_one_hot_steps_is_differentiable():
    """Step lengths may be optimised."""
    eta = torch.tensor([1.0, 2.0], dtype=torch.float64, requires_grad=True)
    weights = torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], dtype=torch.float64)
    (one_hot_steps(torch.tensor([2, 0]), eta, 3) * weights).sum().backward()
    assert eta.grad.tolist() == [3.0, 4.0]


@pytest.mark.parametrize(
    ("index", "eta"), [(torch.zeros(2).long(), torch.zeros(3)), (torch.tensor(1), torch.tensor(1.0))]
)
def test_one_hot_steps_refuses_unequal_lengths(index, eta):
    """One length for each direction."""
    with pytest.raises(UserError, match="two vectors of one length"):
        one_hot_steps(index, eta, 4)


def test_move_adds_the_combination_of_rows():
    """Row i of the result is z_i + Σ_j w_ij q_j."""
    z, Q, w = (
        torch.randn(shape, generator=rng(s), dtype=torch.float64) for s, shape in enumerate([(4, 5), (3, 5), (4, 3)])
    )
    expected = torch.stack([z[i] + sum(w[i, j] * Q[j] for j in range(3)) for i in range(4)])
    torch.testing.assert_close(move(z, Q, w), expected)


def test_move_broadcasts_batches():
    """One latent along many steps, and many latents along one."""
    Q = torch.eye(2, 3, dtype=torch.float64)
    assert move(torch.zeros(3, dtype=torch.float64), Q, torch.ones(7, 2, dtype=torch.float64)).shape == (7, 3)
    assert move(torch.zeros(5, 1, 3, dtype=torch.float64), Q, torch.ones(7, 2, dtype=torch.float64)).shape == (5, 7, 3)


@pytest.mark.parametrize("shape", [(2, 4), ()])
def test_move_refuses_a_latent_of_another_width(shape):
    """The message shows both shapes."""
    with pytest.raises(UserError, match=r"z must end in the width of the directions: Q is \(2, 3\)"):
        move(torch.zeros(shape), torch.eye(2, 3), torch.zeros(2, 2))


def test_move_refuses_steps_for_another_number_of_directions():
    """w has one entry for each row of Q."""
    with pytest.raises(UserError, match=r"w must end in the number of directions: Q is \(2, 3\).* w is \(2, 3\)"):
        move(torch.zeros(2, 3), torch.eye(2, 3), torch.zeros(2, 3))
