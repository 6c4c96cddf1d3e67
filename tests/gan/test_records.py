"""Means over the steps since the last record, where a step may have no diversity."""

from __future__ import annotations

import math

import pytest
import torch

from directions.distributed.ranks import Ranks
from directions.errors import NonFiniteError
from directions.gan.architecture import diversity_of
from directions.gan.records import Window
from directions.sampling import derived_rng


def filled(window, *values, name="diversity"):
    for value in values:
        window.add({name: torch.tensor(value), "loss_d": torch.tensor(2.0)}, 0.5)
    return window


def test_diversity_is_the_quotient_of_the_spreads():
    """One image drawn twice leaves none."""
    images = torch.randn(4, 3, 2, 2, generator=derived_rng(0), dtype=torch.float64)
    assert diversity_of(images / 2, images).item() == pytest.approx(0.5)
    assert not diversity_of(images, images[:1].repeat(4, 1, 1, 1)).isfinite()
    assert not diversity_of(images[:1].repeat(4, 1, 1, 1), images[:1].repeat(4, 1, 1, 1)).isfinite()


@pytest.mark.parametrize("none", [math.inf, math.nan])
def test_window_leaves_out_steps_without_a_diversity(none):
    """The mean is over the others; a window that has no other has no diversity, and the next one starts anew."""
    window = filled(Window(Ranks()), 1.0, none, 2.0)
    assert window.finite()
    assert window.means(3) == ({"diversity": 1.5, "loss_d": 2.0}, 0.5)
    assert filled(window, none).means(4) == ({"loss_d": 2.0}, 0.5)
    assert filled(window, 3.0).means(5) == ({"diversity": 3.0, "loss_d": 2.0}, 0.5)


def test_window_refuses_a_loss_that_is_not_finite():
    """Whatever the diversity is."""
    window = filled(filled(Window(Ranks()), math.inf), math.inf, name="loss_g")
    assert not window.finite()
    with pytest.raises(NonFiniteError, match="loss_g became inf within the 2 steps up to step 2"):
        window.means(2)


def test_window_goes_on_from_a_checkpoint():
    """Also from one of before steps could be left out."""
    first = filled(Window(Ranks()), 1.0, math.inf)
    second = Window(Ranks())
    second.load_state_dict(first.state_dict(), torch.device("cpu"))
    assert filled(second, 2.0).means(3) == ({"diversity": 1.5, "loss_d": 2.0}, 0.5)
    old = {key: value for key, value in filled(Window(Ranks()), 1.0).state_dict().items() if key != "missing"}
    second.load_state_dict(old, torch.device("cpu"))
    assert filled(second, math.inf, 2.0).means(3) == ({"diversity": 1.5, "loss_d": 2.0}, 0.5)


def test_window_counts_the_steps_of_every_rank():
    """One rank's step may have a diversity where the other's has none."""

    class Two(Ranks):
        """This rank, beside one that had a diversity of 4 at one of its two steps."""

        world_size = 2

        def sum(self, tensors):
            theirs = dict(zip(("diversity", "loss_d", "missing"), (4.0, 4.0, 1.0), strict=True))
            return [tensor + value for tensor, value in zip(tensors, theirs.values(), strict=True)]

    assert filled(Window(Two()), 1.0, 1.0).means(2) == ({"diversity": 2.0, "loss_d": 2.0}, 0.5)
