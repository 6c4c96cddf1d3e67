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

GENERATORS = {
    "deep": BigGANDeep(biggan_models.random_model(), name="deep", digest="d" * 64).float(),
    "plain": BigGAN(naive_biggan.random_state(attention=()), name="plain", digest="p" * 64).float(),
}
FILE = "outputs/00000-a/directions.safetensors"


@pytest.fixture(params=GENERATORS)
def generator(request, monkeypatch):
    """What every command loads."""
    loaded = GENERATORS[request.param]
    monkeypatch.setattr("directions.generators.registry.load_generator", lambda *_, **__: loaded)
    return loaded


@pytest.fixture
def learned(discover, generator, monkeypatch):
    """A run on the last layers."""
    result = discover("--generator", generator.name, "--layers", "fine", "--name", "a")
    assert result.code == 0, result.err
    return load_directions(FILE)


@pytest.mark.parametrize("generator", ["deep"], indirect=True)
def test_layers_are_recorded_shown_and_kept(learned, command, discover):
    """In the header and by inspect; a resumed run cannot change them."""
    assert learned.layers == (5, 6)
    assert "z components 0:12, layers 5:7 only" in command("inspect", FILE).out
    assert command("inspect", FILE, "--json").json["layers"] == [5, 6]
    assert command("inspect", FILE, "--json").json["config"]["layers"] == "fine"
    resumed = command("discover", "--resume", "outputs/00000-a", "--steps", "5", "--layers", "coarse")
    assert resumed.code == 2
    assert "A resumed run keeps its settings: --layers is fine, got coarse. Only" in resumed.err
    assert command("discover", "--resume", "outputs/00000-a", "--steps", "5").code == 0
    assert load_directions(FILE).layers == (5, 6)


def test_render_moves_only_the_layers_of_the_file(learned, generator, command):
    """A strip's tiles are the images of these directions; --layers overrides."""
    z = generator.sample_z(1, seed=0)
    arguments = f"render {FILE} -d 0 --samples 1 --frames 3 --scale 1 --captions none --path-size 4 -y 0 --quiet"
    tiles = {}
    for name, layers in (("own", []), ("all", ["--layers", "all"]), ("coarse", ["--layers", "coarse"])):
        result = command(*arguments.split(), "--out", f"{name}.png", *layers)
        assert result.code == 0, result.err
        tiles[name] = np.asarray(Image.open(f"{name}.png"))

    own = to_uint8(learned.images(generator, z, 0, [[-4.0], [0.0], [4.0]], y=0)[:, 0])
    everywhere = to_uint8(generator(torch.cat([learned.move(z, 0, amount) for amount in (-4.0, 0.0, 4.0)]), 0))
    for name, expected in (("own", own), ("all", everywhere)):
        for tile in expected:
            assert _holds(tiles[name], tile), name
    assert not _holds(tiles["coarse"], own[0])


def test_render_dry_run_names_the_layers(learned, generator, command):
    """Those of the file, or those asked for; what is not there is refused."""
    stop, start = generator.num_layers, {"deep": 5, "plain": 3}[generator.name]
    assert command("render", FILE, "--dry-run").json["layers"] == f"{start}:{stop}"
    assert command("render", FILE, "--dry-run", "--layers", "all").json["layers"] is None
    assert command("render", FILE, "--dry-run", "--layers", "0:1").json["layers"] == "0:1"
    wrong = command("render", FILE, "--layers", "0:9")
    assert wrong.code == 2
    assert f"Error: --layers must be START:STOP with 0 <= START < STOP <= {stop} (the number of layers)" in wrong.err
    assert f"Generator {generator.name!r} has {stop} layers: 0 is the first linear one" in wrong.err
    refused = command("discover", "--layers", "2:9", "--name", "b")
    assert refused.code == 2
    assert f"STOP <= {stop} (the number of layers)" in refused.err


@pytest.mark.parametrize(
    ("space", "recorded"), [("coarse", [0, 4]), ("mid", [4, 8]), ("fine", [8, 12]), ("all", [0, 12]), ("2:5", [2, 5])]
)
@pytest.mark.parametrize("generator", ["plain"], indirect=True)
def test_spaces_by_name_are_recorded_as_ranges(discover, generator, space, recorded):
    """The paper's search spaces, thirds of z."""
    assert discover("--space", space, "--name", "a", "--dry-run").json["resolved"]["space"] == "{}:{}".format(*recorded)
    if space == "mid":
        assert discover("--space", space, "--name", "a").code == 0
        directions = load_directions(FILE)
        assert directions.header["space"] == recorded
        assert not directions.matrix[:, :4].any()
        assert not directions.matrix[:, 8:].any()


def _holds(picture: np.ndarray, tile: np.ndarray) -> bool:
    """Whether a tile is somewhere in a picture, up to rounding."""
    windows = np.lib.stride_tricks.sliding_window_view(picture[..., :3], tile.shape)[:, :, 0]
    return bool((np.abs(windows.astype(int) - tile.astype(int)).max(axis=(2, 3, 4)) <= 1).any())
