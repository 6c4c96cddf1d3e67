"""The plan of a run: it fits its time, keeps what was given, and is kept by a resumed run."""

from __future__ import annotations

import math

import pytest
from closed import ClosedFormGenerator, DoubleGenerator

from directions.discovery import discover
from directions.errors import NonFiniteError
from directions.plan import in_words, make_plan, passes, with_plan
from directions.run import RunFolder, finished_run, record_run
from directions.search import Search
from directions.settings.base import ConfigError
from directions.settings.discover import DiscoverConfig, parse_time

LONG = ClosedFormGenerator(dim_z=30, resolution=4)
QUICK = {"held_out": 3, "held_out_probes": 2, "final_samples": 2, "starts": 1}


def plan_of(config, *, generator=LONG, image=1e-3, spent=1.0):
    return make_plan(config, Search.resolve(generator, config), spent=spent, image=image)


def test_times_are_read_and_said():
    """With a unit, or in seconds; others are refused, with what is meant."""
    assert [parse_time(text) for text in ("90s", "10m", "2h", "1.5 m", "30")] == [90, 600, 7200, 90, 30]
    for text in ("0", "banana", "-5m", "10 days", ""):
        with pytest.raises(ConfigError, match="time must be a duration above zero such as 90s, 10m or 2h, got"):
            parse_time(text)
    assert [in_words(s) for s in (3.21, 42, 150, 5500)] == ["3.2 s", "42 s", "2.5 minutes", "1.5 hours"]


@pytest.mark.parametrize("seconds", [60.0, 3600.0])
@pytest.mark.parametrize("image", [1e-3, 1e-2])
def test_the_plan_fits_its_time(seconds, image):
    """And takes more where there is more time."""
    config = DiscoverConfig(time=seconds)
    plan = plan_of(config, image=image)
    assert plan.expected <= seconds
    planned = with_plan(config, plan.to_dict())
    assert plan.expected >= 1.0 + image * sum(passes(planned, Search.resolve(LONG, planned)).values())
    assert planned.method == "joint"  # no steps where z is long
    assert plan.words.startswith("Plan: Jacobians at ")
    assert "no steps" in plan.words
    longer = with_plan(config, plan_of(config.replace(time=4 * seconds), image=image).to_dict())
    assert longer.base_points >= planned.base_points


def test_without_a_time_short_z_has_no_plan_and_long_z_aims_at_three_minutes():
    """Or at more, if trustworthy answers take more."""
    assert not DiscoverConfig().is_planned(12)
    assert DiscoverConfig().is_planned(20)
    assert not DiscoverConfig(method="adam").is_planned(100)
    config = DiscoverConfig()
    plan = plan_of(config)
    assert plan.expected <= 180
    assert with_plan(config, plan.to_dict()).criterion == "both"
    slow = plan_of(config, image=0.2, spent=20.0)
    assert 180 < slow.expected <= 45 * 60
    assert slow.settings["base_points"] >= 20


def test_what_is_given_is_kept():
    """Also through files, and on resume."""
    config = DiscoverConfig(base_points=7, steps=3, criterion="hessian", time=60.0)
    again = DiscoverConfig.from_dict(config.to_dict())
    assert again == config
    planned = with_plan(again, plan_of(again).to_dict())
    assert (planned.base_points, planned.steps, planned.criterion) == (7, 3, "hessian")
    assert planned.method == "joint+adam"
    assert "final_samples" not in config.replace(final_samples=5).free
    old = {name: value for name, value in DiscoverConfig().to_dict().items() if name != "free"}
    assert DiscoverConfig.from_dict(old).free == ()


def test_a_run_with_a_time_says_its_plan_and_keeps_it(tmp_path):
    """In the folder and in the file; a resumed run measures what was planned."""
    said = []
    config = DiscoverConfig(time=900.0, held_out_probes=2, method="joint", final_samples=4, starts=1, base_points=5)
    folder = RunFolder.create(tmp_path, "run", config.to_dict())
    generator = DoubleGenerator()
    snapshots = discover(generator, config, on_progress=lambda phase, *rest: said.append(phase))
    found = record_run(snapshots, generator, folder)
    (words,) = {phase for phase in said if phase.startswith("Plan: ")}
    assert found.header["plan"]["words"] == words
    state = folder.read_checkpoint()["state"]
    assert 0 < state["plan"]["spent"] < found.header["plan"]["spent"] < 900  # the end, too, takes time
    assert state["plan"]["words"] == words
    *_, again = discover(generator, config, resume_from=state)
    assert again.config.to_dict() == found.header["config"]
    assert finished_run(folder, config) is not None


def test_steps_end_when_their_time_is_up(monkeypatch):
    """And a resumed run does not go on, unless it gets more time; steps that were given and cannot fit are refused."""
    config = DiscoverConfig(method="adam", time=600.0, batch_size=2, **QUICK)
    with monkeypatch.context() as patch:
        patch.setattr("directions.discovery._Run.late", lambda self, needed: True)
        *_, last = discover(DoubleGenerator(), config)
    assert last.record.step == 1
    assert ("hessians", last.config.held_out_places) in last.known
    *_, again = discover(DoubleGenerator(), config, resume_from=last.state)
    assert again.record.step == 1
    longer = config.replace(time=900.0, steps=3)
    *_, more = discover(DoubleGenerator(), longer, resume_from=last.state)
    assert more.record.step == 3
    with pytest.raises(ConfigError, match="time must be at least"):
        list(discover(DoubleGenerator(), config.replace(steps=10**6)))


def test_nan_in_the_middle_of_measuring_names_the_place_and_keeps_the_rest(tmp_path):
    """The checkpoint has the base points before."""
    generator = DoubleGenerator()
    config = DiscoverConfig(method="joint", criterion="jacobian", base_points=6, **QUICK)
    folder = RunFolder.create(tmp_path, "run", config.to_dict())

    def break_down(record):
        generator.map.weights *= math.nan if record.base_points == 3 else 1.0

    with pytest.raises(NonFiniteError, match="The Jacobian at base point 3 is not finite"):
        record_run(discover(generator, config), generator, folder, on_record=break_down)
    assert folder.read_checkpoint()["state"]["moments"]["jacobian"]["base_points"] == 3


def test_a_plan_is_made_again_by_what_base_points_cost(monkeypatch):
    """More of them where they are cheaper than the first; the time and what was begun stay."""
    monkeypatch.setattr(
        "directions.discovery.make_plan",
        lambda config, search, spent, image: make_plan(config, search, spent=spent, image=slowness.pop(0)),
    )
    slowness = [0.05, 0.005]
    said = []
    config = DiscoverConfig(time=100.0, held_out_probes=2, method="joint", criterion="jacobian", starts=1)
    generator = DoubleGenerator()
    snapshots = discover(generator, config, on_progress=lambda phase, *_: said.append(phase))
    planned, held_out = [], set()
    for snapshot in snapshots:
        if snapshot.joint is not None:
            break
        planned.append(snapshot.config.base_points)
        held_out.add((snapshot.config.held_out, snapshot.config.final_samples, snapshot.plan["time"]))
    assert not slowness
    assert planned[0] < planned[-1] == snapshot.config.base_points
    assert planned[:5] == planned[:1] * 5
    assert len(held_out) == 1
    assert sum(phase.startswith("Plan: ") for phase in said) == 2
