"""Runs with a joint start: found, recorded, interrupted, resumed, summed up."""

from __future__ import annotations

import functools
import itertools
import os
import random
import signal
import time

import pytest
import torch
from closed import DoubleGenerator
from killed import spawn

from directions.basis import check_orthonormal
from directions.direction_file import load_directions
from directions.discovery import discover
from directions.evaluation.activeness import activeness
from directions.evaluation.summary import summarise
from directions.held_out import draw_held_out, held_out_penalty
from directions.joint.measure import planned_measurement
from directions.joint.notes import joint_notes
from directions.joint.solve import match_directions
from directions.run import Interrupted, RunFolder, record_run
from directions.search import Search
from directions.settings.discover import DiscoverConfig

JOINT = DiscoverConfig(
    method="joint", base_points=4, starts=3, held_out=4, held_out_probes=2, final_samples=2, checkpoint_every=3
)
BOTH = JOINT.replace(method="joint+adam", learning_rate=0.01, steps=4, batch_size=4, eval_every=2)
GRADIENTS = BOTH.replace(measurement="gradients", output_probes=2)
METHODS = pytest.mark.parametrize("config", [JOINT, BOTH, GRADIENTS], ids=["joint", "joint+adam", "gradients"])


@functools.cache
def snapshots_of(config):
    """Of an unbroken run."""
    return list(discover(DoubleGenerator(), config))


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    """What is left of an unbroken run with a configuration, made once."""
    out = tmp_path_factory.mktemp("unbroken")
    return functools.cache(lambda config: outcome(run(out, config)[0].path))


def once(records):
    """Records without those of the starts of the diagonalisation, which stand where the last base point does."""
    return list({(record.step, record.base_points): record for record in records}.values())


def numbers(snapshots):
    """What is recorded of a run, but for the times."""
    return [{**vars(record), "seconds": None} for record in once(snapshot.record for snapshot in snapshots)]


def run(out, config, **reporting):
    generator = DoubleGenerator()
    folder = RunFolder.create(out, "run", config.to_dict())
    return folder, record_run(discover(generator, config), generator, folder, **reporting)


def go_on(folder, config):
    generator = DoubleGenerator()
    state = (folder.read_checkpoint() or {}).get("state")
    return record_run(discover(generator, config, resume_from=state), generator, folder)


def outcome(path):
    """Everything of a run folder that must not depend on interruptions."""
    folder = RunFolder.open(path)
    stats = [{**line, "seconds": None} for line in folder.read_stats()]
    checkpoint = torch.load(folder.checkpoint_path, weights_only=True)["state"]
    return folder.directions_path.read_bytes(), stats, checkpoint["A"].tolist()


def test_joint_discovery_finds_the_true_directions():
    """On a generator with planted directions, without a single step; what is left is the finite differences' error."""
    generator = DoubleGenerator()
    *_, snapshot = discover(generator, JOINT.replace(seed=1, base_points=10))
    _, cosines = match_directions(snapshot.basis, generator.directions)
    assert float(cosines.min()) > 1 - 1e-4
    assert snapshot.record.held_out < 1e-3 * snapshot.held_out_before
    assert snapshot.joint.agreeing_starts == 3


@METHODS
def test_discover_yields_base_points_the_solution_and_steps(config):
    """In this order; the start is scored, then the solution, then every eval_every-th step."""
    snapshots = snapshots_of(config)
    records = once(snapshot.record for snapshot in snapshots)
    assert [record.base_points for record in records[:6]] == [0, 1, 2, 3, 4, None]
    steps = [record.step for record in records[5:]]
    assert steps == list(range(len(steps)))
    assert len(steps) - 1 in ([0] if config is JOINT else range(1, 5))  # steps end where they no longer gain
    scored = [index for index, record in enumerate(records) if record.held_out is not None]
    assert scored == [0, 5, *(5 + step for step in steps if step and step % 2 == 0)]
    assert all((snapshot.joint is None) == (snapshot.record.base_points is not None) for snapshot in snapshots)
    assert {snapshot.held_out_before for snapshot in snapshots} == {records[0].held_out}
    assert all(check_orthonormal(snapshot.basis, 1e-12) is None for snapshot in snapshots)
    solved = next(snapshot for snapshot in snapshots if snapshot.joint is not None)
    torch.testing.assert_close(solved.basis, solved.joint.basis)


@METHODS
def test_discover_resumed_is_bit_identical(config):
    """From the states of every few snapshots: while measuring, at the solution, between steps."""
    generator = DoubleGenerator()
    whole = snapshots_of(config)
    for stop in range(0, len(whole), 2 if config is JOINT else 3):
        rest = list(discover(generator, config, resume_from=whole[stop].state))
        assert rest[0].record == whole[stop].record
        assert numbers(rest) == numbers(whole[stop:])
        assert torch.equal(rest[-1].basis, whole[-1].basis)
        assert rest[-1].joint.report() == whole[-1].joint.report()


