"""``--layers`` from learning to pictures: what it is recorded as, shown as, and does."""

from __future__ import annotations

import biggan_models
import pytest

from directions.direction_file import load_directions
from directions.generators.biggan_deep import BigGANDeep

FILE = "outputs/00000-a/directions.safetensors"


@pytest.fixture(autouse=True)
def generator(monkeypatch, loaded):
    """A BigGAN-deep with random weights, which every command loads."""
    model = BigGANDeep(biggan_models.random_model(), name="deep", digest="d" * 64).float()
    monkeypatch.setattr("directions.generators.registry.load_generator", lambda *_, **__: model)


def test_layers_are_recorded_shown_and_kept(command, discover):
    """In the header and by inspect; a resumed run keeps them, and so does render, unless told others."""
    assert discover("--layers", "fine", "--space", "mid", "--name", "a").code == 0
    learned = load_directions(FILE)
    assert "layers 5:7 only" in command("inspect", FILE).out
    shown = command("inspect", FILE, "--json").json
    assert (shown["layers"], shown["config"]["layers"]) == ([5, 6], "fine")
    resumed = command("discover", "--resume", "outputs/00000-a", "--steps", "5", "--layers", "coarse")
    assert resumed.refuses("A resumed run keeps its settings: --layers is fine, got coarse. Only")
    assert (learned.layers, learned.header["space"]) == ((5, 6), [4, 8])

    for asked, named in (([], "5:7"), (["--layers", "all"], None), (["--layers", "0:1"], "0:1")):
        assert command("render", FILE, "--dry-run", *asked).json["layers"] == named
    wrong = command("render", FILE, "--layers", "0:9")
    assert wrong.refuses("--layers must be START:STOP with 0 <= START < STOP <= 7 (the number of layers)")
    assert "Generator 'deep' has 7 layers: 0 is the first linear one" in wrong.err
    refused = command("discover", "--layers", "2:9", "--name", "b")
    assert refused.refuses("STOP <= 7 (the number of layers)")
