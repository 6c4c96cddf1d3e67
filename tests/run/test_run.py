"""Recorded runs: interrupted at any moment and resumed, they end as if nothing had happened."""

from __future__ import annotations

import importlib.util
import os
import signal
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from closed import ClosedFormGenerator, DoubleGenerator
from killed import discovery, kill_at_random, spawn

from directions.direction_file import load_directions
from directions.discovery import discover
from directions.errors import Interrupted, NonFiniteError, UserError
from directions.evaluation.summary import with_columns
from directions.run import RunFolder, StopSignals, carry_annotations, finished_run, record_run
from directions.settings.discover import DiscoverConfig

CONFIG = DiscoverConfig(
    method="adam", steps=7, batch_size=2, held_out=3, held_out_probes=2, eval_every=3, checkpoint_every=2,
    final_samples=2, base_points=3, starts=2,
)  # fmt: skip


def run(out, config=CONFIG, generator=None, **reporting):
    generator = generator or DoubleGenerator()
    folder = RunFolder.create(out, "run", config.to_dict())
    on_progress = reporting.get("on_progress", lambda *progress: None)
    return folder, record_run(discover(generator, config, on_progress=on_progress), generator, folder, **reporting)


def state_of(folder):
    return (folder.read_checkpoint() or {}).get("state")


def go_on(folder, config=CONFIG, **reporting):
    generator = DoubleGenerator()
    folder.write_config(config.to_dict())
    return record_run(discover(generator, config, resume_from=state_of(folder)), generator, folder, **reporting)


