"""Recorded runs: interrupted at any moment and resumed, they end as if nothing had happened."""

from __future__ import annotations

import os
import random
import signal
import time

import pytest
import torch
from closed import DoubleGenerator
from killed import spawn

from directions.config import DiscoverConfig
from directions.direction_file import load_directions
from directions.discovery.loop import discover
from directions.errors import NonFiniteError, UserError
from directions.runs.discovery_run import record_run, require_tensorboard
from directions.runs.folder import RunFolder
from directions.runs.signals import Interrupted

CONFIG = DiscoverConfig(
    method="adam",
    steps=7,
    batch_size=2,
    held_out=3,
    held_out_probes=2,
    eval_every=3,
    checkpoint_every=2,
    final_samples=2,
)


def run(out, config=CONFIG, generator=None, **reporting):
    generator = generator or DoubleGenerator()
    folder = RunFolder.create(out, "run", config)
    return folder, record_run(discover(generator, config), generator, config, folder, **reporting)


def go_on(folder, config=CONFIG, generator=None):
    generator = generator or DoubleGenerator()
    state = folder.read_checkpoint(generator)
    folder.write_config(config)
    return record_run(discover(generator, config, resume_from=state), generator, config, folder)


def outcome(path):
    """Everything of a run folder that must not depend on interruptions."""
    folder = RunFolder.open(path)
    stats = [{**line, "seconds": None} for line in folder.read_stats()]
    checkpoint = torch.load(folder.checkpoint_path, weights_only=True)["state"]
    return folder.directions_path.read_bytes(), stats, checkpoint["A"].tolist(), folder.config_path.read_text()


def test_record_run_fills_the_folder(tmp_path):
    """Everything that the README of outputs/ promises."""
    stages, steps = [], []
    folder, directions = run(tmp_path, on_record=lambda r: steps.append(r.step), on_stage=stages.append)
    names = {"config.json", "environment.json", "stats.jsonl", "log.txt", "checkpoint.pt", "directions.safetensors"}
    assert {entry.name for entry in folder.path.iterdir()} == names
    assert [line["step"] for line in folder.read_stats()] == list(range(8)) == steps
    assert [line["step"] for line in folder.read_stats() if line["held_out"] is not None] == [0, 3, 6]
    assert load_directions(folder.directions_path).header == directions.header
    assert folder.read_checkpoint(DoubleGenerator())["record"]["step"] == 7
    assert len(stages) == 1
    log = (folder.path / "log.txt").read_text()
    assert "Step 3 of 7: held-out penalty" in log
    assert "Finished" in log


@pytest.mark.parametrize(("signum", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("at", [0, 3, 7])
def test_record_run_interrupted_and_resumed_is_unbroken(tmp_path, signum, code, at, capfd):
    """A signal at any step: that step is finished and kept, and the rest comes out the same."""
    whole, _ = run(tmp_path / "whole")

    def interrupt(record):
        if record.step == at:
            os.kill(os.getpid(), signum)

    with pytest.raises(Interrupted) as caught:
        run(tmp_path / "broken", on_record=interrupt)
    assert caught.value.exit_code == code
    folder = RunFolder.open(tmp_path / "broken" / "00000-run")
    assert not folder.directions_path.exists()
    assert "Interrupted after step" in (folder.path / "log.txt").read_text()
    go_on(folder)
    assert outcome(folder.path) == outcome(whole.path)


@pytest.mark.parametrize("short", [4, 5])
def test_record_run_extended_equals_asked_at_once(tmp_path, short):
    """Also the recorded numbers and the configuration, wherever the first part ended."""
    whole, _ = run(tmp_path / "whole")
    folder, _ = run(tmp_path / "parts", DiscoverConfig.from_dict(CONFIG.to_dict() | {"steps": short}))
    go_on(folder)
    assert outcome(folder.path) == outcome(whole.path)


def test_record_run_resumed_after_the_end_gives_the_same_file(tmp_path):
    """Nothing is left to do but the measurements."""
    folder, _ = run(tmp_path)
    before = outcome(folder.path)
    go_on(folder)
    assert outcome(folder.path) == before


def test_record_run_keeps_the_last_good_state(tmp_path):
    """When the penalty is no number any more, the checkpoint holds the step before."""

    class Breaking(DoubleGenerator):
        gain = 1.0

        def forward(self, z, y=0, *, truncation=1.0):
            return super().forward(z, y) * self.gain

    generator = Breaking()

    def break_down(record):
        generator.gain = float("nan") if record.step == 5 else 1.0

    with pytest.raises(NonFiniteError, match="penalty became nan at step 6"):
        run(tmp_path, generator=generator, on_record=break_down)
    folder = RunFolder.open(tmp_path / "00000-run")
    state = folder.read_checkpoint(generator)
    assert state["record"]["step"] == 5
    assert state["A"].isfinite().all()
    assert "penalty became nan at step 6" in (folder.path / "log.txt").read_text()


def test_record_run_on_a_full_disk_says_so_and_keeps_the_checkpoint(tmp_path, monkeypatch):
    """The checkpoint before is whole, and the run can go on from it."""
    whole, _ = run(tmp_path / "whole")
    written = []

    def fill(path, data):
        if path.name == "checkpoint.pt" and len(written) == 2:
            raise UserError("Cannot write checkpoint.pt: No space left on device.")
        written.append(path)
        path.write_bytes(data)

    monkeypatch.setattr("directions.runs.folder.write_bytes", fill)
    with pytest.raises(UserError, match="No space left"):
        run(tmp_path / "full")
    monkeypatch.undo()
    folder = RunFolder.open(tmp_path / "full" / "00000-run")
    assert folder.read_checkpoint(DoubleGenerator())["record"]["step"] == 2
    go_on(folder)
    assert outcome(folder.path) == outcome(whole.path)


def test_tensorboard_missing_names_the_extra(monkeypatch):
    """The message is the command to type."""
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r'pip install "biggan-directions\[tensorboard\]"'):
        require_tensorboard()


def test_tensorboard_events_are_written(tmp_path):
    """With the extra installed, curves appear beside the JSON lines."""
    pytest.importorskip("tensorboard")
    folder, _ = run(tmp_path, tensorboard=True)
    assert list((folder.path / "tensorboard").glob("events*"))


@pytest.mark.parametrize("seed", range(3))
def test_record_run_killed_at_random_moments_is_unbroken(tmp_path, seed):
    """kill -9, several times: no moment is a bad one."""
    started = time.monotonic()
    whole = spawn(tmp_path, "whole")
    whole.join()
    took = time.monotonic() - started
    assert whole.exitcode == 0
    rng = random.Random(seed)
    kills = 0
    while True:
        process = spawn(tmp_path, "broken")
        process.join(rng.uniform(0.1, 0.6) * took if kills < 4 else None)
        if process.exitcode is not None:
            break
        process.kill()
        process.join()
        kills += 1
    assert process.exitcode == 0
    assert kills > 0
    (path,) = (path for path in tmp_path.glob("*-broken") if (path / "config.json").exists())
    assert outcome(path) == outcome(tmp_path / "00000-whole")
    assert not list(path.glob(".*"))
