"""The renderers of scenes, without Blender, and of letters, on fonts that are built here."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from program import load_program

renderer = load_program("scripts/render_scenes.py")
typeface = load_program("scripts/render_letters.py")


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


def test_folder_of_other_settings_is_refused(tmp_path, capsys):
    """Images of two settings are never mixed; an argument outside its range ends with exit code 2."""
    for _ in range(2):
        renderer.check_same_settings(tmp_path, {"size": 64, "seed": 0})
    with pytest.raises(ValueError, match=r"other settings \(seed differ\)"):
        renderer.check_same_settings(tmp_path, {"size": 64, "seed": 1})
    assert json.loads((tmp_path / "settings.json").read_text()) == {"size": 64, "seed": 0}
    with pytest.raises(SystemExit, match="2"):
        renderer.main(["--size", "8"])
    assert "must be from" in capsys.readouterr().err


def build_font(path: Path, family: str, stem: int) -> None:
    """Write a font whose letters are a stem of 700 units and a notch that differs from letter to letter."""
    font_builder = pytest.importorskip("fontTools.fontBuilder")
    from fontTools.pens.ttGlyphPen import TTGlyphPen

    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    builder = font_builder.FontBuilder(1000, isTTF=True)
    builder.setupGlyphOrder([".notdef", *letters])
    builder.setupCharacterMap({ord(letter): letter for letter in letters})
    glyphs = {}
    for index, name in enumerate([".notdef", *letters]):
        pen = TTGlyphPen(None)
        boxes = [(100, 100 + stem, 0, 700), (100, 420, 25 * index, 25 * index + 60)]
        for left, right, bottom, top in boxes:
            for place, corner in enumerate([(left, bottom), (left, top), (right, top), (right, bottom)]):
                (pen.lineTo if place else pen.moveTo)(corner)
            pen.closePath()
        glyphs[name] = pen.glyph()
    builder.setupGlyf(glyphs)
    builder.setupHorizontalMetrics(dict.fromkeys(glyphs, (520, 100)))
    builder.setupHorizontalHeader(ascent=800, descent=-200)
    builder.setupNameTable(
        {"familyName": family, "styleName": "Regular", "licenseInfoURL": "https://scripts.sil.org/OFL"}
    )
    builder.setupOS2(usWeightClass=stem * 2)
    builder.setupPost()
    path.parent.mkdir(parents=True, exist_ok=True)
    builder.save(path)


def test_folder_of_ones_own_fonts(tmp_path, monkeypatch):
    """Two faces are kept with their tables, a third that repeats the first and a broken file are not."""
    monkeypatch.setattr(typeface, "ODD_LETTERS", 27)  # the letters of these fonts are none
    monkeypatch.setattr(typeface, "MISREAD_LETTERS", 27)
    for name, stem in (("a", 60), ("b", 200), ("c", 60)):
        build_font(tmp_path / "fonts" / f"{name}.ttf", name.upper(), stem)
    (tmp_path / "fonts" / "broken.otf").write_bytes(b"no font")
    out = tmp_path / "data"
    assert typeface.main(["--fonts", str(tmp_path / "fonts"), "--out", str(out)]) == 0
    summary = json.loads((out / "dataset.json").read_text())
    images = np.load(out / "images.npy")
    with (out / "faces.csv").open() as file:
        faces = list(csv.DictReader(file))
    assert (summary["faces"], len(faces)) == (2, 2)
    assert images.shape == (summary["images"], 64, 64)
    ink = images[7] < 128  # 0.60 of the side high, on 0.70 of it, in the middle, whatever the font's own units
    rows, columns = np.where(ink.any(axis=1))[0], np.where(ink.any(axis=0))[0]
    assert (rows[0], rows[-1] + 1) == (pytest.approx(6.4, abs=1), pytest.approx(44.8, abs=1))
    assert columns[0] + columns[-1] == pytest.approx(63, abs=1)
    assert summary["not_kept"]["near-duplicate"] == 1
    assert summary["licences"] == {"OFL": 2}
    assert [face["weight_class"] for face in faces] == ["120", "400"]
    assert float(faces[1]["weight"]) > float(faces[0]["weight"])
