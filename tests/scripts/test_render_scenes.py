"""The renderer of scenes, without Blender: factors follow from seed and index, settings are not mixed."""

from __future__ import annotations

import csv

import numpy as np
import pytest
from program import load_program

renderer = load_program("scripts/render_scenes.py")


@pytest.mark.parametrize("name", ["clevr-simple", "clevr-complex", "clevr-1fov"])
def test_factors_are_uniform_over_their_ranges(name):
    """Those that vary fill their range, those that do not stand still; two objects never stand in each other."""
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
    for a, b in [scene for scene in scenes if len(scene) == 2]:
        assert np.hypot(a["x"] - b["x"], a["y"] - b["y"]) >= a["size"] + b["size"]


def test_table_has_a_row_an_image_that_follows_from_seed_and_index(tmp_path):
    """And columns for each object; the first rows do not depend on how many follow, nor on what was drawn before."""
    simple = renderer.SETS["clevr-simple"]
    first, *others = (renderer.draw_factors(simple, *which) for which in [(0, 7), (0, 8), (1, 7)])
    assert renderer.draw_factors(simple, 0, 7) == first
    assert first not in others
    renderer.write_factors(tmp_path, renderer.SETS["clevr-complex"], 0, 5)
    short = (tmp_path / "factors.csv").read_text()
    renderer.write_factors(tmp_path, renderer.SETS["clevr-complex"], 0, 9)
    assert (tmp_path / "factors.csv").read_text().startswith(short)
    with (tmp_path / "factors.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 9
    assert list(rows[0]) == ["index", *(n + s for s in ("", "_2") for n in ("shape", "hue", "x", "y", "size"))]
