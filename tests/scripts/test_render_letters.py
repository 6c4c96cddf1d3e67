"""The renderer of letters: on fonts that matplotlib brings, so that none need be fetched."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from program import load_program

for needed in ("fontTools", "scipy"):
    pytest.importorskip(needed)
FONTS = Path(pytest.importorskip("matplotlib").get_data_path()) / "fonts" / "ttf"
script = load_program("scripts/render_letters.py")


def test_letters_stand_on_the_baseline_with_one_cap_height():
    """Whatever the font's own units: 0.60 of the side high, on 0.70 of it, in the middle."""
    for font in ("DejaVuSans", "STIXGeneral"):
        images = script.render_face(FONTS / f"{font}.ttf", 64)
        ink = images[7] < 128  # H
        rows, columns = np.where(ink.any(axis=1))[0], np.where(ink.any(axis=0))[0]
        assert (rows[0], rows[-1] + 1) == (pytest.approx(6.4, abs=1), pytest.approx(44.8, abs=1))
        assert columns[0] + columns[-1] == pytest.approx(63, abs=1)
        assert images.dtype == np.uint8
        assert images[7].max() == 255


def test_folder_of_ones_own_fonts(tmp_path, monkeypatch):
    """Three faces are kept with their tables, a fourth that repeats the first and a broken file are not."""
    monkeypatch.setattr(script, "MISREAD_LETTERS", 27)  # so few faces teach no reader
    (tmp_path / "fonts").mkdir()
    for name, font in {"a": "DejaVuSans", "b": "DejaVuSans-Bold", "c": "DejaVuSans", "d": "STIXGeneral"}.items():
        shutil.copy(FONTS / f"{font}.ttf", tmp_path / "fonts" / f"{name}.ttf")
    (tmp_path / "fonts" / "broken.otf").write_bytes(b"no font")
    out = tmp_path / "data"
    assert script.main(["--fonts", str(tmp_path / "fonts"), "--out", str(out)]) == 0
    summary = json.loads((out / "dataset.json").read_text())
    with (out / "faces.csv").open() as file:
        sans, bold, serif = csv.DictReader(file)
    assert summary["faces"] == 3
    assert np.load(out / "images.npy").shape == (summary["images"], 64, 64)
    assert summary["not_kept"] == {"near-duplicate": 1, "not readable (TTLibError)": 1}
    assert summary["licences"]["OFL"] == 1
    assert (sans["weight_class"], bold["weight_class"]) == ("400", "700")
    assert float(bold["weight"]) > float(sans["weight"])
    assert float(serif["serif"]) > float(sans["serif"])
