"""``directions evaluate``."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from closed import ClosedFormGenerator

from directions.direction_file import Directions
from directions.direction_file.format import make_header
from directions.evaluation.report import FileEvaluation

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
        (
            ["--metrics", "fid"],
            "Error: --metrics must be among penalty, hessians, diagonalness, activeness, factors, got 'fid'",
        ),
        (["--metrics", "factors"], "Error: --metrics can have factors only for generators whose images"),
        (["--plot", "x.gif"], "A plot's name must end in .png, .svg or .pdf"),
    ],
    ids=" ".join,
)
def test_evaluate_refuses(command, file, arguments, message):
    """Before anything is measured, with the option by its name."""
    result = command("evaluate", file, *arguments)
    assert result.code == 2
    assert message in result.err
    assert list(Path.cwd().iterdir()) == [file]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--out", "nowhere/x.json"], "nowhere does not exist. Create it"),
        (["--plot", "nowhere/x.png"], "nowhere does not exist. Create it"),
        (["--out", "."], "Error: Cannot write .: it is a folder"),
    ],
    ids=" ".join,
)
def test_evaluate_checks_its_files_before_measuring(command, file, monkeypatch, arguments, message):
    """Minutes of work are not lost to a slip in a path."""
    monkeypatch.setattr(FileEvaluation, "run", lambda *_, **__: pytest.fail("measured"))
    result = command("evaluate", file, *FAST, *arguments)
    assert result.code == 2
    assert message in result.err
    assert list(Path.cwd().iterdir()) == [file]
