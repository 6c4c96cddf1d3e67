"""Several processes that share each batch train what one process trains, up to rounding."""

from __future__ import annotations

import json
import signal
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from gan_runs import config, gan_steps, gradients_of, pictures
from PIL import Image
from ranks import Started, command_line, wait_until

from directions.cli.main import main
from directions.errors import UserError
from directions.gan.trainer import Trainer
from directions.settings.train import TrainConfig

FAST = (
    "--resolution 8 --channels 4,4 --dim-z 3 --batch-size 8 --stable-kimg 0.016 --fade-kimg 0.016 --stats-every 2 "
    "--device cpu"
)


def test_two_ranks_train_what_one_trains(tmp_path):
    """The same samples, gradients averaged: losses and weights agree, and both ranks hold the same ones."""
    # Adam's first step is of one size however small a gradient is, so that rounding may turn the smallest about: the
    # discriminator stays nearly as it is, for the generator's gradient to be compared.
    settings = config(batch_size=(8,), penalty="none", stats_every=1, discriminator_rate=1e-9).to_dict()
    first, second = Started(gan_steps, settings, 5).results()
    assert first["weights"].keys() == second["weights"].keys()
    for name, tensor in first["weights"].items():
        assert np.array_equal(tensor, second["weights"][name])
    trainer = Trainer(TrainConfig.from_dict(settings), pictures())
    trainer.train_step()
    wanted = gradients_of(trainer)
    error = {name: np.abs(first["gradients"][name] - gradient).max() for name, gradient in wanted.items()}
    assert error["discriminator"] < 1e-5 * np.abs(wanted["discriminator"]).max()
    assert error["generator"] < 1e-5 * np.abs(wanted["generator"]).max()
    terms = trainer.record()
    for name in ("loss_d", "score_real", "score_fake", "gradient_penalty", "infogan"):
        assert first["records"][0][name] == pytest.approx(terms[name], rel=1e-5, abs=1e-6)


def test_batches_that_cannot_be_shared_are_refused():
    """Each part needs two images, and whole groups of minibatch stddev."""
    for batch, world_size in ((8, 3), (4, 4), (12, 2)):
        with pytest.raises(UserError, match=f"batch_size must be divisible by the {world_size} processes"):
            Trainer(config(batch_size=(batch,)), pictures(), ranks=SimpleNamespace(rank=0, world_size=world_size))


def test_ranks_stop_together_and_one_process_goes_on(tmp_path, monkeypatch):
    """A signal to one of them; rank 0 alone writes and speaks."""
    (tmp_path / "pictures").mkdir()
    for number in range(8):
        pixels = np.random.default_rng(number).integers(0, 256, (8, 8, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / "pictures" / f"{number}.png")
    places = {"data": "pictures", "cache": "cache", "out": "out"}
    places = [word for name, place in places.items() for word in (f"--{name}", str(tmp_path / place))]
    started = Started(command_line, "gan", "train", *FAST.split(), "--kimg", "1000", *places, out=tmp_path)
    stats = tmp_path / "out" / "00000-pictures" / "stats.jsonl"
    wait_until(lambda: stats.exists() and len(stats.read_text().splitlines()) >= 3, started)
    started.processes[1].terminate()
    assert started.exit_codes() == [128 + signal.SIGTERM] * 2
    told = started.printed(0) + started.printed(1)
    assert told.count("--nproc-per-node 2 -m directions gan train --resume") == 1
    steps = torch.load(stats.with_name("checkpoint.pt"), weights_only=True)["state"]["counters"]["step"]
    assert json.loads(stats.read_text().splitlines()[-1])["step"] <= steps
    assert (stats.parent / "weights.safetensors").exists()

    monkeypatch.chdir(tmp_path)
    kimg = str(8 * (steps + 2) / 1000)
    assert main(["gan", "train", "--resume", str(stats.parent), "--kimg", kimg, "--quiet"]) == 0
    assert json.loads(stats.read_text().splitlines()[-1])["step"] == steps + 2
