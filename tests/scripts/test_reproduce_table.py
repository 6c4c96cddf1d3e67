"""The table's cells have the settings they should, go on from one another, and make a report."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from pictures import write_noise

SCRIPTS = Path(__file__).parents[2] / "scripts"


@pytest.fixture
def table(monkeypatch):
    """The script as a module."""
    monkeypatch.syspath_prepend(str(SCRIPTS))
    monkeypatch.setattr("torch.set_flush_denormal", lambda on: on)
    import reproduce_table

    yield reproduce_table
    for name in ("reproduce_table", "table_curves", "table_report", "table_runs"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize("scale", ["small", "paper"])
def test_rows_differ_in_what_they_are_about(table, scale):
    """Half the length for what fine-tuning starts from, as much in all for every other row."""
    asked = table.parse_arguments(["--folder", "cells", "--scale", scale])
    of = {row: table.settings_of(table.Cell("clevr-1fov", row, 3), asked) for row in table.ROWS}
    total = of["progan+"].kimg
    assert {row: config.kimg / total for row, config in of.items()} == {
        "infogan": 1, "progan+": 1, "progan": 0.5, "hp": 1, "hp-ft": 0.5
    }  # fmt: skip
    assert {row: config.infogan for row, config in of.items() if config.infogan} == {"infogan": 1}
    assert {row for row, config in of.items() if config.penalty == "hessian"} == {"hp", "hp-ft"}
    assert of["hp-ft"].fine_tune == str(Path("cells/clevr-1fov/progan-3/00000-run").absolute())
    assert of["hp-ft"].penalty_ramp_kimg == pytest.approx(0.2 * total)
    assert set(of["progan"].differences(of["progan+"])) == {"kimg"}
    if scale == "paper":
        assert of["hp"].penalty_weight == 0.0125
        assert of["hp"].growth == 6_000_000


def test_cells_come_after_what_they_go_on_from(table):
    """And a row brings along the one that it needs."""
    arguments = table.parse_arguments(["--rows", "hp-ft,infogan", "--sets", "clevr-simple", "--seeds", "0,1"])
    names = [cell.name for cell in table.cells_of(arguments)]
    assert names == [f"clevr-simple/{row}-{seed}" for seed in (0, 1) for row in ("progan", "infogan", "hp-ft")]


def fake_cell(folder, row, ppl, carrying):
    cell = folder / "clevr-simple" / f"{row}-0"
    (cell / "00000-run").mkdir(parents=True)
    scores = {
        "ppl_zend_effnetlite0_10k": {"value": ppl, "standard_error": 1.0},
        "fd_effnetlite0_5k": {"value": 2.0},
        "activeness": {"value": carrying, "activeness": [0.3, 0.1]},
        "diagonalness": {"value": 0.25},
        "dci_10k": {"value": None, "scores": {"x": 0.5}},
        "mig_10k": {"value": 0.125},
    }
    made = {"resolution": 32, "channels": [4, 4, 4, 4], "loss": "nonsaturating", "penalty_weight": 1e-5}
    made["penalty"] = "hessian" if row.startswith("hp") else None
    about = {"cell": {"data": "clevr-simple", "row": row, "seed": 0}, "kimg": 60.0, "settings": made, "scores": scores}
    (cell / "score.json").write_text(json.dumps(about))
    stats = [{"penalty": 100.0, "diversity": 0.5}] * 18 + [{"penalty": 2000.0}, {"penalty": 4000.0, "diversity": 0.75}]
    (cell / "00000-run" / "stats.jsonl").write_text("".join(json.dumps(line) + "\n" for line in stats))
    (cell / "sittings.jsonl").write_text('{"cpu_seconds": 120, "seconds": 240}\n' * 2)


def test_report_sets_ours_beside_the_published(table, tmp_path, capsys):
    """And says which comparisons come out as in the paper."""
    from table_report import write_report

    assert write_report(tmp_path / "none", tmp_path / "out", "small") == ""
    fake_cell(tmp_path / "cells", "hp", 40.0, 3)
    fake_cell(tmp_path / "cells", "infogan", 80.0, 11)
    fake_cell(tmp_path / "cells", "progan", 30.0, 12)
    text = write_report(tmp_path / "cells", tmp_path / "docs" / "table", "small")
    assert (tmp_path / "docs" / "table.md").read_text() == text
    assert "| with HP | 1 | 40 | 2 | 0.25 |  | 0.125 | 3 | 45.7 | 25 |" in text
    assert "PPL of with HP over that of InfoGAN: 0.50, as in the paper (0.81 there)" in text
    assert "PPL of with HP over that of ProGAN: 1.33, unlike the paper (0.74 there)" in text
    assert "| CLEVR-Simple, with HP | 0 | 60 | 4.0 | 8.0 |" in text
    assert len(json.loads((tmp_path / "docs" / "table.json").read_text())["cells"]) == 3


def test_long_runs_go_on_from_one_another(table, tmp_path, monkeypatch):
    """Plain, fine-tuned from it, from scratch; λ follows from the penalty at the start; a second walk does nothing."""
    import table_curves as curves

    for name, value in {"HELD_BACK": 4, "START": 1300.0, "EVERY": 1300.0}.items():
        monkeypatch.setattr(curves, name, value)
    monkeypatch.setattr(curves, "RUNS", dict.fromkeys((curves.PLAIN, curves.MIDDLE, curves.Run("hp", 10, "mean")), ""))
    small = {"channels": (4, 4, 4), "dim_z": 3, "batch_size": 4, "stable_kimg": (20, 0, 0)}
    monkeypatch.setattr(curves, "SETTINGS", curves.SETTINGS | small | {"fade_kimg": (0, 0, 0)})
    real = write_noise(tmp_path / "real", 12, 16, 16)
    asked = table.parse_arguments(["--scale", "long", "--kimg", "0.052", "--folder", str(tmp_path / "runs")])
    asked.data, asked.metrics = {"clevr-simple": str(real)}, ()
    curves.Curves(asked).walk()
    penalties = json.loads((tmp_path / "runs" / "penalties.json").read_text())
    points = {path.parent.name: json.loads((path / "config.json").read_text())["training"]
              for path in (tmp_path / "runs" / "points").glob("*/0.052")}  # fmt: skip
    assert points.keys() == {"plain-0", "ft-max-10-0", "hp-mean-10-0"}
    assert points["ft-max-10-0"]["kimg"] == pytest.approx(0.026)
    for name, reduction in (("ft-max-10-0", "max"), ("hp-mean-10-0", "mean")):
        assert points[name]["penalty_weight"] * penalties[reduction] == pytest.approx(10 * 0.693, rel=1e-3)
    monkeypatch.setattr(curves, "record_training", None)
    curves.Curves(asked).walk()
