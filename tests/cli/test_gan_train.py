"""``directions gan train``: what it makes and says, and what it refuses without leaving anything behind."""

from __future__ import annotations

import json
import signal

import pytest
import torch

from directions.errors import Interrupted
from directions.gan.trainer import Trainer
from directions.generators.registry import load_generator as real_load_generator
from directions.run import RunFolder


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


def test_train_takes_batches_smaller_than_a_group(train):
    """As the help says; growth and the latent head included. Some batches are one image drawn again."""
    result = train("--batch-size", "2", "--infogan", "1", "--json")
    assert result.json["last"]["resolution"] == 8
    stats = RunFolder.open(result.json["folder"]).read_stats()
    assert [line for line in stats if "diversity" not in line]


def test_resume_goes_on_and_may_add_kimg(train, command, tmp_path):
    """Other settings must be what they were."""
    resume = ("gan", "train", "--resume", "outputs/00000-pictures")
    dry = train("--dry-run", "--learning-rate", "0.003").json
    assert dry["config"]["discriminator_rate"] == 0.003
    assert (dry["resolved"]["images"], dry["resolved"]["growth_kimg"]) == (6, 0.008)
    assert not (tmp_path / "outputs").exists()
    train()
    assert command(*resume, "--kimg", "0.03", "--json").json["last"]["kimg"] == 0.032
    lines = (tmp_path / "outputs/00000-pictures/stats.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == list(range(1, 9))
    assert command(*resume, "--dim-z", "4").refuses("--dim-z is 3, got 4")
    assert command(*resume, "--name", "x").refuses("--name cannot be given with --resume")
    assert command(*resume, "--kimg", "0.04", "--dry-run").json["resolved"]["first_kimg"] == 0.032
    assert train("--decay-from", "0.5", "--name", "decaying").code == 0
    refused = command("gan", "train", "--resume", "outputs/00001-decaying", "--kimg", "0.04")
    assert refused.refuses("--kimg cannot change when rates decay")


def test_run_and_images_can_be_moved(train, command, tmp_path, monkeypatch):
    """From any folder; --data says where the same images are now, and others are refused."""
    assert "Images: 6 of" in train().err
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    resume = ("gan", "train", "--resume", "../outputs/00000-pictures", "--kimg")
    assert command(*resume, "0.024").code == 0
    (tmp_path / "pictures").rename(tmp_path / "moved")
    assert command(*resume, "0.028").refuses("Say where the images are with --data")
    assert command(*resume, "0.028", "--data", "../moved").code == 0
    assert command(*resume, "0.032").code == 0  # it is known from then on
    (tmp_path / "moved" / "0.png").unlink()
    assert command(*resume, "0.036").refuses("--data must be the images of the run")


def test_fine_tune_takes_the_sizes_over(train, command, tmp_path):
    """And says so when they are asked to differ."""
    train()
    options = "--data pictures --cache cache --fine-tune outputs/00000-pictures --batch-size 4 --kimg 0.012"
    tune = ("gan", "train", *options.split(), "--stats-every", "1")
    result = command(*tune, "--penalty", "hessian", "--penalty-ramp-kimg", "0.008", "--name", "tuned")
    assert result.code == 0, result.err
    lines = [json.loads(line) for line in (tmp_path / "outputs/00001-tuned/stats.jsonl").read_text().splitlines()]
    assert [line.get("penalty_weight") for line in lines] == [None, 0.025, 0.05]
    assert {line["resolution"] for line in lines} == {8}
    assert command(*tune, "--dim-z", "5").refuses("--fine-tune must name a run with networks of the same sizes")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--channels", "4,x"], "--channels must be whole numbers of at least 1, separated by commas, got '4,x'"),
        (["--kimg", "0.001"], "--kimg must be at least 0.008"),
        (["--device", "cuda:99"], "device 'cuda:99' is not there"),
        (["--fine-tune", "nowhere"], "nowhere is not a run folder"),
        (["--name", "a/b"], "name must be letters"),
        (["--data", "nowhere"], "--data must be a folder, got"),
    ],
)
def test_wrong_options_are_named(train, tmp_path, arguments, message):
    """Exit code 2, one line, and no folder left behind."""
    assert train(*arguments).refuses(message)
    assert not (tmp_path / "outputs").exists()


def test_signal_prints_the_command_that_goes_on(train, monkeypatch):
    """And exits as a shell expects."""

    def stop(self):
        raise Interrupted(signal.SIGTERM)

    monkeypatch.setattr(Trainer, "train_step", stop)
    result = train()
    assert result.code == 143
    assert "To go on: directions gan train --resume outputs/00000-pictures" in result.err
