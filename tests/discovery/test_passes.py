"""Steps that are compiled, recompute or use other numbers: the same function, or a clear refusal."""

from __future__ import annotations

import biggan_models
import pytest
import torch
from biggan_models import held_bytes

from directions.discovery import discover, penalty_and_gradient, prepare_steps
from directions.errors import UserError
from directions.generators.biggan_deep import BigGANDeep
from directions.search import Search, draw_batch
from directions.settings.discover import DiscoverConfig

SMALL = DiscoverConfig(method="adam", steps=2, batch_size=4, held_out=4, held_out_probes=2, final_samples=2)


@pytest.fixture
def generator():
    model = biggan_models.random_model(attention_layer_position=3)
    return BigGANDeep(model, name="deep", digest="").float()


def gradient(generator, config=SMALL):
    """Penalty and gradient of the first step at the axes of z."""
    search = Search.resolve(generator, config)
    prepare_steps(generator, config)
    return penalty_and_gradient(generator, torch.eye(12), draw_batch(generator, config, search, 1), config)


def test_recomputing_gives_the_same_gradient_and_holds_less(generator):
    """Bit by bit, as the same operations are done again."""
    expected = gradient(generator)
    z = generator.sample_z(8, seed=0).requires_grad_()
    usual = held_bytes(lambda: generator(z, 0))
    penalty, found = gradient(generator, SMALL.replace(recompute=True))
    assert penalty == expected[0]
    assert torch.equal(found, expected[1])
    assert held_bytes(lambda: generator(z, 0)) < 0.7 * usual


def test_bf16_changes_the_steps_and_not_the_scores(generator):
    """The gradient is near the float32 one; the held-out score of the start is that of float32."""
    config = SMALL.replace(precision="bf16", steps=1)
    exact = gradient(generator)[1]
    with pytest.warns(UserWarning, match="bf16 changes the penalty"):
        rough = gradient(generator, config)[1]
    with pytest.warns(UserWarning, match="bf16 changes the penalty"):
        start = next(discover(generator, config))
    assert 0 < (rough - exact).norm() < 0.5 * exact.norm()
    assert start.record.held_out == next(discover(generator, SMALL)).record.held_out


def test_without_a_compiler_it_says_so(generator, monkeypatch):
    """And what to do."""
    monkeypatch.setattr("shutil.which", lambda name: None)
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(UserError, match=r"^compile needs a C\+\+ compiler, and none of g\+\+, .*leave --compile out"):
        prepare_steps(generator, SMALL.replace(compile=True))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # torch warns of parts of itself
@pytest.mark.parametrize("recompute", [False, True])
def test_compiled_steps_have_the_same_gradient(generator, recompute):
    """Up to rounding; without gradients the usual way is taken."""
    expected = gradient(generator)
    penalty, found = gradient(generator, SMALL.replace(compile=True, recompute=recompute))
    assert penalty == pytest.approx(expected[0], rel=1e-3)
    torch.testing.assert_close(found, expected[1], rtol=0, atol=1e-3 * float(expected[1].abs().max()))
