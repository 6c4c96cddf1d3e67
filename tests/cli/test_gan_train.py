"""``directions gan train``: what it makes and says, and what it refuses without leaving anything behind."""

from __future__ import annotations

import json
import signal

import numpy as np
import pytest
import torch
from PIL import Image

from directions.errors import Interrupted
from directions.gan.trainer import Trainer
from directions.generators.registry import load_generator as real_load_generator
from directions.run import RunFolder

FAST = (
    "--resolution 8 --channels 4,4 --dim-z 3 --batch-size 4 --kimg 0.02 --stable-kimg 0.004 --fade-kimg 0.004 "
    "--stats-every 1 --cache cache"
)


@pytest.fixture
def pictures(command, tmp_path):
    """A folder of images, in the folder that the command runs in."""
    (tmp_path / "pictures").mkdir()
    for number in range(6):
        pixels = np.random.default_rng(number).integers(0, 256, (9, 12, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / "pictures" / f"{number}.png")
    return tmp_path / "pictures"


@pytest.fixture
def train(command, pictures):
    """Run ``directions gan train`` with settings that take no time."""

    def run(*arguments):
        return command("gan", "train", "--data", "pictures", *FAST.split(), *arguments)

    return run


def test_train_makes_a_generator(train, tmp_path):
    """A run folder that loads by its path; the result on stdout, progress on stderr."""
    result = train("--penalty", "hessian")
    assert result.code == 0, result.err
    assert "Trained for 0.02 kimg: outputs/00000-pictures/weights.safetensors" in result.out
    assert "directions discover --generator outputs/00000-pictures" in result.out
    assert "Run folder: outputs/00000-pictures" in result.err
    assert float(torch.tensor([1e-310], dtype=torch.float64) * 1) > 0  # denormals are flushed while it trains only
    generator = real_load_generator(str(tmp_path / "outputs/00000-pictures"))
    assert generator(generator.sample_z(2, seed=0)).shape == (2, 3, 8, 8)
    config = json.loads((tmp_path / "outputs/00000-pictures/config.json").read_text())
    assert config["arch"] == "progan"
    assert config["training"]["penalty"] == "hessian"


@pytest.mark.parametrize("size", ["2", "3"])
def test_train_takes_batches_smaller_than_a_group(train, size):
    """As the help says; growth and the latent head included. Some batches are one image drawn again."""
    result = train("--batch-size", size, "--infogan", "1", "--json")
    assert result.code == 0, result.err
    assert result.json["last"]["resolution"] == 8
    stats = RunFolder.open(result.json["folder"]).read_stats()
    without = [line for line in stats if "diversity" not in line]
    assert bool(without) == (size == "2")


def test_dry_run_checks_everything_and_writes_no_run(train, tmp_path):
    """The resolved settings, with what the data and the networks are."""
    result = train("--dry-run", "--learning-rate", "0.003")
    assert result.json["config"]["discriminator_rate"] == 0.003
    assert result.json["resolved"]["images"] == 6
    assert result.json["resolved"]["growth_kimg"] == 0.008
    assert not (tmp_path / "outputs").exists()


def test_resume_goes_on_and_may_add_kimg(train, command, tmp_path):
    """Other settings must be what they were."""
    train()
    result = command("gan", "train", "--resume", "outputs/00000-pictures", "--kimg", "0.03", "--json")
    assert result.json["last"]["kimg"] == 0.032
    lines = (tmp_path / "outputs/00000-pictures/stats.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == list(range(1, 9))
    refused = command("gan", "train", "--resume", "outputs/00000-pictures", "--dim-z", "4")
    assert refused.code == 2
    assert "--dim-z is 3, got 4" in refused.err
    refused = command("gan", "train", "--resume", "outputs/00000-pictures", "--name", "x")
    assert (refused.code, "--name cannot be given with --resume" in refused.err) == (2, True)
    dry = command("gan", "train", "--resume", "outputs/00000-pictures", "--kimg", "0.04", "--dry-run")
    assert dry.json["resolved"]["first_kimg"] == 0.032
    decaying = train("--decay-from", "0.5", "--name", "decaying")
    assert decaying.code == 0
    refused = command("gan", "train", "--resume", "outputs/00001-decaying", "--kimg", "0.04")
    assert (refused.code, "--kimg cannot change when rates decay" in refused.err) == (2, True)


def test_run_and_images_can_be_moved(train, command, tmp_path, monkeypatch):
    """From any folder; --data says where the same images are now, and others are refused."""
    assert "Images: 6 of" in train().err
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    resume = ("gan", "train", "--resume", "../outputs/00000-pictures", "--kimg")
    assert command(*resume, "0.024").code == 0
    (tmp_path / "pictures").rename(tmp_path / "moved")
    refused = command(*resume, "0.028")
    assert (refused.code, "Say where the images are with --data" in refused.err) == (2, True)
    assert command(*resume, "0.028", "--data", "../moved").code == 0
    assert command(*resume, "0.032").code == 0  # it is known from then on
    (tmp_path / "moved" / "0.png").unlink()
    refused = command(*resume, "0.036")
    assert (refused.code, "--data must be the images of the run" in refused.err) == (2, True)


def test_fine_tune_takes_the_sizes_over(train, command, tmp_path):
    """And says so when they are asked to differ."""
    train()
    arguments = ("gan", "train", "--data", "pictures", "--cache", "cache", "--fine-tune", "outputs/00000-pictures")
    options = ("--batch-size", "4", "--kimg", "0.012", "--stats-every", "1")
    result = command(*arguments, *options, "--penalty", "hessian", "--penalty-ramp-kimg", "0.008", "--name", "tuned")
    assert result.code == 0, result.err
    lines = [json.loads(line) for line in (tmp_path / "outputs/00001-tuned/stats.jsonl").read_text().splitlines()]
    assert [line.get("penalty_weight") for line in lines] == [None, 0.025, 0.05]
    assert {line["resolution"] for line in lines} == {8}
    refused = command(*arguments, *options, "--dim-z", "5")
    assert refused.code == 2
    assert "--fine-tune must name a run with networks of the same sizes" in refused.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--channels", "4,x"], "--channels must be whole numbers of at least 1, separated by commas, got '4,x'"),
        (["--channels", "4,4,4"], "--channels must be 2 numbers"),
        (["--kimg", "0.001"], "--kimg must be at least 0.008"),
        (["--penalty-layers", "4"], "--penalty-layers must be paper"),
        (["--device", "cuda:99"], "device 'cuda:99' is not there"),
        (["--fine-tune", "nowhere"], "nowhere is not a run folder"),
        (["--name", "a/b"], "name must be letters"),
        (["--data", "nowhere"], "--data must be a folder, got"),
    ],
)
def test_wrong_options_are_named(train, tmp_path, arguments, message):
    """Exit code 2, one line, and no folder left behind."""
    result = train(*arguments)
    assert result.code == 2
    assert message in result.err
    assert not (tmp_path / "outputs").exists()


@pytest.mark.parametrize(("signum", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signal_prints_the_command_that_goes_on(train, monkeypatch, signum, code):
    """And exits as a shell expects."""

    def stop(self):
        raise Interrupted(signum)

    monkeypatch.setattr(Trainer, "train_step", stop)
    result = train()
    assert result.code == code
    assert "To go on: directions gan train --resume outputs/00000-pictures" in result.err
