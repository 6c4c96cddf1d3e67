"""The training loop: growth, the average, and runs that end as if they had never been interrupted."""

from __future__ import annotations

import os
import random
import signal

import pytest
import torch
from gan_runs import config, outcome, pictures, spawn

from directions.errors import NonFiniteError, UserError
from directions.gan.fading import faded
from directions.gan.recording import record_training
from directions.gan.run_folder import TrainingFolder
from directions.gan.schedule import Schedule, Stage
from directions.gan.starting import starting_state
from directions.gan.trainer import Trainer, train
from directions.generators.registry import load_generator
from directions.runs.signals import Interrupted


def run(out, settings=None, trainer=None, **reporting):
    settings = settings or config()
    trainer = trainer or Trainer(settings, pictures())
    folder = TrainingFolder.create(out, "run", settings, trainer.arch.export_config())
    record_training(trainer, folder, **reporting)
    return folder


def go_on(folder, settings=None):
    trainer = Trainer(settings or folder.read_config(), pictures())
    trainer.load_state_dict(folder.read_checkpoint())
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
    stats = whole.run.read_stats()
    assert [line["step"] for line in stats] == [3, 6, 9, 12, 15, 18, 20]
    assert [line["resolution"] for line in stats] == [4, 8, 8, 8, 8, 8, 8]
    assert [line["alpha"] for line in stats[:4]] == pytest.approx([1.0, 0.4, 1.0, 1.0])
    wanted = {"loss_d", "loss_g", "score_real", "diversity", "gradient_penalty", "infogan", "penalty"}
    assert all(wanted <= line.keys() for line in stats)
    assert len(list(whole.sheets_path.iterdir())) == 3  # after 32 and 60 images, and at the end
    generator = load_generator(str(whole.path))
    average = Trainer(config(), pictures())
    average.load_state_dict(whole.read_checkpoint())
    z = generator.sample_z(2, seed=0)
    torch.testing.assert_close(generator(z), average.average(z).clamp(-1, 1))
    assert whole.read_config() == config()


