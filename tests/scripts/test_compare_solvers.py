"""The study's cells go on where they were stopped, are scored alike, and make a report."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from closed import ClosedFormGenerator

from directions.joint.measure import measure, planned_measurement
from directions.settings.discover import DiscoverConfig

SCRIPTS = Path(__file__).parents[2] / "scripts"


@pytest.fixture
def study(monkeypatch):
    """The script as a module."""
    monkeypatch.syspath_prepend(str(SCRIPTS))
    import compare_solvers

    yield compare_solvers
    for name in ("compare_solvers", "solver_report", "solver_targets"):
        sys.modules.pop(name, None)


@pytest.fixture
def target(study):
    """A generator with known directions, in the place of the large one: scored by Hessians."""
    generator = ClosedFormGenerator(dim_z=4)
    target = study.Target(generator, DiscoverConfig(batch_size=4, final_samples=2, classes=(0,)), [])
    *_, moments = measure(generator, planned_measurement(target.config, target.search))
    target.hessians = moments.matrices()
    return target


def test_joint_cell_resumes(study, target, tmp_path, monkeypatch):
    """A cell that is killed while it solves ends as one that was not, and its curve is whole."""
    cell = study.Cell("joint-0", "joint", 0, {"kind": "gradients", "output_probes": 2, "points": [1, 2, 4]})
    whole = study.run_joint(target, cell, tmp_path)
    assert [point["base_points"] for point in whole["curve"]] == [1, 2, 4]
    assert whole["curve"][-1]["held_out"] < 1e-3 * target.score(target.baselines["random 0"])

    def killed(moments, solve=study.solve, **key):
        if moments.base_points == 4:
            raise KeyboardInterrupt
        return solve(moments, **key)

    with monkeypatch.context() as patch:
        patch.setattr(study, "solve", killed)
        with pytest.raises(KeyboardInterrupt):
            study.run_joint(target, cell, tmp_path)
    assert (tmp_path / "joint-0.part").exists()
    again = study.run_joint(target, cell, tmp_path)
    assert again["basis"] == whole["basis"]
    assert [point["held_out"] for point in again["curve"]] == [point["held_out"] for point in whole["curve"]]
    assert not list(tmp_path.iterdir())
