"""Generators that users bring and that will not do: one sentence, exit status 2, and nothing is left behind."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import biggan_models
import naive_biggan
import pytest
import torch

MODULE = """
import torch
from torch import nn


class Images(nn.Module):
    dim_z = 3

    def __init__(self, make):
        super().__init__()
        self.make, self.calls = make, 0

    def forward(self, z):
        self.calls += 1
        return self.make(torch.tanh(z[:, :, None, None].expand(-1, 3, 4, 4)), self.calls)


def noisy(): return Images(lambda x, calls: x + 0.01 * torch.rand_like(x))
def bright(): return Images(lambda x, calls: 127.5 * (x + 1))
def failing(): raise FileNotFoundError("no weights.pt")
def fine(): return Images(lambda x, calls: x)
"""


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> Path:
    """A folder with files of every kind."""
    path = tmp_path_factory.mktemp("files")
    state = naive_biggan.random_state(widths=(8, 8, 8), num_classes=1000, attention=())
    model = biggan_models.random_model()
    (path / "mine_faulty.py").write_text(MODULE)
    torch.save(state, path / "G_ema.pth")
    torch.save({"conv.weight": torch.zeros(3, 3)}, path / "other.pth")
    torch.save(model.state_dict(), path / "deep.pth")
    (path / "folder").mkdir()
    torch.save(model.state_dict(), path / "folder" / "pytorch_model.bin")
    (path / "folder" / "config.json").write_text(json.dumps(model.config.to_dict() | {"z_dim": 13}))
    return path


@pytest.fixture
def here(files, real_command, monkeypatch):
    """Run a command in that folder."""
    monkeypatch.chdir(files)
    monkeypatch.setenv("DIRECTIONS_OFFLINE", "1")
    yield real_command
    sys.modules.pop("mine_faulty", None)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--generator other.pth", "other.pth is no plain BigGAN's generator: it has no linear.weight"),
        ("--generator biggan-128 --weights deep.pth", "looks like a BigGAN-deep: load it as biggan-deep-128"),
        ("--generator folder", "does not fit folder/config.json: 99 have other shapes, such as embeddings.weight"),
        ("--generator mine_faulty:failing", "mine_faulty:failing raised FileNotFoundError: no weights.pt."),
        ("--generator mine_faulty:noisy", "mine_faulty:noisy gives other images each time for the same z"),
        ("--generator mine_faulty:bright", "must give images in [-1, 1], got values from"),
        ("--generator mine_faulty:fine --classes 3", "--classes must be 'all': generator 'mine_faulty:fine' has none"),
        ("--generator G_ema.pth --layers 2:9", "Generator 'G_ema.pth' has 3 layers: 0 is the first linear one (4 pix"),
        ("--generator G_ema.pth --device cuda:7", "device 'cuda:7' is not there: torch"),
    ],
    ids=lambda value: value if value.startswith("--") else "",
)
def test_faulty_generators_are_refused_by_the_command_line(here, arguments, message):
    """What is wrong, with what, and what to do; no traceback, no run folder."""
    result = here("discover", *arguments.split(), "--steps", "1")
    assert result.refuses(message)
    assert result.err.startswith("Error: ")
    assert not Path("outputs").exists()


def test_sound_ones_are_not(here):
    """The same files and functions, where nothing is wrong with them; several classes by name and index."""
    assert here("discover", "--generator", "mine_faulty:fine", "--dry-run").code == 0
    classes = "golden retriever,497,goldfish"
    result = here("discover", "--generator", "G_ema.pth", "--layers", "fine", "--classes", classes, "--dry-run")
    resolved = result.json["resolved"]
    assert resolved["classes"] == [207, 497, 1]
    assert (resolved["layers"], resolved["space"]) == ("2:3", "6:9")
