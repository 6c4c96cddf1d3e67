"""Path sizes: within the prior, within what was trained for, and no further than the image changes."""

from __future__ import annotations

import pytest
import torch
from closed import DoubleGenerator

from directions.evaluation.path_size import prior_radius, suggested_path_sizes


@pytest.mark.parametrize(("dim", "radius"), [(12, 4.68), (128, 7.50)])
def test_prior_radius_is_documented(dim, radius):
    """The values that the docstring names."""
    assert prior_radius(dim) == pytest.approx(radius, abs=0.01)
    assert prior_radius(dim, truncation=0.5) == pytest.approx(radius / 2, abs=0.01)


def test_prior_radius_is_the_quantile_of_sampled_lengths():
    """One part in a thousand of normal z is longer than a z that went so far."""
    z = torch.randn(200_000, 12, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    limit = (11 + prior_radius(12) ** 2) ** 0.5
    assert float((z.norm(dim=1) > limit).double().mean()) == pytest.approx(0.001, rel=0.2)


class Saturating(DoubleGenerator):
    """Component 0 changes the image steadily, component 1 stops at a distance of 1 from the centre."""

    def forward(self, z, y=0, *, truncation=1.0):
        return torch.stack((z[:, 0], z[:, 1].clamp(-1, 1)), dim=1).reshape(-1, 2, 1, 1)


@pytest.mark.parametrize(("largest", "expected"), [(2.0, (2.0, 1.0)), (100.0, (3.93, 0.98))])
def test_suggested_path_sizes_end_where_the_image_stops_changing(largest, expected):
    """The stage in which the image comes to rest is the last one; the prior bounds what is asked for."""
    sizes = suggested_path_sizes(Saturating(), torch.eye(4)[:2], largest=largest, samples=3, classes=(0,))
    assert sizes == pytest.approx(expected, abs=0.01)


def test_suggested_path_sizes_shrink_with_truncation():
    """A truncated z stays closer to the centre."""
    whole, half = (
        suggested_path_sizes(Saturating(), torch.eye(4)[:1], largest=9, samples=2, classes=(0,), truncation=t)
        for t in (1.0, 0.5)
    )
    assert half[0] == pytest.approx(whole[0] / 2, abs=0.01)
