"""A file's directions beside random ones and the axes: what is compared, how sure it is; and plots of measurements."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest
from closed import ClosedFormGenerator
from fakes import BlobGenerator, blob_directions
from PIL import Image
from scipy import stats

from directions.direction_file import Directions
from directions.errors import UserError
from directions.evaluation.plots import draw_evaluation, plot_activeness, plot_heat_map
from directions.evaluation.report import METRICS, NUMBERS, FileEvaluation, as_text, interval, text_tables, verdict

FAST = {"seeds": 3, "samples": 8}


@pytest.fixture(scope="module")
def closed():
    """A generator whose true directions are known, and their evaluation."""
    generator = ClosedFormGenerator(dim_z=4, resolution=8, seed=0)
    directions = Directions.from_basis(generator.directions, generator)
    planned, made = FileEvaluation(directions, generator, **FAST), []
    evaluation = planned.run(count=made.append)
    assert planned.images == sum(made)  # told beforehand, for the progress bar
    return evaluation


def test_true_directions_are_better_than_random(closed):
    """On a generator whose Hessian is diagonal along them, by every number that judges; and never by chance."""
    numbers = closed["numbers"]
    for number, other in [("penalty", "random"), ("off_diagonal", "axes"), ("diagonal_share", "axes")]:
        assert numbers[number][f"found_less_{other}"]["verdict"] == "better"
    assert numbers["diagonal_share"]["found"]["values"] == [1.0] * 3
    assert max(numbers["penalty"]["found"]["values"]) < 1e-3 * min(numbers["penalty"]["random"]["values"])
    assert min(numbers["on_diagonal"]["found"]["values"]) > 0.999
    assert closed["settings"]["metrics"] == ["penalty", "hessians", "diagonalness", "activeness"]


def test_axes_against_themselves_are_no_different():
    """At the same places a set has the same numbers, whatever it is called; one seed gives no interval."""
    generator = BlobGenerator(resolution=8)
    evaluation = FileEvaluation(blob_directions(generator), generator, **FAST, metrics=["penalty", "activeness"]).run()
    for number in ("penalty", "active_directions"):
        found = evaluation["numbers"][number]
        assert found["found"] == found["axes"]
        assert found["found_less_axes"]["verdict"] == "no clear difference"
    assert "diagonal_share" not in evaluation["numbers"]


def test_evaluation_obeys_the_file(monkeypatch):
    """Classes, truncation, space, layers and the penalty's settings come from it."""
    generator = BlobGenerator(resolution=8)
    seen = []
    call = BlobGenerator.__call__

    def record(self, z, y=0, *, truncation=1.0):
        seen.append((z, y, truncation))
        return call(self, z, y, truncation=truncation)

    monkeypatch.setattr(BlobGenerator, "__call__", record)
    directions = blob_directions(
        generator, ndirs=2, classes=[2], truncation=0.5, space=(0, 3), config={"epsilon": 0.3, "path_size": 1.5}
    )
    planned = FileEvaluation(directions, generator, seeds=1, samples=2)
    assert (planned.config.epsilon, planned.config.path_size) == (0.3, 1.5)
    evaluation = planned.run()
    assert {int(label) for _, y, _ in seen for label in y} == {2}
    assert {truncation for _, _, truncation in seen} == {0.5}
    assert evaluation["settings"]["space"] == "0:3"
    random = planned._bases(0)["random"]
    assert not random[:, 3:].any()


def test_evaluation_of_one_direction_leaves_diagonalness_out():
    """There is nothing off the diagonal."""
    generator = BlobGenerator(resolution=8)
    one = blob_directions(generator)["hue"]
    assert FileEvaluation(one, generator).metrics == ("penalty", "activeness")
    with pytest.raises(UserError, match="diagonalness only for two or more"):
        FileEvaluation(one, generator, metrics=["diagonalness"])


def test_interval_is_students():
    """As SciPy has it; a single value has none."""
    values = [1.0, 2.5, 0.5, 4.0]
    low, high = stats.t.interval(0.95, 3, np.mean(values), stats.sem(values))
    found = interval(values)
    assert (found["low"], found["high"]) == pytest.approx((low, high))
    assert interval([2.0]) == {"mean": 2.0, "low": None, "high": None, "values": [2.0]}
    assert as_text(interval([2.0])) == "2"


