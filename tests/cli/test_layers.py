"""``--layers`` from learning to pictures: what it is recorded as, shown as, and does."""

from __future__ import annotations

import biggan_models
import naive_biggan
import numpy as np
import pytest
import torch
from PIL import Image

from directions.direction_file import load_directions
from directions.generators.biggan import BigGAN
from directions.generators.biggan_deep import BigGANDeep
from directions.rendering.frames import to_uint8

FILE = "outputs/00000-a/directions.safetensors"


@pytest.fixture(scope="module")
def deep():
    """A BigGAN-deep with random weights."""
    return BigGANDeep(biggan_models.random_model(), name="deep", digest="d" * 64).float()


@pytest.fixture(scope="module")
def plain():
    """A plain BigGAN with random weights."""
    return BigGAN(naive_biggan.random_state(attention=()), name="plain", digest="p" * 64).float()


@pytest.fixture
def generator(request, monkeypatch, loaded):
    """What every command loads."""
    model = request.getfixturevalue(request.param)
    monkeypatch.setattr("directions.generators.registry.load_generator", lambda *_, **__: model)
    return model


@pytest.mark.parametrize(("generator", "start", "stop"), [("deep", 5, 7), ("plain", 3, 4)], indirect=["generator"])
def test_layers_are_recorded_shown_kept_and_moved_alone(generator, start, stop, command, discover):
    """In the header and by inspect; a resumed run keeps them; a strip's tiles are the images of these directions."""
    assert discover("--generator", generator.name, "--layers", "fine", "--name", "a").code == 0
    learned = load_directions(FILE)
    assert f"layers {start}:{stop} only" in command("inspect", FILE).out
    shown = command("inspect", FILE, "--json").json
    assert (shown["layers"], shown["config"]["layers"]) == (list(range(start, stop)), "fine")
    resumed = command("discover", "--resume", "outputs/00000-a", "--steps", "5", "--layers", "coarse")
    assert resumed.refuses("A resumed run keeps its settings: --layers is fine, got coarse. Only")
    assert learned.layers == tuple(range(start, stop))

    arguments = f"render {FILE} -d 0 --samples 1 --frames 3 --scale 1 --captions none --path-size 4 -y 0 --quiet"
    z, amounts = generator.sample_z(1, seed=0), (-4.0, 0.0, 4.0)
    own = to_uint8(learned.images(generator, z, 0, [[amount] for amount in amounts], y=0)[:, 0])
    everywhere = to_uint8(generator(torch.cat([learned.move(z, 0, amount) for amount in amounts]), 0))
    for asked, tiles, there in (
        ((), own, True),
        (("--layers", "all"), everywhere, True),
        (("--layers", "0:1"), own, False),
    ):
        assert command(*arguments.split(), "--out", "x.png", *asked).code == 0
        picture = np.asarray(Image.open("x.png"))
        assert all(_holds(picture, tile) for tile in tiles) == there

    for asked, named in (([], f"{start}:{stop}"), (["--layers", "all"], None), (["--layers", "0:1"], "0:1")):
        assert command("render", FILE, "--dry-run", *asked).json["layers"] == named
    wrong = command("render", FILE, "--layers", "0:9")
    assert wrong.refuses(f"--layers must be START:STOP with 0 <= START < STOP <= {stop} (the number of layers)")
    assert f"Generator {generator.name!r} has {stop} layers: 0 is the first linear one" in wrong.err
    refused = command("discover", "--layers", "2:9", "--name", "b")
    assert refused.refuses(f"STOP <= {stop} (the number of layers)")


@pytest.mark.parametrize("generator", ["plain"], indirect=True)
def test_spaces_by_name_are_recorded_as_ranges(generator, discover):
    """The paper's search spaces, thirds of z."""
    for space, recorded in {"coarse": "0:4", "fine": "8:12", "all": "0:12", "2:5": "2:5"}.items():
        assert discover("--space", space, "--dry-run").json["resolved"]["space"] == recorded
    assert discover("--space", "mid", "--name", "a").code == 0
    directions = load_directions(FILE)
    assert directions.header["space"] == [4, 8]
    assert not directions.matrix[:, :4].any()
    assert not directions.matrix[:, 8:].any()


def _holds(picture: np.ndarray, tile: np.ndarray) -> bool:
    """Whether a tile is somewhere in a picture, up to rounding."""
    windows = np.lib.stride_tricks.sliding_window_view(picture[..., :3], tile.shape)[:, :, 0]
    return bool((np.abs(windows.astype(int) - tile.astype(int)).max(axis=(2, 3, 4)) <= 1).any())
