"""``--layers`` from learning to pictures: what it is recorded as, shown as, and does."""

from __future__ import annotations

import biggan_models
import naive_biggan
import pytest

from directions.direction_file import load_directions
from directions.generators.biggan import BigGAN
from directions.generators.biggan_deep import BigGANDeep

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
def test_layers_are_recorded_shown_and_kept(generator, start, stop, command, discover):
    """In the header and by inspect; a resumed run keeps them, and so does render, unless told others."""
    assert discover("--generator", generator.name, "--layers", "fine", "--name", "a").code == 0
    learned = load_directions(FILE)
    assert f"layers {start}:{stop} only" in command("inspect", FILE).out
    shown = command("inspect", FILE, "--json").json
    assert (shown["layers"], shown["config"]["layers"]) == (list(range(start, stop)), "fine")
    resumed = command("discover", "--resume", "outputs/00000-a", "--steps", "5", "--layers", "coarse")
    assert resumed.refuses("A resumed run keeps its settings: --layers is fine, got coarse. Only")
    assert learned.layers == tuple(range(start, stop))

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