def test_verdict_knows_which_way_is_better():
    """And says nothing where the interval of the differences holds 0."""
    more, less = interval([1.0, 1.1, 0.9]), interval([-1.0, -1.1, -0.9])
    assert (verdict("penalty", less), verdict("penalty", more)) == ("better", "worse")
    assert (verdict("diagonal_share", less), verdict("diagonal_share", more)) == ("worse", "better")
    assert (verdict("active_directions", less), verdict("active_directions", more)) == ("less", "more")
    for values in ([-1.0, 1.0, 0.1], [-1.0]):
        assert verdict("penalty", interval(values)) == "no clear difference"


def test_report_is_json_with_everything(closed):
    """Numbers with every value, differences seed by seed, spectra in falling order, each direction; and as tables."""
    report = json.loads(json.dumps(closed, allow_nan=False))
    penalty = report["numbers"]["penalty"]
    assert len(penalty["found"]["values"]) == 3
    difference = np.subtract(penalty["found"]["values"], penalty["random"]["values"])
    assert penalty["found_less_random"]["values"] == pytest.approx(difference.tolist())
    assert penalty["found_less_random"]["verdict"] == "better"
    means = [place["mean"] for place in report["spectra"]["found"]]
    assert means == sorted(means, reverse=True)
    assert [row["name"] for row in report["directions"]] == ["d0", "d1", "d2", "d3"]
    assert sum(row["activeness"]["mean"] for row in report["directions"]) == pytest.approx(sum(means))
    assert set(report["numbers"]) <= set(NUMBERS)
    assert set(report["settings"]["metrics"]) <= set(METRICS)
    rows, directions = text_tables(closed)
    assert [len(row) for row in rows] == [6] * len(rows)
    assert (rows[1][0], rows[1][4], len(directions)) == ("held-out penalty (lower is better)", "better", 5)


def test_plot_is_written(closed, tmp_path):
    """Names with dollars are no mathematics; another ending is refused."""
    draw_evaluation(closed, tmp_path / "x.svg", title="4 directions of $\\frac")
    assert (tmp_path / "x.svg").stat().st_size > 5000
    with pytest.raises(UserError, match=r"A plot's name must end in \.png, \.svg or \.pdf"):
        draw_evaluation(closed, tmp_path / "x.gif", title="")


# Plots


def test_plot_activeness_draws_several_generators(tmp_path):
    """Of different numbers of components; nothing of pyplot is loaded."""
    path = tmp_path / "activeness.png"
    plot_activeness(path, {"baseline": [0.1] * 12, "penalty": [0.3, 0.2, 0.0, 0.01]})
    with Image.open(path) as picture:
        pixels = np.asarray(picture.convert("RGB")).astype(int)
    grey = (np.abs(pixels - [0x8C, 0x8C, 0x94]).sum(axis=2) < 8).sum()
    blue = (np.abs(pixels - [0x2F, 0x6F, 0xB0]).sum(axis=2) < 8).sum()
    # Areas are as activeness is: 12 bars of 0.1 against 0.3 + 0.2 + 0.01.
    assert grey / blue == pytest.approx(1.2 / 0.51, rel=0.15)


def test_plot_heat_map_is_darkest_where_the_matrix_is_largest(tmp_path):
    """Rows are components from the top, columns factors from the left."""
    matrix = np.zeros((4, 3))
    matrix[3, 0] = 0.004  # too small for a number
    matrix[1, 2] = 1.0
    path = tmp_path / "map.png"
    plot_heat_map(path, matrix, [f"z{i}" for i in range(4)], ["hue", "x", "y"], title="t", scale="share", top=1.0)
    with Image.open(path) as picture:
        pixels = np.asarray(picture.convert("RGB")).astype(int)
    # The map's darkest blue; the colour bar at the right edge has it too.
    dark = np.argwhere(np.abs(pixels[:, : pixels.shape[1] * 7 // 10] - [8, 48, 107]).sum(axis=2) < 8)
    assert len(dark) > 500
    rows, columns = np.median(dark[:, 0]) / pixels.shape[0], np.median(dark[:, 1]) / pixels.shape[1]
    assert 0.25 < rows < 0.5
    assert 0.5 < columns < 0.8


def test_plots_without_matplotlib_name_the_extra(tmp_path, monkeypatch):
    """One sentence."""
    for module in [name for name in sys.modules if name.startswith("matplotlib.")] + ["matplotlib"]:
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(UserError, match=r"pip install 'biggan-directions\[plots\]'"):
        plot_activeness(tmp_path / "x.png", {"a": [1.0]})
    assert not list(tmp_path.iterdir())
