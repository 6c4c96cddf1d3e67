"""Directions that act on some layers: every number of a run is that of a generator which gives each layer its own z."""

from __future__ import annotations

import dataclasses

import biggan_models
import naive_biggan
import pytest
import torch

from directions.discovery import discover, penalty_and_gradient
from directions.evaluation.activeness import activeness, penalty_shares, suggested_path_sizes
from directions.generators.base import LayerRange
from directions.generators.biggan import BigGAN
from directions.generators.biggan_deep import BigGANDeep
from directions.held_out import draw_held_out, held_out_penalty
from directions.joint.measure import measure, planned_measurement
from directions.search import Search, draw_batch
from directions.settings.base import ConfigError
from directions.settings.discover import DiscoverConfig

CONFIG = DiscoverConfig(
    method="adam", steps=2, batch_size=2, held_out=2, held_out_probes=2, eval_every=1, final_samples=2, base_points=2,
    classes=(0, 2), truncation=0.5, ndirs=None, space="0:4", checkpoint_every=1,
)  # fmt: skip


@pytest.fixture(scope="module")
def model():
    return biggan_models.random_model(attention_layer_position=3)


@pytest.fixture
def deep(model, monkeypatch):
    """A BigGAN-deep of seven layers, in float64 throughout."""
    generator = BigGANDeep(model, name="deep", digest="d")
    draw = type(generator).sample_z_from
    monkeypatch.setattr(type(generator), "sample_z_from", lambda *arguments: draw(*arguments).double())
    return generator


@pytest.fixture
def plain():
    return BigGAN(naive_biggan.random_state(), name="plain", digest="p")


@pytest.fixture
def naive(model, monkeypatch):
    """Make everything downstream use the naive reference, which only asks the generator for its prior."""

    def edited_images(generator, z, y, *, layers=None, truncation=1.0):
        labels, indices = generator.class_indices(y, len(z)).tolist(), (layers or LayerRange(0, 7, 7)).indices
        return lambda edits: biggan_models.edited_images(model, edits, z, labels, indices, truncation)

    def use():
        for module in ("sampling", "evaluation.activeness"):
            monkeypatch.setattr(f"directions.{module}.edited_images", edited_images)

    return use


def measured(generator, config):
    """Every number that a run takes of a basis."""
    search, held_out = Search.resolve(generator, config), draw_held_out(generator, config)
    basis = torch.linalg.qr(torch.randn(12, 12, generator=torch.Generator().manual_seed(0)).double()).Q[:3]
    search = dataclasses.replace(search, ndirs=3)
    penalty, gradient = penalty_and_gradient(generator, basis, draw_batch(generator, config, search, 1), config)
    settings = {"samples": 2, "classes": search.classes, "truncation": 0.5, "layers": search.layers}
    *_, moments = measure(generator, planned_measurement(config, search))
    return {
        "penalty": torch.tensor(penalty),
        "gradient": gradient,
        "held-out": torch.tensor(held_out_penalty(generator, basis, held_out)),
        "shares": penalty_shares(generator, basis, held_out),
        "activeness": activeness(generator, basis, **settings),
        "path sizes": torch.tensor(suggested_path_sizes(generator, basis, largest=5.0, **settings)),
        "moments": torch.stack(moments.state_dict()["sums"]),
    }


def test_every_number_is_that_of_a_generator_with_a_z_for_each_layer(deep, naive):
    """Penalty and gradient, held-out score, shares, activeness, path sizes, measured Hessians."""
    config = CONFIG.replace(layers="3:5")
    got = measured(deep, config)
    naive()
    expected = measured(deep, config)
    for what, value in expected.items():
        torch.testing.assert_close(
            got[what], value, rtol=1e-7, atol=1e-9, msg=lambda text, what=what: f"{what}: {text}"
        )
        assert value.abs().max() > 0


def test_layers_of_a_plain_biggan_search_the_chunks_that_they_see(plain):
    """Other components would only add directions that do nothing; asking for them is refused."""
    for layers, space in (("0:1", "0:3"), ("1:3", "3:9"), ("fine", "9:12")):
        assert str(Search.resolve(plain, DiscoverConfig(layers=layers)).space) == space
    assert str(Search.resolve(plain, DiscoverConfig(layers="1:3", space="4:6")).space) == "4:6"
    with pytest.raises(ConfigError, match=r"space must lie within 3:9, .* layers 1:3 of 'plain' see, got 0:4"):
        Search.resolve(plain, DiscoverConfig(layers="1:3", space="coarse"))


def test_thirds_of_z_are_pointed_at_layers_where_z_has_none(deep, plain, recwarn):
    """By name only: a range of components is what it says."""
    config = CONFIG.replace(space="coarse")
    with pytest.warns(
        UserWarning, match="z has no segments in 'deep': every layer sees all of it. .* give layers coarse"
    ):
        discover(deep, config)
    discover(plain, config)
    discover(deep, config.replace(layers="coarse"))
    discover(deep, config.replace(space="0:4"))
    assert len(recwarn) == 0
