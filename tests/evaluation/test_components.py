"""Activeness of the components of z, and how many carry the image."""

from __future__ import annotations

import pytest
import torch
from closed import DoubleGenerator

from directions.errors import UserError
from directions.evaluation.components import ComponentActiveness, component_activeness, components_carrying
from directions.generators.progan import ProGAN
from directions.generators.progan_network import ProGANNetwork
from directions.sampling import derived_rng


def test_component_activeness_equals_the_paper_s_code():
    """Component by component, latent by latent: set it to −2, 0, 2, take the variance over the three."""

    class Recording(DoubleGenerator):
        def sample_z_from(self, n, rng, truncation=1.0):
            self.drawn = super().sample_z_from(n, rng, truncation)
            return self.drawn

    generator = Recording(num_classes=0)
    measured = component_activeness(generator, samples=5)
    for component in range(4):
        total = 0.0
        for z in generator.drawn:
            images = []
            for value in (-2.0, 0.0, 2.0):
                changed = z.clone()
                changed[component] = value
                images.append(generator(changed[None])[0])
            total += float(torch.stack(images).var(dim=0, unbiased=True).mean())
        assert measured.values[component] == pytest.approx(total / 5, rel=1e-9)


@pytest.mark.parametrize("dim_z", [12, 3])
def test_component_activeness_of_a_progan_is_behind_its_norm(dim_z):
    """As the paper's figures.py: z is normalised and then edited, from 12 components on; else before."""
    torch.manual_seed(0)
    network = ProGANNetwork(dim_z, [4, 4])
    network.blocks[0].dense.weight.data[:, 1] = 0
    generator = ProGAN(network, name="small", digest="0")
    measured = component_activeness(generator, samples=5)
    z = generator.sample_z_from(5, derived_rng(0, purpose="activeness"))
    if dim_z == 12:
        z = z / z.square().mean(dim=1, keepdim=True).sqrt()
    for component in range(dim_z):
        images = []
        for value in (-2.0, 0.0, 2.0):
            changed = z.clone()
            changed[:, component] = value
            images.append(network(changed, normalise=dim_z < 12).clamp(-1, 1))
        expected = float(torch.stack(images).var(dim=0).mean())
        assert measured.values[component] == pytest.approx(expected, rel=1e-4)
    assert (measured.values[1] == 0) == (dim_z == 12)


def test_component_activeness_takes_300_samples_unless_told_otherwise():
    """As the paper does."""

    class Counting(DoubleGenerator):
        def sample_z_from(self, n, rng, truncation=1.0):
            self.asked = n
            return super().sample_z_from(n, rng, truncation)

    generator = Counting(resolution=1, num_classes=0)
    component_activeness(generator, rows=2000)
    assert generator.asked == 300


@pytest.mark.parametrize(
    ("values", "share", "number"),
    [
        ([1.0] * 100, 0.95, 95),
        ([0.0, 94.9, 0.1, 5.0], 0.95, 2),
        ([95.0, 5.0], 0.95, 1),
        ([3.0, 1.0, 0.0], 1.0, 2),
        ([0.0, 0.0], 0.95, 0),
        ([], 0.95, 0),
    ],
)
def test_components_carrying_counts_the_fewest(values, share, number):
    """Most active first, up to the share and no further."""
    assert components_carrying(values, share) == number


def test_component_activeness_sorts_and_reports():
    """Equal ones stay in their order."""
    result = ComponentActiveness((0.1, 0.6, 0.1, 0.2))
    assert result.order == (1, 3, 0, 2)
    assert result.to_dict() == {"carrying_95": 4, "order": [1, 3, 0, 2], "activeness": [0.1, 0.6, 0.1, 0.2]}


def test_components_carrying_refuses_a_share_out_of_range():
    """What, got, allowed."""
    with pytest.raises(UserError, match=r"share must be above 0 and at most 1, got 0\."):
        components_carrying([1.0], 0.0)
