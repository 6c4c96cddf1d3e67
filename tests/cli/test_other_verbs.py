"""``inspect`` and ``generators``, and wrong files for every verb that reads one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from fakes import blob_directions

from directions.generators.registry import GeneratorStatus


@pytest.fixture
def run(discover):
    """A finished run."""
    assert discover("--name", "a", "-y", "2,0", "--truncation", "0.5").code == 0
    return Path("outputs/00000-a")


@pytest.mark.parametrize("name", ["", "directions.safetensors"])
def test_inspect_shows_origin_and_every_direction(command, run, name):
    """For the file, and for the run folder that it is in."""
    result = command("inspect", run / name)
    assert result.code == 0
    assert "4 directions of closed-form (|z| 4, 8 pixels" in result.out
    assert "steps 3, seed 0, truncation 0.5, classes 2,0, z components 0:4" in result.out
    assert "held-out penalty: before" in result.out
    lines = [line.split() for line in result.out.splitlines()[-4:]]
    assert [line[1] for line in lines] == ["d0", "d1", "d2", "d3"]
    assert all(line[-1].endswith("%") for line in lines)


def test_inspect_shows_files_with_gaps(command, tmp_path):
    """What was not measured is left empty."""
    file = tmp_path / "x.safetensors"
    blob_directions(activeness=[None] * 6, penalty=None, classes=None, seed=None, steps=None).save(file)
    result = command("inspect", file)
    assert result.code == 0
    assert "left-right" in result.out
    assert "None" not in result.out


@pytest.mark.parametrize("verb", ["inspect", "render"])
@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "no direction file"), (b"", "empty"), (b"<html>", "HTML"), (b"\x80\x02}q", "pickle")],
    ids=["missing", "empty", "html", "pickle"],
)
def test_wrong_file_is_one_sentence(command, verb, content, message):
    """Exit status 2 and no traceback."""
    if content is not None:
        Path("x.safetensors").write_bytes(content)
    result = command(verb, "x.safetensors")
    assert result.code == 2
    assert result.err.startswith("Error: ")
    assert message in result.err
    assert "Traceback" not in result.err


STATUSES = [
    GeneratorStatus("builtin", "ready", "sha256 abc", 12, 3, 64),
    GeneratorStatus("other", "missing", "Download it first."),
]


def test_generators_lists_what_there_is_and_what_is_missing(command, monkeypatch):
    """As a table, and as JSON."""
    monkeypatch.setattr("directions.generators.registry.list_generators", lambda: STATUSES)
    lines = command("generators").out.splitlines()
    assert lines[1].split() == ["builtin", "ready", "12", "3", "64", "sha256", "abc"]
    assert lines[2].split() == ["other", "missing", "Download", "it", "first."]
    listed = command("generators", "--json").json
    assert listed[0] == {
        "name": "builtin", "state": "ready", "detail": "sha256 abc", "dim_z": 12, "num_classes": 3, "resolution": 64,
    }  # fmt: skip
    assert json.dumps(listed[1]["dim_z"]) == "null"
