"""Runs with a joint start: found, recorded, interrupted, resumed, summed up."""

from __future__ import annotations

import functools

import pytest
import torch
from closed import DoubleGenerator

from directions.basis import check_orthonormal
from directions.discovery import discover
from directions.evaluation.activeness import activeness
from directions.evaluation.summary import summarise
from directions.held_out import draw_held_out, held_out_penalty
from directions.joint.measure import planned_measurement
from directions.joint.notes import joint_notes
from directions.joint.solve import match_directions
from directions.search import Search
from directions.settings.discover import DiscoverConfig

JOINT = DiscoverConfig(
    method="joint", base_points=4, starts=3, held_out=4, held_out_probes=2, final_samples=2, checkpoint_every=3
)
BOTH = JOINT.replace(method="joint+adam", learning_rate=0.01, steps=4, batch_size=4, eval_every=2)
GRADIENTS = BOTH.replace(measurement="gradients", output_probes=2)
METHODS = pytest.mark.parametrize("config", [JOINT, BOTH, GRADIENTS], ids=["joint", "joint+adam", "gradients"])
ADAM = BOTH.replace(method="adam", learning_rate=0.1, steps=6)


@functools.cache
def snapshots_of(config):
    """Of an unbroken run."""
    return list(discover(DoubleGenerator(), config))


def once(records):
    """Records without those of the starts of the diagonalisation, which stand where the last base point does."""
    return list({(record.step, record.base_points): record for record in records}.values())


def numbers(snapshots):
    """What is recorded of a run, but for the times."""
    return [{**vars(record), "seconds": None} for record in once(snapshot.record for snapshot in snapshots)]


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


@pytest.mark.parametrize(
    "config",
    [ADAM, JOINT, BOTH, GRADIENTS, JOINT.replace(criterion="both", base_points=2)],
    ids=["adam", "joint", "joint+adam", "gradients", "two criteria"],
)
def test_discover_resumed_is_bit_identical(config):
    """From the states of every few snapshots: while measuring, at the solution, between steps."""
    generator = DoubleGenerator()
    whole = snapshots_of(config)
    for stop in range(0, len(whole), 2 if config is JOINT else 3):
        rest = list(discover(generator, config, resume_from=whole[stop].state))
        assert rest[0].record == whole[stop].record
        assert numbers(rest) == numbers(whole[stop:])
        assert torch.equal(rest[-1].basis, whole[-1].basis)
        assert (rest[-1].joint and rest[-1].joint.report()) == (whole[-1].joint and whole[-1].joint.report())
        for key, value in whole[-1].state["optimizer"]["state"].get(0, {}).items():
            assert torch.equal(value, rest[-1].state["optimizer"]["state"][0][key]), key


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
    joint, measured = header["joint"], planned_measurement(config, Search.resolve(generator, config)).report()
    assert measured.items() <= joint.items()
    assert (joint["measurement"] == "gradients") == (config is GRADIENTS)
    assert (joint["starts"], joint["agreeing_starts"]) == (3, 3)
    # A direction keeps its confidence when directions are put in the order of activeness.
    partners, _ = match_directions(torch.tensor(directions.matrix), snapshot.basis)
    expected = [snapshot.joint.confidence[index] for index in partners.tolist()]
    assert [entry["confidence"] for entry in header["directions"]] == expected
    assert all("starts reached" not in note for note in joint_notes(joint, header["directions"]))