def test_fewer_directions_are_the_most_active_of_all():
    """Not the idlest subspace; and nothing needs to be warned of."""
    generator = DoubleGenerator()
    config = BOTH.replace(ndirs=2)
    *_, snapshot = discover(generator, config)
    assert snapshot.basis.shape == (4, 4)
    directions = summarise(generator, config, snapshot)
    active = activeness(generator, snapshot.basis, samples=2, classes=(0, 1, 2)).sort(descending=True).values
    assert directions.ndirs == 2
    assert list(directions.activeness) == pytest.approx(active[:2].tolist())
    joint = directions.header["joint"]
    assert joint["found"] == 4
    held_out = draw_held_out(generator, config)
    all_of_them = held_out_penalty(generator, snapshot.basis, held_out)
    assert directions.header["penalty"]["after"] == pytest.approx(all_of_them, rel=1e-6)


@METHODS
def test_summarise_says_how_sure_it_is(config):
    """The header has the method, the measurement, the starts and the halves; a direction has its confidence."""
    generator, snapshot = DoubleGenerator(), snapshots_of(config)[-1]
    directions = summarise(generator, config, snapshot)
    header = directions.header
    assert header["method"] == config.method
    assert header["steps"] == (None if config.method == "joint" else snapshot.record.step)
    joint = header["joint"]
    assert joint["base_points"] == 4
    assert joint["measurement"] == ("gradients" if config is GRADIENTS else "differences")
    assert joint["output_probes"] == (2 if config is GRADIENTS else None)
    assert joint["evaluations"] == planned_measurement(config, Search.resolve(generator, config)).evaluations
    assert (joint["starts"], joint["agreeing_starts"]) == (3, 3)
    # A direction keeps its confidence when directions are put in the order of activeness.
    partners, _ = match_directions(torch.tensor(directions.matrix), snapshot.basis)
    expected = [snapshot.joint.confidence[index] for index in partners.tolist()]
    assert [entry["confidence"] for entry in header["directions"]] == expected
    assert all("starts reached" not in note for note in joint_notes(joint, header["directions"]))


MOMENTS = [(0, 0), (0, 2), (0, 4), (0, None), (1, None)]
"""Step and base point at which a run is interrupted; ``None`` is after the joint start."""


@pytest.mark.parametrize(
    ("config", "at"),
    [*itertools.product([BOTH], MOMENTS), (JOINT, (0, None)), (GRADIENTS, (0, 2)), (GRADIENTS, (1, None))],
)
def test_record_run_interrupted_and_resumed_is_unbroken(tmp_path, unbroken, config, at, capfd):
    """A signal at any moment: what is being done is finished and kept, and the rest comes out the same."""

    def interrupt(record):
        if (record.step, record.base_points) == at:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Interrupted):
        run(tmp_path / "broken", config, on_record=interrupt)
    folder = RunFolder.open(tmp_path / "broken" / "00000-run")
    assert not folder.directions_path.exists()
    go_on(folder, config)
    assert outcome(folder.path) == unbroken(config)


def test_record_run_logs_and_keeps_what_was_measured(tmp_path):
    """Every base point has its line; checkpoints come with checkpoint_every, and when all is measured."""
    kept = []

    def look(record):
        checkpoint = RunFolder.open(tmp_path / "00000-run").read_checkpoint()
        kept.append(None if checkpoint is None else checkpoint["state"]["record"]["base_points"])

    folder, _ = run(tmp_path, JOINT, on_record=look)
    assert [base_points for base_points, _ in itertools.groupby(kept)] == [0, 3, 4, None]
    assert [line["base_points"] for line in folder.read_stats()] == [0, 1, 2, 3, 4, None]
    log = (folder.path / "log.txt").read_text()
    assert "Hessians measured at 4 base points." in log
    assert "Diagonalised jointly: 3 of 3 starts reached the best." in log
    assert load_directions(folder.directions_path).header["method"] == "joint"


def test_record_run_killed_at_random_moments_is_unbroken(tmp_path):
    """kill -9, several times: no moment is a bad one."""
    config = BOTH.replace(base_points=20, steps=12, checkpoint_every=5)
    started = time.monotonic()
    whole = spawn(tmp_path, "whole", config)
    whole.join()
    took = time.monotonic() - started
    assert whole.exitcode == 0
    rng = random.Random(0)
    kills = 0
    while True:
        process = spawn(tmp_path, "broken", config)
        process.join(rng.uniform(0.1, 0.6) * took if kills < 4 else None)
        if process.exitcode is not None:
            break
        process.kill()
        process.join()
        kills += 1
    assert process.exitcode == 0
    (path,) = (path for path in tmp_path.glob("*-broken") if (path / "config.json").exists())
    assert outcome(path) == outcome(tmp_path / "00000-whole")
