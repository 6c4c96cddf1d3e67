"""The renderer of letters: on fonts that are built here, so that none need be fetched."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("fontTools")
pytest.importorskip("scipy")
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from program import load_program


@pytest.fixture(scope="module")
def script():
    return load_program("scripts/render_letters.py")


def build_font(path: Path, family: str, stem: int = 120, angle: float = 0.0, weight: int = 400) -> None:
    """Write a font whose letters are a stem of 700 units and a notch that differs from letter to letter."""
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    builder = FontBuilder(1000, isTTF=True)
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
    builder.setupOS2(usWeightClass=weight)
    builder.setupPost(italicAngle=angle)
    path.parent.mkdir(parents=True, exist_ok=True)
    builder.save(path)


def test_letters_stand_on_the_baseline_with_one_cap_height(script, tmp_path):
    """Whatever the font's own units: 0.60 of the side high, on 0.70 of it, in the middle."""
    build_font(tmp_path / "plain.ttf", "Plain")
    images = script.render_face(tmp_path / "plain.ttf", 64)
    ink = images[7] < 128
    rows, columns = np.where(ink.any(axis=1))[0], np.where(ink.any(axis=0))[0]
    assert (rows[0], rows[-1] + 1) == (pytest.approx(6.4, abs=1), pytest.approx(44.8, abs=1))
    assert columns[0] + columns[-1] == pytest.approx(63, abs=1)
    assert images.dtype == np.uint8
    assert images[7].max() == 255


def test_folder_of_ones_own_fonts(script, tmp_path, monkeypatch):
    """Two faces are kept with their tables, a third that repeats the first and a broken file are not."""
    monkeypatch.setattr(script, "ODD_LETTERS", 27)  # the letters of these fonts are none
    monkeypatch.setattr(script, "MISREAD_LETTERS", 27)
    for name, stem in (("a", 60), ("b", 200), ("c", 60)):
        build_font(tmp_path / "fonts" / f"{name}.ttf", name.upper(), stem=stem, weight=stem * 2)
    (tmp_path / "fonts" / "broken.otf").write_bytes(b"no font")
    out = tmp_path / "data"
    assert script.main(["--fonts", str(tmp_path / "fonts"), "--out", str(out)]) == 0
    summary = json.loads((out / "dataset.json").read_text())
    images = np.load(out / "images.npy")
    with (out / "faces.csv").open() as file:
        faces = list(csv.DictReader(file))
    assert (summary["faces"], len(faces)) == (2, 2)
    assert images.shape == (summary["images"], 64, 64)
    assert summary["not_kept"]["near-duplicate"] == 1
    assert summary["licences"] == {"OFL": 2}
    assert [face["weight_class"] for face in faces] == ["120", "400"]
    assert float(faces[1]["weight"]) > float(faces[0]["weight"])
