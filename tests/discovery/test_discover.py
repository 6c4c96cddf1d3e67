"""Discovery finds what is there, says what it did, and can be continued bit by bit."""

from __future__ import annotations

import pytest
import torch
from closed import ClosedFormGenerator, DoubleGenerator

from directions.basis import check_orthonormal
from directions.discovery import discover, penalty_and_gradient
from directions.errors import UserError
from directions.penalty import hessian_penalty
from directions.sampling import image_map
from directions.search import Search, draw_batch
from directions.settings.discover import DiscoverConfig

SMALL = DiscoverConfig(method="adam", steps=6, batch_size=4, held_out=4, held_out_probes=2, eval_every=3)


@pytest.fixture
def generator():
    return DoubleGenerator()


@pytest.fixture(scope="module")
def whole():
    """The snapshots of a run."""
    return list(discover(DoubleGenerator(), SMALL))


def last(snapshots):
    *_, snapshot = snapshots
    return snapshot


def test_discover_finds_the_true_directions(generator):
    """On a generator with planted directions, each learned one is one of them, up to order and sign."""
    config = DiscoverConfig(method="adam", steps=200, batch_size=8, eval_every=200, held_out=8, seed=1)
    snapshots = list(discover(generator, config))
    agreement = (snapshots[-1].basis @ generator.directions.T).abs()
    torch.testing.assert_close(agreement.amax(dim=1), torch.ones(4, dtype=torch.float64), rtol=0, atol=1e-3)
    assert snapshots[-1].record.held_out < 1e-3 * snapshots[0].held_out_before


def test_discover_refuses_a_generator_with_noise_or_of_nan(generator):
    """Before the first step: a finite difference would take noise for curvature."""

    class Noisy(ClosedFormGenerator):
        def forward(self, z, y=0, *, truncation=1.0):
            return super().forward(z, y) + 0.01 * torch.randn(())

    with pytest.raises(UserError, match="different outputs for the same input"):
        discover(Noisy(dim_z=4, resolution=4), SMALL)
    generator.map.weights.fill_(float("nan"))
    with pytest.raises(UserError, match="Generator 'closed-form' gives NaN or infinity"):
        discover(generator, SMALL)


def test_discover_yields_the_start_and_every_step(whole):
    """Penalties belong to steps, held-out scores to every eval_every-th; the curve is a golden one."""
    records = [snapshot.record for snapshot in whole]
    assert [record.step for record in records] == [0, 1, 2, 3, 4, 5, 6]
    assert [record.held_out is not None for record in records] == [True, False, False, True, False, False, True]
    assert [record.penalty is not None for record in records] == [False] + [True] * 6
    assert {snapshot.held_out_before for snapshot in whole} == {records[0].held_out}
    assert all(check_orthonormal(snapshot.basis, 1e-12) is None for snapshot in whole)
    # A refactoring keeps the numbers of a run; a change of this curve is a change of the method.
    assert [record.penalty for record in records[1:]] == pytest.approx(GOLDEN_CURVE, rel=1e-6)


GOLDEN_CURVE = [0.0621833371, 0.0284013269, 0.0192004469, 0.0623892451, 0.0209259841, 0.0524990143]


def test_discover_extended_equals_asked_at_once(generator, whole):
    """More steps added later give what as many asked for at once give: the schedule does not know their number."""
    longer = SMALL.replace(steps=9)
    extended = last(discover(generator, longer, resume_from=whole[-1].state))
    assert torch.equal(extended.state["A"], last(discover(generator, longer)).state["A"])


@pytest.mark.parametrize("reduction", ["mean", "max"])
@pytest.mark.parametrize("micro_batch", [None, 1, 2])
def test_penalty_and_gradient_equal_one_differentiated_call(generator, reduction, micro_batch):
    """However the batch is cut, penalty and gradient are those of the plain penalty of the whole batch."""
    config = DiscoverConfig(batch_size=6, micro_batch=micro_batch, reduction=reduction)
    batch = draw_batch(generator, config, Search.resolve(generator, config), step=1)
    Q = torch.eye(4, dtype=torch.float64).requires_grad_()
    f = image_map(generator, batch.points, Q, 1.0)
    expected = hessian_penalty(f, batch.w, probes=batch.probes, epsilon=0.1, reduction=reduction)
    expected.backward()
    penalty, gradient = penalty_and_gradient(generator, Q, batch, config)
    assert penalty == pytest.approx(expected.item(), rel=1e-12)
    torch.testing.assert_close(gradient, Q.grad, rtol=1e-10, atol=1e-12)


def test_discover_freezes_the_generator(generator):
    """Weights do not change or collect gradients, and dropout and the like are off."""
    generator.trainable = torch.nn.Linear(1, 1)
    last(discover(generator.train(), SMALL))
    assert not generator.training
    assert not any(parameter.requires_grad for parameter in generator.parameters())


def test_discover_refuses_the_state_of_another_run(generator, whole):
    """Another shape."""
    with pytest.raises(UserError, match=r"matrix of shape \(4, 4\), the configuration asks for \(2, 2\)"):
        discover(generator, SMALL.replace(space="0:2"), resume_from=whole[-1].state)
