"""Images of moved latents: on all layers a plain call, on some the others keep their own z."""

from __future__ import annotations

import biggan_models
import numpy as np
import pytest
import torch
from fakes import BlobGenerator, blob_directions

from directions.direction_file import Directions
from directions.direction_file.format import make_header
from directions.errors import UserError
from directions.generators.biggan_deep import BigGANDeep
from directions.generators.frozen import FrozenBlock


@pytest.fixture(scope="module")
def generator():
    return BigGANDeep(biggan_models.random_model(), name="deep", digest="d")


def directions_of(generator, layers) -> Directions:
    header = make_header(
        generator, path_sizes=[3.0, 3.0], names=["hue", "size"], classes=None, truncation=1.0, space=(0, 12),
        layers=layers, method="adam", config={}, steps=0, seed=0, penalty=None,
    )  # fmt: skip
    return Directions(np.eye(2, 12), header)


def latents(n: int) -> torch.Tensor:
    return torch.randn(n, 12, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_images_on_all_layers_are_a_plain_call(generator):
    """Bit by bit; with a class for each, several directions at once, and further axes in front."""
    directions, z, y = directions_of(generator, None), latents(2), [0, 2]
    moved = directions.move(z, ["hue", "size"], [3.0, -1.0])
    got = directions.images(generator, z, ["hue", "size"], [3.0, -1.0], y=y, truncation=0.5)
    assert torch.equal(got, generator(moved, y, truncation=0.5))
    path = directions.images(generator, z, "hue", [[-1.0], [0.0], [1.0]], y=y)
    assert path.shape == (3, 2, 3, 16, 16)
    torch.testing.assert_close(path[1], generator(z, y))


def test_images_on_some_layers_leave_the_others_their_z(generator):
    """Equal to the prefix that a user may make by hand; the layers before are computed once for a whole path."""
    directions, z, y = directions_of(generator, [4, 5]), latents(2), [0, 2]
    assert directions.layers == (4, 5)
    calls = []
    first = next(layer for layer in generator.layers if isinstance(layer, FrozenBlock))
    hook = first.register_forward_hook(lambda _, inputs, __: calls.append(len(inputs[0])))
    path = directions.images(generator, z, "size", [[-2.0], [2.0], [4.0]], y=y)
    hook.remove()
    assert calls == [2]
    by_hand = generator.prefix(z, y, layers=directions.layers)
    for images, amount in zip(path, (-2.0, 2.0, 4.0), strict=True):
        torch.testing.assert_close(images, by_hand(directions.move(z, "size", amount)))
        assert (images - generator(directions.move(z, "size", amount), y)).abs().max() > 1e-3


def test_images_need_what_fits(generator):
    """Another generator, latents that are no batch, layers that are not there."""
    directions = directions_of(generator, [4, 5])
    other = BlobGenerator()
    other.name, other.digest = "other", "f00d" * 16
    with pytest.raises(UserError, match=r"found in 'blob' .*, but 'other' has"):
        blob_directions().images(other, torch.zeros(1, 6), 0, 1.0)
    for z in (latents(1)[0], latents(0), None):
        with pytest.raises(UserError, match=r"z must be a tensor \(batch, 12\), as generator.sample_z\(n\) makes, got"):
            directions.images(generator, z, 0, 1.0)
    with pytest.raises(UserError, match=r"layers must be START:STOP with 0 <= START < STOP <= 7 .*, got 6:8"):
        directions_of(generator, [6, 7]).images(generator, latents(1), 0, 1.0)
