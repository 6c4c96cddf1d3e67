"""The renderer's bookkeeping, without Blender: factors follow from seed and index, settings are not mixed."""

from __future__ import annotations

import csv
import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "render_scenes.py"


@pytest.fixture(scope="module")
def renderer() -> ModuleType:
    """The script as a module."""
    spec = importlib.util.spec_from_file_location("render_scenes", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    sys.modules["render_scenes"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def test_factors_follow_from_seed_and_index(renderer: ModuleType) -> None:
    """Whatever was drawn before, and different for another seed or index."""
    simple = renderer.SETS["clevr-simple"]
    first = renderer.draw_factors(simple, 0, 7)
    renderer.draw_factors(simple, 3, 9)
    assert renderer.draw_factors(simple, 0, 7) == first
    assert renderer.draw_factors(simple, 0, 8) != first
    assert renderer.draw_factors(simple, 1, 7) != first


@pytest.mark.parametrize("name", ["clevr-simple", "clevr-complex", "clevr-1fov"])
def test_factors_are_uniform_over_their_ranges(renderer: ModuleType, name: str) -> None:
    """Those that vary fill their range; those that do not stand still."""
    scene_set = renderer.SETS[name]
    scenes = [renderer.draw_factors(scene_set, 0, index) for index in range(600)]
    assert {len(scene) for scene in scenes} == {scene_set.num_objects}
    for factor, (low, high) in renderer.RANGES.items():
        values = np.array([item[factor] for scene in scenes for item in scene])
        assert low <= values.min() <= values.max() <= high
        if factor in scene_set.factors:
            assert values.std() == pytest.approx((high - low) / 12**0.5, rel=0.1)
        else:
            assert set(values) == {scene_set.fixed[factor]}
    assert {item["shape"] for scene in scenes for item in scene} == set(scene_set.shapes)


def test_two_objects_never_stand_in_each_other(renderer: ModuleType) -> None:
    """Their bounding circles keep apart."""
    for index in range(300):
        a, b = renderer.draw_factors(renderer.SETS["clevr-complex"], 0, index)
        assert np.hypot(a["x"] - b["x"], a["y"] - b["y"]) >= a["size"] + b["size"]


def test_table_has_a_row_an_image_and_columns_for_each_object(renderer: ModuleType, tmp_path: Path) -> None:
    """The first rows do not depend on how many follow."""
    renderer.write_factors(tmp_path, renderer.SETS["clevr-complex"], 0, 5)
    short = (tmp_path / "factors.csv").read_text()
    renderer.write_factors(tmp_path, renderer.SETS["clevr-complex"], 0, 9)
    assert (tmp_path / "factors.csv").read_text().startswith(short)
    with (tmp_path / "factors.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 9
    assert list(rows[0]) == ["index", *(n + s for s in ("", "_2") for n in ("shape", "hue", "x", "y", "size"))]


def test_folder_of_other_settings_is_refused(renderer: ModuleType, tmp_path: Path) -> None:
    """Images of two settings are never mixed."""
    renderer.check_same_settings(tmp_path, {"size": 64, "seed": 0})
    renderer.check_same_settings(tmp_path, {"size": 64, "seed": 0})
    with pytest.raises(ValueError, match=r"other settings \(seed differ\)"):
        renderer.check_same_settings(tmp_path, {"size": 64, "seed": 1})
    assert json.loads((tmp_path / "settings.json").read_text()) == {"size": 64, "seed": 0}


@pytest.mark.parametrize("arguments", [["--count", "0"], ["--size", "8"], ["--samples", "0"], ["--workers", "-1"]])
def test_arguments_outside_their_range_are_refused(
    renderer: ModuleType, arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 2 and the range."""
    with pytest.raises(SystemExit) as stop:
        renderer.main(arguments)
    assert stop.value.code == 2
    assert "must be from" in capsys.readouterr().err
