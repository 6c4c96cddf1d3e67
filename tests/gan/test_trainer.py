"""The training loop: growth, the average, and runs that end as if they had never been interrupted."""

from __future__ import annotations

import math
import os
import signal

import pytest
import torch
from gan_runs import config, outcome, pictures, training
from killed import kill_at_random, spawn

from directions.errors import Interrupted, NonFiniteError, UserError
from directions.gan.recording import content_of, read_training, record_training, starting_state
from directions.gan.trainer import Trainer, Window, faded, train
from directions.generators.registry import load_generator
from directions.ranks import Ranks
from directions.run import RunFolder
from directions.settings.train import Stage


def run(out, settings=None, trainer=None, **reporting):
    settings = settings or config()
    trainer = trainer or Trainer(settings, pictures())
    folder = RunFolder.create(out, "run", content_of(settings))
    record_training(trainer, folder, **reporting)
    return folder


def go_on(folder, settings=None):
    trainer = Trainer(settings or read_training(folder.path), pictures())
    trainer.load_state_dict(folder.read_checkpoint()["state"])
    record_training(trainer, folder)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run that nothing interrupted."""
    torch.set_num_threads(1)
    return run(tmp_path_factory.mktemp("whole"))


def test_run_fills_its_folder(whole):
    """And the folder is a generator."""
    assert {entry.name for entry in whole.path.iterdir()} == {
        "config.json", "environment.json", "log.txt", "stats.jsonl", "checkpoint.pt", "weights.safetensors", "samples"
    }  # fmt: skip
    stats = whole.read_stats()
    assert [line["step"] for line in stats] == [3, 6, 9, 12, 15, 18, 20]
    assert [line["resolution"] for line in stats] == [4, 8, 8, 8, 8, 8, 8]
    assert [line["alpha"] for line in stats[:4]] == pytest.approx([1.0, 0.4, 1.0, 1.0])
    wanted = {"loss_d", "loss_g", "score_real", "diversity", "gradient_penalty", "infogan", "penalty"}
    assert all(wanted <= line.keys() for line in stats)
    assert len(list((whole.path / "samples").iterdir())) == 3  # after 32 and 60 images, and at the end
    generator = load_generator(str(whole.path))
    average = Trainer(config(), pictures())
    average.load_state_dict(whole.read_checkpoint()["state"])
    z = generator.sample_z(2, seed=0)
    torch.testing.assert_close(generator(z), average.average(z).clamp(-1, 1))
    assert read_training(whole.path) == config()


@pytest.mark.parametrize(("signum", "code", "at"), [(signal.SIGINT, 130, 4), (signal.SIGTERM, 143, 20)])
def test_interrupted_run_resumes_bit_for_bit(whole, tmp_path, signum, code, at, capfd):
    """During fading, and at the very end."""

    def interrupt(trainer, line):
        if trainer.step == at:
            os.kill(os.getpid(), signum)

    with pytest.raises(Interrupted) as caught:
        run(tmp_path, on_step=interrupt)
    assert caught.value.exit_code == code
    folder = RunFolder.open(tmp_path / "00000-run")
    state = folder.read_checkpoint()["state"]
    assert state["counters"]["step"] == min(at + 1, 20)
    assert "Interrupted after step" in (folder.path / "log.txt").read_text()
    go_on(folder)
    assert outcome(folder) == outcome(whole)


def test_penalty_weight_follows_its_ramp():
    """λ rises from 0, where no penalty is computed."""
    ramp = config(penalty_weight=0.2, penalty_ramp_kimg=0.008, first_resolution=8, stable_kimg=0)
    trainer, lines = Trainer(ramp, pictures()), []
    for _ in range(3):
        trainer.train_step()
        lines.append(trainer.record())
    assert [line.get("penalty_weight") for line in lines] == [None, pytest.approx(0.1), pytest.approx(0.2)]


def test_rates_follow_their_schedule():
    """A rate is whole until decay_from, then linearly to nothing."""
    trainer = Trainer(config(kimg=0.1, decay_from=0.5, learning_rate=0.01), pictures())
    rates = []
    for seen in (0, 50, 75, 99):
        trainer.seen = seen
        trainer._set_rates()
        rates.append(trainer.optimisers["generator"].param_groups[0]["lr"])
    assert rates == pytest.approx([0.01, 0.01, 0.005, 0.0002])


def test_run_killed_at_random_moments_is_unbroken(whole, tmp_path):
    """kill -9, several times: no moment is a bad one."""
    kill_at_random(lambda: spawn(training, tmp_path, "broken"), 0.1, 0.6)
    (path,) = (path for path in tmp_path.glob("*-broken") if (path / "config.json").exists())
    folder = RunFolder.open(path)
    assert outcome(folder) == outcome(whole)
    assert not list(path.rglob(".*"))


def test_a_kill_right_after_any_checkpoint_loses_nothing(whole, tmp_path, monkeypatch):
    """What the steps of a checkpoint leave is there before it: they are not taken again."""
    write, kills = RunFolder.write_checkpoint, []

    def write_and_die(folder, state):
        write(folder, state)
        kills.append(state["counters"]["step"])
        raise KeyboardInterrupt

    monkeypatch.setattr(torch, "set_num_threads", lambda count: None)  # for the tests that follow in this process
    monkeypatch.setattr(RunFolder, "write_checkpoint", write_and_die)
    for _ in range(20):
        with pytest.raises(KeyboardInterrupt):
            training(tmp_path, "broken")
    training(tmp_path, "broken")
    assert kills == list(range(1, 21))
    (path,) = tmp_path.glob("*-broken")
    assert outcome(RunFolder.open(path)) == outcome(whole)


def test_what_killed_writes_left_is_removed(tmp_path):
    """In the folder and among the sheets; what a render may be writing, a gallery as a folder, stays."""
    folder = RunFolder.create(tmp_path, "run", content_of(config()))
    for made in ("samples", "pictures", ".3.partial"):
        (folder.path / made).mkdir()
    (folder.path / "pictures" / ".4.partial.gif").touch()
    left = [folder.path / ".1.partial.json", folder.path / "samples" / ".2.partial.png"]
    for path in left:
        path.touch()
    record_training(Trainer(config(), pictures()), folder)
    assert not any(path.exists() for path in left)
    assert (folder.path / "pictures" / ".4.partial.gif").exists()
    assert (folder.path / ".3.partial").is_dir()


def test_average_follows_with_its_half_life():
    """After as many images as the half-life, half of a step remains; a short memory at the start."""
    for settings, seen, times in (({"ema_kimg": 0.008, "ema_ramp": 100.0}, 4, 2), ({"ema_kimg": 1e3}, 80, 1)):
        trainer = Trainer(config(**({"ema_ramp": 0.05, "penalty": "none"} | settings)), pictures())
        average = trainer.average.blocks[0].conv.weight
        before, trainer.seen = average.clone(), seen
        with torch.no_grad():
            trainer.arch.generator.blocks[0].conv.weight += 1
        for _ in range(times):
            trainer._average(4)
        torch.testing.assert_close(average, before + 0.5)


def test_real_images_fade_with_the_networks():
    """At alpha 0 they are what the level before saw, enlarged; at 1 they are themselves."""
    images = pictures().read(torch.arange(4))
    coarse = torch.nn.functional.avg_pool2d(images, 2)
    enlarged = coarse.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
    torch.testing.assert_close(faded(images, Stage(1, 1.0, 4)), images)
    torch.testing.assert_close(faded(images, Stage(0, 1.0, 4)), coarse)
    torch.testing.assert_close(faded(images, Stage(1, 0.25, 4)), 0.25 * images + 0.75 * enlarged)


def test_fine_tuning_starts_from_the_networks_of_a_run(whole):
    """Fully grown, with fresh optimisers, and a latent head of its own where there is none."""
    state = starting_state(str(whole.path))
    trainer = Trainer(config(fine_tune=str(whole.path)), pictures())
    trainer.start_from(state)
    assert (trainer.last_stage.level, trainer.last_stage.alpha, trainer.step) == (1, 1.0, 0)
    for name, network in trainer.networks.items():
        for key, tensor in network.state_dict().items():
            assert torch.equal(tensor, state["networks"][name][key]) or key.startswith("latent_head")
    next(train(trainer))
    decay = 0.5 ** (trainer.last_batch / 50)  # ema_kimg is 0.05, from the start on
    now = trainer.arch.generator.state_dict()
    for key, mean in trainer.average.state_dict().items():
        torch.testing.assert_close(mean, torch.lerp(state["networks"]["average"][key], now[key], 1 - decay))
    with pytest.raises(UserError, match=r"networks of the same sizes.*there are 3, 6,4, 8, here 3, 6,6, 8"):
        Trainer(config(channels=(6, 6)), pictures()).start_from(state)
    short = dict(state, counters=state["counters"] | {"seen": 16})
    with pytest.raises(UserError, match=r"fine_tune must name a run that has grown to 8 pixels"):
        trainer.start_from(short)


def test_losses_that_are_no_numbers_stop_the_run(tmp_path):
    """The checkpoint before stays, and is good."""
    trainer = Trainer(config(checkpoint_minutes=0.0), pictures())

    def poison(trainer, line):
        if trainer.step == 7:
            with torch.no_grad():
                trainer.arch.generator.blocks[0].conv.weight.fill_(float("nan"))

    with pytest.raises(NonFiniteError, match=r"not finite after step 8"):
        run(tmp_path, trainer=trainer, on_step=poison)
    folder = RunFolder.open(tmp_path / "00000-run")
    state = folder.read_checkpoint()["state"]
    assert state["counters"]["step"] == 7
    assert all(tensor.isfinite().all() for tensor in state["networks"]["generator"].values())
    assert "not finite" in (folder.path / "log.txt").read_text()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, r"no config\.json"),
        ("{}", "not a run of `gan train`"),
        ('{"training": {"data": "x", "loss": "hinge"}}', "loss must be wgan-gp or nonsaturating, got 'hinge'. Start"),
        ("{", "cannot be used"),
    ],
)
def test_damaged_folders_are_refused(tmp_path, content, message):
    """Each with its own message; so are runs of an architecture that is no longer trained."""
    if content is not None:
        (tmp_path / "config.json").write_text(content)
    with pytest.raises(UserError, match=message):
        read_training(tmp_path)


def filled(window, *values, name="diversity"):
    for value in values:
        window.add({name: torch.tensor(value), "loss_d": torch.tensor(2.0)}, 0.5)
    return window


@pytest.mark.parametrize("none", [math.inf, math.nan])
def test_window_leaves_out_steps_without_a_diversity(none):
    """The mean is over the others; a window that has no other has no diversity, and the next one starts anew."""
    window = Window(Ranks())
    window.load_state_dict(filled(Window(Ranks()), 1.0, none).state_dict(), torch.device("cpu"))  # goes on
    assert filled(window, 2.0).finite()
    assert window.means(3) == {"diversity": 1.5, "loss_d": 2.0, "seconds": 0.5}
    assert filled(window, none).means(4) == {"loss_d": 2.0, "seconds": 0.5}
    assert not filled(filled(window, 1.0), none, name="loss_g").finite()
    with pytest.raises(NonFiniteError, match=r"loss_g became (inf|nan) within the 2 steps up to step 2"):
        window.means(2)
