"""``directions evaluate``."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from closed import ClosedFormGenerator

from directions import load_directions
from directions.evaluation.activeness import activeness

FILE = "directions.safetensors"
FAST = ["--seeds", "2", "--samples", "2"]


def test_evaluate_prints_tables(command, run):
    """Settings, numbers with verdicts, directions; progress on stderr only; --json prints what the file holds."""
    result = command("evaluate", run, *FAST)
    assert result.code == 0
    lines = result.out.splitlines()
    assert lines[0].startswith("4 directions of closed-form: z components 0:4, truncation 0.5; 2 seeds, 2 places each")
    assert "found against random" in lines[2]
    starts = ("held-out penalty (lower", "off-diagonal", "energy", "diagonal share", "diagonal ratio", "active")
    assert all(line.startswith(start) for line, start in zip(lines[3:9], starts, strict=True))
    assert [line.split()[:2] for line in lines[-4:]] == [[str(i), f"d{i}"] for i in range(4)]
    given = [*FAST, "--metrics", "activeness, penalty", "--out", "e.json", "--plot", "e.png", "--json", "--quiet"]
    result = command("evaluate", run / FILE, *given)
    assert result.err == ""
    assert result.json == json.loads(Path("e.json").read_text())
    assert result.json["sha256"] == hashlib.sha256((run / FILE).read_bytes()).hexdigest()
    assert set(result.json["numbers"]) == {"penalty", "active_directions"}
    assert result.json["settings"]["classes"] == [2, 0]
    assert Path("e.png").read_bytes().startswith(b"\x89PNG")


def test_measure_fills_in_the_columns_of_a_converted_file(command, run):
    """As discovery measures them; the directions keep their order and what was written on them; it can be undone."""
    np.save("A.npy", np.eye(4)[[2, 0, 1]])  # the paper's kind of file: columns are empty
    path = Path("c.safetensors")
    assert command("convert", "A.npy", "--to", path, "--generator", "closed-form", "--weights", "w").code == 0
    assert command("name", path, "1", "hue", "--path-size", "1.5").code == 0
    before, content = load_directions(path), path.read_bytes()
    assert before.activeness == (None, None, None)
    suggested = command("inspect", path, "--suggest")
    assert [line.split()[:2] for line in suggested.out.splitlines()[1:4]] == [["0", "d0"], ["1", "hue"], ["2", "d2"]]
    assert "Suggested by statistics of a few pictures, and not written" in suggested.out
    assert len(command("inspect", path, "--suggest", "--json").json) == 3
    assert path.read_bytes() == content

    result = command("measure", path, "--final-samples", "6", "-q")
    assert (result.code, result.err) == (0, "")
    found = load_directions(path)
    generator = ClosedFormGenerator(dim_z=4, resolution=8)
    expected = activeness(generator, torch.eye(4)[[2, 0, 1]], samples=6, classes=range(generator.num_classes))
    assert found.activeness == pytest.approx(expected.tolist(), rel=1e-4)
    assert sum(entry["penalty_share"] for entry in found.header["directions"]) == pytest.approx(1)
    assert (found.names, found.path_sizes[1]) == (before.names, 1.5)
    assert max(found.path_sizes) < 5
    assert (found.matrix == before.matrix).all()
    assert "penalty share" in command("inspect", path).out
    assert "measured: activeness, path_size, penalty_share" in command("inspect", path, "--history").out
    assert command("name", path, "--undo").code == 0
    assert load_directions(path).path_sizes == before.path_sizes
