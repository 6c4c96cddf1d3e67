"""``directions evaluate``."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from directions import load_directions
from directions.direction_file import Directions
from directions.direction_file.format import make_header
from directions.evaluation.activeness import activeness
from directions.evaluation.report import FileEvaluation
from directions.generators.closed_form import ClosedFormGenerator

FAST = ["--seeds", "2", "--samples", "2"]


@pytest.fixture
def file(tmp_path):
    generator = ClosedFormGenerator(dim_z=4, resolution=8)
    header = make_header(
        generator, path_sizes=[3.0] * 3, names=["a", "b", "c"], classes=[0, 2], truncation=1.0, space=(0, 4),
        method="adam", config={}, steps=1, seed=0, penalty=None,
    )  # fmt: skip
    path = tmp_path / "directions.safetensors"
    Directions(generator.directions.numpy()[:3], header).save(path)
    return path


def test_evaluate_prints_tables(command, file):
    """Settings, numbers with verdicts, directions; progress on stderr only."""
    result = command("evaluate", file, *FAST)
    assert result.code == 0
    lines = result.out.splitlines()
    assert lines[0].startswith("3 directions of closed-form: z components 0:4, truncation 1; 2 seeds, 2 places each")
    assert "found against random" in lines[2]
    assert [line.split("  ")[0] for line in lines[3:9]] == [
        "held-out penalty (lower is better)", "off-diagonal energy (lower is better)",
        "energy on the diagonal (higher is better)", "diagonal share (higher is better)",
        "diagonal ratio (higher is better)", "active directions",
    ]  # fmt: skip
    assert [line.split()[:2] for line in lines[-3:]] == [["0", "a"], ["1", "b"], ["2", "c"]]


def test_evaluate_writes_json_and_a_plot(command, file):
    """The same that --json prints, with the file's digest."""
    given = [*FAST, "--metrics", "activeness, penalty", "--out", "e.json", "--plot", "e.png", "--json", "--quiet"]
    result = command("evaluate", file.parent, *given)
    assert result.err == ""
    assert result.json == json.loads(Path("e.json").read_text())
    assert result.json["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
    assert set(result.json["numbers"]) == {"penalty", "active_directions"}
    assert result.json["settings"]["classes"] == [0, 2]
    assert Path("e.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--seeds", "0"], "Error: --seeds must be at least 1, got 0"),
        (["--samples", "1"], "Error: --samples must be at least 2, got 1"),
        (["--metrics", "penalti"], "activeness, factors, got 'penalti'. Did you mean 'penalty'?"),
        (["--metrics", ""], "Error: --metrics must be among penalty"),
        (["--metrics", "factors"], "Error: --metrics can have factors only for generators whose images"),
        (["--plot", "x.gif"], "A plot's name must end in .png, .svg or .pdf"),
        (["--out", "nowhere/x.json"], "nowhere does not exist. Create it"),
        (["--plot", "nowhere/x.png"], "nowhere does not exist. Create it"),
        (["--out", "."], "Error: Cannot write .: it is a folder"),
    ],
    ids=" ".join,
)
def test_evaluate_refuses_before_measuring(command, file, monkeypatch, arguments, message):
    """With the option by its name: minutes of work are not lost to a slip in a path."""
    monkeypatch.setattr(FileEvaluation, "run", lambda *_, **__: pytest.fail("measured"))
    result = command("evaluate", file, *FAST, *arguments)
    assert result.code == 2
    assert message in result.err
    assert list(Path.cwd().iterdir()) == [file]


@pytest.fixture
def converted(command):
    """The paper's kind of file, made a direction file: its columns are empty."""
    np.save("A.npy", np.eye(4)[[2, 0, 1]])
    made = command("convert", "A.npy", "--to", "c.safetensors", "--generator", "closed-form", "--weights", "w")
    assert made.code == 0, made.err
    return ClosedFormGenerator(dim_z=4, resolution=8), Path("c.safetensors")


def test_measure_fills_in_the_columns_of_a_converted_file(command, converted):
    """As discovery measures them; the directions keep their order and what was written on them."""
    generator, path = converted
    assert command("name", path, "1", "hue", "--path-size", "1.5").code == 0
    before = load_directions(path)
    assert before.activeness == (None, None, None)
    result = command("measure", path, "--final-samples", "6", "-q")
    assert (result.code, result.err) == (0, "")
    found = load_directions(path)
    expected = activeness(generator, torch.eye(4)[[2, 0, 1]], samples=6, classes=range(generator.num_classes))
    assert found.activeness == pytest.approx(expected.tolist(), rel=1e-4)
    assert sum(entry["penalty_share"] for entry in found.header["directions"]) == pytest.approx(1)
    assert (found.names, found.path_sizes[1]) == (before.names, 1.5)
    assert max(found.path_sizes) < 5
    assert (found.matrix == before.matrix).all()
    shown = command("inspect", path).out
    assert "penalty share" in shown
    assert "%" in shown
    assert "measured: activeness, path_size, penalty_share" in command("inspect", path, "--history").out
    assert command("name", path, "--undo").code == 0
    assert load_directions(path).path_sizes == before.path_sizes


def test_measure_refuses_and_leaves_the_file(command, converted):
    """Before anything is measured."""
    _, path = converted
    before = path.read_bytes()
    result = command("measure", path, "--final-samples", "0")
    assert result.code == 2
    assert "--final-samples must be a whole number, at least 1, got 0" in result.err
    assert path.read_bytes() == before


def test_inspect_suggests_names_and_writes_nothing(command, converted):
    """A row for each direction, marked as what it is."""
    _, path = converted
    before = path.read_bytes()
    result = command("inspect", path, "--suggest")
    assert result.code == 0, result.err
    assert [line.split()[:2] for line in result.out.splitlines()[1:4]] == [["0", "d0"], ["1", "d1"], ["2", "d2"]]
    assert "Suggested by statistics of a few pictures, and not written" in result.out
    assert len(command("inspect", path, "--suggest", "--json").json) == 3
    assert path.read_bytes() == before