@pytest.mark.parametrize(("signum", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("at", [1, 4, 20])
def test_interrupted_run_resumes_bit_for_bit(whole, tmp_path, signum, code, at, capfd):
    """In the middle of a record, during fading, and at the very end."""

    def interrupt(trainer, record):
        if trainer.step == at:
            os.kill(os.getpid(), signum)

    with pytest.raises(Interrupted) as caught:
        run(tmp_path, on_step=interrupt)
    assert caught.value.exit_code == code
    folder = TrainingFolder.open(tmp_path / "00000-run")
    assert folder.read_checkpoint()["counters"]["step"] == min(at + 1, 20)
    assert "Interrupted after step" in (folder.path / "log.txt").read_text()
    go_on(folder)
    assert outcome(folder) == outcome(whole)


def test_run_killed_at_random_moments_is_unbroken(whole, tmp_path):
    """kill -9, several times: no moment is a bad one."""
    rng = random.Random(0)
    kills = 0
    while True:
        process = spawn(tmp_path, "broken")
        process.join(rng.uniform(0.1, 0.8) if kills < 4 else None)
        if process.exitcode is not None:
            break
        process.kill()
        process.join()
        kills += 1
    assert process.exitcode == 0
    assert kills > 0
    (path,) = (path for path in tmp_path.glob("*-broken") if (path / "config.json").exists())
    folder = TrainingFolder.open(path)
    assert outcome(folder) == outcome(whole)
    assert not list(path.glob(".*"))


def test_extended_run_equals_one_asked_for_at_once(whole, tmp_path):
    """Whatever the length at first."""
    folder = run(tmp_path, config(kimg=0.048))
    folder.write_config(config(), {"arch": "progan"})
    go_on(folder, config())
    ours, theirs = outcome(folder), outcome(whole)
    assert ours[1:5] == theirs[1:5]


def test_average_follows_with_its_half_life():
    """After as many images as the half-life, half of a step remains; a short memory at the start."""
    trainer = Trainer(config(ema_kimg=0.008, ema_ramp=100.0, penalty="none"), pictures())
    weights, average = trainer.arch.generator.blocks[0].conv.weight, trainer.average.blocks[0].conv.weight
    before = average.clone()
    with torch.no_grad():
        weights += 1
    trainer.seen = 4
    trainer._average(4)
    trainer._average(4)
    torch.testing.assert_close(average, before + 0.5)
    early = Trainer(config(ema_kimg=1000.0, ema_ramp=0.05, penalty="none"), pictures())
    early.seen = 80  # half-life 4 images
    with torch.no_grad():
        early.arch.generator.blocks[0].conv.weight += 1
    early._average(4)
    torch.testing.assert_close(early.average.blocks[0].conv.weight, before + 0.5)


def test_optimisers_start_anew_at_each_resolution():
    """Moments are of the new level only."""
    trainer = Trainer(config(), pictures())
    for _ in range(3):
        trainer.train_step()
    steps = lambda: {int(entry["step"]) for entry in trainer.optimisers["generator"].state.values()}  # noqa: E731
    assert steps() == {3}
    trainer.train_step()
    assert trainer.level == 1
    assert steps() == {1}


def test_rates_decay_when_asked():
    """Whole until decay_from, then linearly to nothing."""
    trainer = Trainer(config(kimg=0.1, decay_from=0.5, learning_rate=0.01), pictures())
    rates = []
    for seen in (0, 50, 75, 99):
        trainer.seen = seen
        trainer._set_rates()
        rates.append(trainer.optimisers["generator"].param_groups[0]["lr"])
    assert rates == pytest.approx([0.01, 0.01, 0.005, 0.0002])


def test_real_images_fade_with_the_networks():
    """At alpha 0 they are what the level before saw, enlarged; at 1 they are themselves."""
    images, _ = pictures().batch(torch.arange(4))
    coarse = torch.nn.functional.avg_pool2d(images, 2)
    enlarged = coarse.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
    torch.testing.assert_close(faded(images, Stage(1, 1.0, 4)), images)
    torch.testing.assert_close(faded(images, Stage(0, 1.0, 4)), coarse)
    torch.testing.assert_close(faded(images, Stage(1, 0.25, 4)), 0.25 * images + 0.75 * enlarged)


def test_schedule_goes_through_the_levels():
    """Stable, then fade and stable for each level, the last one without an end."""
    schedule = Schedule(1, fade=(9, 10, 20), stable=(5, 10, 99), batch_sizes=(8, 4, 2))
    stages = [schedule.at(seen) for seen in (0, 4, 5, 10, 15, 24, 25, 35, 45, 10**9)]
    assert [stage.level for stage in stages] == [1, 1, 2, 2, 2, 2, 3, 3, 3, 3]
    assert [stage.alpha for stage in stages] == [1, 1, 0, 0.5, 1, 1, 0, 0.5, 1, 1]
    assert [stage.batch_size for stage in stages] == [8, 8, 4, 4, 4, 4, 2, 2, 2, 2]
    assert (schedule.growth, schedule.last_level) == (45, 3)
    assert Schedule(3, (9,), (9,), (8,)).at(100) == Stage(3, 1.0, 8)


def test_fine_tuning_starts_from_the_networks_of_a_run(whole):
    """Fully grown, with fresh optimisers, and a latent head of its own where there is none."""
    theirs, state = starting_state(str(whole.path))
    trainer = Trainer(config(fine_tune=str(whole.path)), pictures())
    trainer.start_from(state)
    assert (trainer.stage.level, trainer.stage.alpha, trainer.step) == (1, 1.0, 0)
    for name, network in trainer._networks().items():
        for key, tensor in network.state_dict().items():
            assert torch.equal(tensor, state["networks"][name][key]) or key.startswith("latent_head")
    next(train(trainer))
    with pytest.raises(UserError, match=r"networks of the same sizes.*there are .*6,4 and 8, here .*6,6 and 8"):
        Trainer(config(channels=(6, 6)), pictures()).start_from(state)
    short = dict(state, counters=state["counters"] | {"seen": 16})
    with pytest.raises(UserError, match=r"fine_tune must name a run that has grown to 8 pixels"):
        trainer.start_from(short)
    assert theirs == config()


def test_fine_tuning_goes_on_with_the_average(whole):
    """The average of the run that it starts from is kept in it, with the half-life of a long run."""
    _, state = starting_state(str(whole.path))
    settings = config(fine_tune=str(whole.path), ema_kimg=1.0)
    trainer = Trainer(settings, pictures())
    trainer.start_from(state)
    next(train(trainer))
    decay = 0.5 ** (trainer.last_batch / 1000)
    now = trainer.arch.generator.state_dict()
    for key, mean in trainer.average.state_dict().items():
        expected = torch.lerp(state["networks"]["average"][key], now[key], 1 - decay)
        torch.testing.assert_close(mean, expected)


def test_losses_that_are_no_numbers_stop_the_run(tmp_path):
    """The checkpoint before stays, and is good."""
    trainer = Trainer(config(checkpoint_minutes=0.0), pictures())

    def poison(trainer, record):
        if trainer.step == 7:
            with torch.no_grad():
                trainer.arch.generator.blocks[0].conv.weight.fill_(float("nan"))

    with pytest.raises(NonFiniteError, match=r"not finite after step 8"):
        run(tmp_path, trainer=trainer, on_step=poison)
    folder = TrainingFolder.open(tmp_path / "00000-run")
    state = folder.read_checkpoint()
    assert state["counters"]["step"] == 7
    assert all(tensor.isfinite().all() for tensor in state["networks"]["generator"].values())
    assert "not finite" in (folder.path / "log.txt").read_text()


def test_record_names_what_is_no_number():
    """So that the user sees which loss it was."""
    trainer = Trainer(config(stats_every=1, penalty="none", infogan=0), pictures())
    with torch.no_grad():
        trainer.arch.discriminator.dense_1.bias.fill_(float("inf"))
    with pytest.raises(NonFiniteError, match=r"loss_d became nan within the 1 steps up to step 1"):
        next(train(trainer))


@pytest.mark.parametrize(
    ("settings", "images", "message"),
    [({"seed": 1}, 8, "other settings: seed differ"), ({}, 16, "trained on other images")],
)
def test_checkpoint_of_another_run_is_refused(whole, settings, images, message):
    """Which is said."""
    with pytest.raises(UserError, match=message):
        Trainer(config(**settings), pictures(images)).load_state_dict(whole.read_checkpoint())


def test_damaged_folders_are_refused(whole, tmp_path):
    """Each with its own message."""
    path = tmp_path / "run"
    path.mkdir()
    with pytest.raises(UserError, match=r"no config\.json"):
        TrainingFolder.open(path)
    (path / "config.json").write_text("{}")
    with pytest.raises(UserError, match="not a run of `gan train`"):
        TrainingFolder.open(path)
    (path / "config.json").write_text('{"training": {"data": "x", "depth": 3}}')
    with pytest.raises(UserError, match="depth is not a setting of a training run"):
        TrainingFolder.open(path)
    (path / "config.json").write_text("{")
    with pytest.raises(UserError, match="damaged"):
        TrainingFolder.open(path)
    (path / "config.json").write_bytes((whole.path / "config.json").read_bytes())
    assert TrainingFolder.open(path).read_checkpoint() is None
    with pytest.raises(UserError, match="a run with a checkpoint"):
        starting_state(str(path))
    (path / "checkpoint.pt").write_bytes(b"PK\x03\x04 half a file")
    with pytest.raises(UserError, match="damaged or not a checkpoint"):
        TrainingFolder.open(path).read_checkpoint()


def test_tensorboard_events_are_written(tmp_path):
    """Beside the lines of stats.jsonl."""
    folder = run(tmp_path, config(kimg=0.036), tensorboard=True)
    assert list((folder.path / "tensorboard").glob("events*"))


@pytest.mark.parametrize("penalty", ["none", "hessian"])
def test_penalty_is_computed_in_full_float32(monkeypatch, penalty):
    """On a GPU too, which would multiply in TF32 without being asked."""
    trainer = Trainer(config(penalty=penalty), pictures())
    allowed = []
    original = trainer.arch.generator_terms

    def terms(batch):
        allowed.append(torch.backends.cudnn.allow_tf32)
        return original(batch)

    monkeypatch.setattr(trainer.arch, "generator_terms", terms)
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    trainer.train_step()
    assert allowed == [penalty == "none"]
    assert torch.backends.cudnn.allow_tf32


def test_bfloat16_trains():
    """Weights stay float32."""
    trainer = Trainer(config(bfloat16=True), pictures())
    for _ in range(4):
        trainer.train_step()
    trainer.check_finite()
    assert {p.dtype for p in trainer.arch.generator.parameters()} == {torch.float32}
