"""A file's directions beside random ones and the axes: what is compared, how sure it is; and plots of measurements."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest
from closed import ClosedFormGenerator
from fakes import BlobGenerator, blob_directions
from PIL import Image

from directions.direction_file import Directions
from directions.errors import UserError
from directions.evaluation.plots import plot_activeness, plot_heat_map
from directions.evaluation.report import FileEvaluation, interval, verdict

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
    assert not planned._bases(0)["random"][:, 3:].any()
    numbers = FileEvaluation(blob_directions(generator), generator, **FAST, metrics=["penalty"]).run()["numbers"]
    assert numbers["penalty"]["found"] == numbers["penalty"]["axes"]  # the same at the same places


def test_evaluation_of_one_direction_leaves_diagonalness_out():
    """There is nothing off the diagonal."""
    generator = BlobGenerator(resolution=8)
    one = blob_directions(generator)["hue"]
    assert FileEvaluation(one, generator).metrics == ("penalty", "activeness")
    with pytest.raises(UserError, match="diagonalness only for two or more"):
        FileEvaluation(one, generator, metrics=["diagonalness"])


def test_verdict_knows_which_way_is_better():
    """And says nothing where the interval of the differences holds 0."""
    more, less = interval([1.0, 1.1, 0.9]), interval([-1.0, -1.1, -0.9])
    assert (verdict("penalty", less), verdict("penalty", more)) == ("better", "worse")
    assert (verdict("diagonal_share", less), verdict("diagonal_share", more)) == ("worse", "better")
    assert (verdict("active_directions", less), verdict("active_directions", more)) == ("less", "more")
    for values in ([-1.0, 1.0, 0.1], [-1.0]):
        assert verdict("penalty", interval(values)) == "no clear difference"


def test_report_is_json_with_everything(closed):
    """Numbers with every value, differences seed by seed, spectra in falling order, each direction."""
    report = json.loads(json.dumps(closed, allow_nan=False))
    penalty = report["numbers"]["penalty"]
    assert len(penalty["found"]["values"]) == 3
    difference = np.subtract(penalty["found"]["values"], penalty["random"]["values"])
    assert penalty["found_less_random"]["values"] == pytest.approx(difference.tolist())
    means = [place["mean"] for place in report["spectra"]["found"]]
    assert means == sorted(means, reverse=True)
    assert sum(row["activeness"]["mean"] for row in report["directions"]) == pytest.approx(sum(means))


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
