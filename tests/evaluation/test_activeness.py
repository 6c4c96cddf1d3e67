"""Activeness against its definition and a closed form."""

from __future__ import annotations

import math

import pytest
import torch
from closed import DoubleGenerator

from directions.evaluation.activeness import activeness
from directions.sampling import derived_rng, draw_points


def naive_activeness(generator, direction, samples, classes, truncation, seed):
    """Sample by sample, as it is written down."""
    points = draw_points(
        generator, samples, derived_rng(seed, purpose="activeness"), classes=classes, truncation=truncation
    )
    total = 0.0
    for z, y in zip(points.z, points.y, strict=True):
        centred = z - (z @ direction) * direction
        images = [generator((centred + c * truncation * direction).unsqueeze(0), int(y)) for c in (-2, 0, 2)]
        total += float(torch.stack(images).var(dim=0, unbiased=True).mean())
    return total / samples


@pytest.mark.parametrize("truncation", [1.0, 0.5])
def test_activeness_equals_naive_reference(truncation):
    """For axes and for oblique directions."""
    generator = DoubleGenerator()
    basis = torch.linalg.qr(torch.randn(4, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)).Q[:3]
    settings = {"samples": 5, "classes": (0, 2), "truncation": truncation, "seed": 3}
    expected = [naive_activeness(generator, direction, **settings) for direction in basis]
    assert activeness(generator, basis, rows=6, **settings).tolist() == pytest.approx(expected, rel=1e-10)


def test_activeness_of_a_true_direction_is_known():
    """Along q_i only the i-th term c·cos(a + φ) changes, over a = −2, 0, 2."""
    generator = DoubleGenerator(num_classes=1)
    measured = activeness(generator, generator.directions, samples=7, classes=(0,))
    phases = generator.phases[0]
    curve = torch.stack([torch.cos(a + phases) for a in (-2.0, 0.0, 2.0)]).var(dim=0)
    torch.testing.assert_close(measured, curve * generator.map.weights.square().mean(dim=0))


def test_activeness_does_not_depend_on_the_batch():
    """How many images are made at once is a matter of memory."""
    generator = DoubleGenerator()
    results = [activeness(generator, torch.eye(4), samples=5, classes=(1,), rows=rows) for rows in (1, 7, 1000)]
    torch.testing.assert_close(results[0], results[1])
    torch.testing.assert_close(results[0], results[2])


def test_activeness_is_zero_for_what_does_nothing():
    """A direction that the generator ignores."""

    class Ignoring(DoubleGenerator):
        def forward(self, z, y=0, *, truncation=1.0):
            return super().forward(z * torch.tensor([1.0, 1.0, 1.0, 0.0]), y)

    measured = activeness(Ignoring(), torch.eye(4), samples=3, classes=(0,))
    assert measured[3] < 1e-30
    assert (measured[:3] > 0).all()
    assert math.isfinite(float(measured.sum()))