def outcome(path):
    """Everything of a run folder that must not depend on interruptions."""
    folder = RunFolder.open(path)
    stats = [{**line, "seconds": None} for line in folder.read_stats()]
    return folder.directions_path.read_bytes(), stats, state_of(folder)["A"].tolist(), folder.config_path.read_text()


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run that nothing interrupted, with curves where tensorboard is there; its directions and the steps it told."""
    steps = []
    tensorboard = importlib.util.find_spec("tensorboard") is not None
    out = tmp_path_factory.mktemp("whole")
    folder, found = run(out, tensorboard=tensorboard, on_record=lambda record: steps.append(record.step))
    return folder, found, steps


def test_record_run_fills_the_folder(whole):
    """Everything that the README of outputs/ promises; a finished run is one with nothing left to do."""
    folder, directions, steps = whole
    names = {"config.json", "environment.json", "stats.jsonl", "log.txt", "checkpoint.pt", "directions.safetensors"}
    assert {entry.name for entry in folder.path.iterdir()} - {"tensorboard"} == names
    if importlib.util.find_spec("tensorboard"):
        reader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
        events = reader.EventAccumulator(str(folder.path / "tensorboard")).Reload()
        assert [event.step for event in events.Scalars("penalty")] == list(range(1, 8))
    assert [line["step"] for line in folder.read_stats()] == list(range(8)) == steps
    assert [line["step"] for line in folder.read_stats() if line["held_out"] is not None] == [0, 3, 6]
    assert load_directions(folder.directions_path).header == directions.header
    assert state_of(folder)["record"]["step"] == 7
    log = (folder.path / "log.txt").read_text()
    assert "Step 3 of 7: held-out penalty" in log
    assert "Finished" in log
    assert finished_run(folder, CONFIG).header == directions.header
    for change in ({"steps": 8}, {"final_samples": 3}):
        assert finished_run(folder, CONFIG.replace(**change)) is None


def test_record_run_logs_and_keeps_what_was_measured(tmp_path):
    """Every base point has its line; checkpoints come with checkpoint_every, and when all is measured."""
    kept = []

    def look(record):
        state = state_of(RunFolder.open(tmp_path / "00000-run"))
        kept.append(state and state["record"]["base_points"])

    folder, _ = run(tmp_path, CONFIG.replace(method="joint", base_points=5), on_record=look)
    assert kept == [0, 0, 2, 2, 4, 5, None]
    assert [line["base_points"] for line in folder.read_stats()] == [0, 1, 2, 3, 4, 5, None]
    assert "Diagonalised jointly: 2 of 2 starts reached the best." in (folder.path / "log.txt").read_text()


@pytest.mark.parametrize("time_", [None, 900.0], ids=["settings", "plan"])
def test_a_signal_in_each_phase_of_a_long_z_leaves_what_resume_goes_on_from(tmp_path, time_):
    """|z| = 100: one run that is interrupted in every phase, and resumed each time, comes to the end of an unbroken."""
    config = DiscoverConfig(
        steps=2, batch_size=2, held_out=2, final_samples=2, base_points=2, starts=2, eval_every=1, output_probes=1,
        criterion="both", hessian_points=2, learning_rate=1e-4, **({"time": time_} if time_ else {"free": ()}),
    )  # fmt: skip
    said, late = [], []

    def interrupt(phase, done, total, note):
        late.append(time.monotonic())
        phase = phase.partition(":")[0]  # a plan's figures differ each time
        if phase not in said:
            said.append(phase)
            os.kill(os.getpid(), signal.SIGTERM)

    generator = ClosedFormGenerator(100, 8)
    folder = RunFolder.create(tmp_path, "run", config.to_dict())
    for _ in range(30):
        steps = discover(generator, config, resume_from=state_of(folder), on_progress=interrupt)
        try:
            with StopSignals():
                found = record_run(steps, generator, folder, on_progress=interrupt)
            break
        except Interrupted:
            assert time.monotonic() - late[-1] < 5
            assert finished_run(folder, config) is None
            assert "Interrupted" in folder.log_path.read_text()
            assert not folder.directions_path.exists()
    phases = {"Scoring at the held-out places", "Measuring Jacobians", "Measuring Hessians", "Diagonalising", "Steps"}
    phases |= {"Scoring the joint solution", "Measuring held-out Hessians", "Measuring activeness"}
    phases |= {"Measuring path sizes", "Measuring penalties", "Measuring penalty shares"}
    assert phases | ({"Measuring the first base point", "Plan"} if time_ else set()) <= set(said)
    if not time_:
        whole, _ = run(tmp_path, config, generator)
        assert outcome(folder.path)[0] == outcome(whole.path)[0]
    assert load_directions(folder.directions_path).header == found.header


def test_steps_that_gain_nothing_end_and_the_best_basis_is_kept(tmp_path):
    """By the held-out score; the file, the log and a resumed run say so, and more steps are not taken."""
    config = CONFIG.replace(method="joint+adam", steps=40, eval_every=2, learning_rate=0.5)
    folder, found = run(tmp_path, config)
    gain = found.header["joint"]["steps"]
    stats = folder.read_stats()
    assert gain["taken"] == stats[-1]["step"] < 40
    scores = {line["step"]: line["held_out"] for line in stats if line["held_out"] and line["base_points"] is None}
    assert scores[gain["kept"]] == gain["best"] == pytest.approx(found.header["penalty"]["after"], rel=1e-6)
    assert scores[gain["taken"]] > (1 - 1e-3) * gain["best"]
    assert "steps gained" in (folder.path / "log.txt").read_text()
    assert finished_run(folder, config.replace(steps=60)).header == found.header
    *_, last = discover(DoubleGenerator(), config.replace(steps=60), resume_from=state_of(folder))
    assert last.record.step == gain["taken"]


def test_more_steps_keep_what_people_wrote(tmp_path):
    """On directions that match; the old file stays beside, and names without a partner are said."""
    folder, found = run(tmp_path, CONFIG.replace(learning_rate=1e-6))
    written = found.annotated(1, name="hue", note="a circle", starred=True, path_size=2.5).reordered([3, 1, 0, 2])
    written.save(folder.directions_path)
    with pytest.warns(UserWarning, match="carried over"):
        again = go_on(folder, CONFIG.replace(learning_rate=1e-6, steps=9))
    index = again.index("hue")
    assert (again.notes[index], again.starred[index], again.path_sizes[index]) == ("a circle", True, 2.5)
    assert abs(again.matrix[index] @ written.matrix[1]) > 0.99
    assert [again.names[i] for i in again.order][1] == "hue"
    assert again.undone().order == tuple(range(4))
    assert "hue" not in again.undone().undone().names
    assert load_directions(folder.path / "directions-before-1.safetensors").header == written.header


def test_what_was_written_survives_moves_a_measurement_and_lost_partners(whole):
    """Of path sizes only those by hand are carried, again and again; an undo names d1 as its new place is named."""
    _, found, _ = whole
    by_hand = found.annotated_each({1: {"name": "hue", "path_size": 2.5}, 2: {"path_size": 2.25}})
    again = with_columns(by_hand, {"path_size": [9.0] * 4})
    turned = np.array(found.matrix)[[1, 0, 2, 3]]
    turned[2:] = np.array([[1, 1], [1, -1]]) / np.sqrt(2) @ turned[2:]  # the third and fourth have no partner
    fresh = type(found)(turned, found.header)
    assert carry_annotations(again.renamed(3, "lost"), fresh)[1] == ("d2", "lost")
    for before in (again, carry_annotations(again, fresh)[0]):
        carried, _ = carry_annotations(before, fresh)
        assert carried.path_sizes == (2.5, *found.path_sizes[1:])
        assert carried.names == ("hue", "d1", "d2", "d3")
        assert carried.undone().undone().names == ("d0", "d1", "d2", "d3")


def test_record_run_keeps_the_last_good_state(tmp_path):
    """When the penalty is no number any more, the checkpoint holds the step before."""
    generator = DoubleGenerator()

    def break_down(record):
        generator.map.weights *= float("nan") if record.step == 5 else 1.0

    with pytest.raises(NonFiniteError, match="penalty became nan at step 6"):
        run(tmp_path, generator=generator, on_record=break_down)
    folder = RunFolder.open(tmp_path / "00000-run")
    assert state_of(folder)["record"]["step"] == 5
    assert state_of(folder)["A"].isfinite().all()
    assert "penalty became nan at step 6. Stopped here; the last checkpoint" in (folder.path / "log.txt").read_text()


def test_curves_go_to_wandb_and_their_faults_stop_nothing(tmp_path, monkeypatch):
    """Under one number before and after an interruption; a logger that breaks down is warned of once."""
    made, steps = [], []

    class Run:
        def log(self, values, step):
            steps.append(step)
            if step == 6:
                raise OSError("no room")

        def finish(self): ...

    fake = SimpleNamespace(init=lambda **settings: made.append(settings) or Run(), Error=OSError)
    monkeypatch.setitem(sys.modules, "wandb", fake)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name)
    folder, _ = run(tmp_path, CONFIG.replace(steps=2), wandb=True)
    with pytest.warns(UserWarning, match=r"Curves end at step 6: no room\. The run goes on\."):
        go_on(folder, wandb=True)
    assert steps == [0, 1, 2, 2, 3, 4, 5, 6]
    assert made[0]["id"] == made[1]["id"]
    assert folder.directions_path.exists()
    fake.init = lambda **settings: Path("/nowhere").read_text()
    with pytest.raises(UserError, match=r"Weights & Biases does not start: .* set WANDB_MODE=offline"):
        go_on(folder, wandb=True)


def test_discover_takes_a_module_and_a_snapshot_gives_directions(tmp_path):
    """What a notebook has: no generator, no run folder."""
    module = torch.nn.Sequential(torch.nn.Linear(3, 48), torch.nn.Unflatten(1, (3, 4, 4)), torch.nn.Tanh())
    module.dim_z = 3
    config = CONFIG.replace(steps=1, seed=np.int64(1))
    *_, last = discover(module, config)
    last.directions(module).save(tmp_path / "mine.safetensors")
    assert load_directions(tmp_path / "mine.safetensors").matrix.shape == (3, 3)


def test_record_run_killed_at_random_moments_is_unbroken(tmp_path):
    """kill -9, several times, while it measures, diagonalises or takes steps: no moment is a bad one."""
    config = CONFIG.replace(method="joint+adam", base_points=20, steps=30, learning_rate=1e-3, checkpoint_every=5)
    spawn(discovery, tmp_path, "warm", config.replace(steps=1)).join()
    started = time.monotonic()
    spawn(discovery, tmp_path, "whole", config).join()
    took = time.monotonic() - started
    kill_at_random(lambda: spawn(discovery, tmp_path, "broken", config), 0.05 * took, 0.4 * took)
    (path,) = (path for path in tmp_path.glob("*-broken") if (path / "config.json").exists())
    assert outcome(path) == outcome(tmp_path / "00001-whole")
    assert not list(path.glob(".*"))
