"""A direction may act on some layers only: their z differs from that of the others, and what is before them is kept."""

from __future__ import annotations

import biggan_models
import naive_biggan
import pytest
import torch
from biggan_models import edited_images
from naive import normal

from directions.errors import UserError
from directions.generators.base import LayerRange
from directions.generators.biggan import BigGAN
from directions.generators.biggan_deep import BigGANDeep


@pytest.fixture(scope="module")
def deep():
    """A BigGAN-deep with attention, and the package's module that it is made of."""
    model = biggan_models.random_model(attention_layer_position=3)
    return BigGANDeep(model, name="deep", digest=""), model


@pytest.mark.parametrize("layers", ["0:7", "0:1", "2:5", "3:4", "6:7"])
def test_edited_layers_see_the_edit_and_others_do_not(deep, layers):
    """Against the package's layers, one by one; two edits of each of three samples, of two classes."""
    generator, model = deep
    span = LayerRange.of(layers, generator.num_layers)
    z, edits, y = normal(3, 12, seed=0), normal(6, 12, seed=1), [0, 2, 0]
    with torch.no_grad():
        expected = edited_images(model, edits, z, y, span.indices, 0.5)
        got = generator.prefix(z, y, layers=span, truncation=0.5)(edits)
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("layers", ["0:1", "2:4", "3:4"])
def test_layers_of_a_plain_biggan_are_its_chunks(layers):
    """Editing a layer is editing its chunk of z."""
    plain = BigGAN(naive_biggan.random_state(attention=(1, 2)), name="plain", digest="")
    span = LayerRange.of(layers, plain.num_layers)
    z, edits = normal(2, 12, seed=0), normal(4, 12, seed=1)
    mixed = z.repeat(2, 1)
    mixed[:, 3 * span.start : 3 * span.stop] = edits[:, 3 * span.start : 3 * span.stop]
    torch.testing.assert_close(plain.prefix(z, 1, layers=span)(edits), plain(mixed, 1), rtol=0, atol=1e-12)


def test_ranges_are_read():
    """As ranges of z are; thirds have names; what is outside the generator is refused."""
    thirds = [str(LayerRange.of(text, 11)) for text in (" 4:", "all", "coarse", "mid", "fine")]
    assert thirds == ["4:11", "0:11", "0:4", "4:7", "7:11"]
    with pytest.raises(UserError, match="mean 'coarse'"):
        LayerRange.of("course", 11)
