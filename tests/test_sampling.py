"""Draws that follow from a seed and a step."""

from __future__ import annotations

import pytest
import torch
from closed import ClosedFormGenerator

from directions.sampling import derived_rng, draw_points, draw_steps


def numbers(*key):
    return torch.rand(4, generator=derived_rng(*key), dtype=torch.float64)


def test_derived_rng_depends_on_all_of_its_key():
    """The same key gives the same numbers, any other key gives others, also where seed + step agree."""
    assert torch.equal(numbers(3, 7, "a"), numbers(3, 7, "a"))
    keys = [(3, 7, "a"), (7, 3, "a"), (3, 8, "a"), (4, 6, "a"), (3, 7, "b")]
    drawn = torch.stack([numbers(*key) for key in keys])
    assert len(drawn[:, 0].unique()) == len(keys)


def test_derived_rng_is_the_same_everywhere():
    """A golden value: a run of one machine can be repeated on another."""
    assert numbers(0, 1, "train")[:2].tolist() == pytest.approx([0.8168539763267473, 0.19008095729267616], abs=1e-12)


def test_draw_points_draws_only_the_classes_asked_for():
    """Classes are drawn uniformly from the list, latents from the generator's prior."""
    generator = ClosedFormGenerator(dim_z=5)
    points = draw_points(generator, 400, derived_rng(0), classes=(0, 2), truncation=0.5)
    assert points.z.shape == (400, 5)
    assert points.z.abs().max() <= 1.0  # two standard deviations, truncated by half
    assert set(points.y.tolist()) == {0, 2}
    assert 150 < int((points.y == 2).sum()) < 250
    assert draw_points(ClosedFormGenerator(num_classes=0), 3, derived_rng(0), classes=(), truncation=1.0).y is None


def test_draw_steps_is_uniform_within_the_path_size():
    """Lengths fill [−path_size, path_size) evenly; each direction is drawn about equally often."""
    index, eta = draw_steps(20_000, 8, 5.0, derived_rng(0), dtype=torch.float64)
    assert eta.min() >= -5
    assert eta.max() < 5
    quarters = torch.histc(eta, bins=4, min=-5, max=5) / 20_000
    torch.testing.assert_close(quarters, torch.full((4,), 0.25, dtype=torch.float64), rtol=0, atol=0.015)
    counts = torch.bincount(index, minlength=8) / 20_000
    torch.testing.assert_close(counts, torch.full((8,), 1 / 8), rtol=0, atol=0.012)
    assert abs(float(torch.corrcoef(torch.stack((index.double(), eta)))[0, 1])) < 0.03
