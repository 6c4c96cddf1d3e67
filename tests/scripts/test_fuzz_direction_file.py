"""The short version of ``make fuzz``: some of each kind of damage; the first fault fails."""

from __future__ import annotations

import importlib.util
import signal
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "fuzz_direction_file.py"


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("fuzz_direction_file", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(("kind", "cases"), [("bytes", 700), ("mutations", 500), ("formats", 200), ("headers", 300)])
def test_reader_survives(script, tmp_path, kind, cases):
    """A UserError each time; wrong headers are refused, or sound through and through."""
    counts = script.fuzz({kind: cases}, seed=1, folder=tmp_path)[kind]
    assert sum(counts.values()) == cases
    assert counts[script.REFUSED] > cases / 2
    assert set(counts) <= {script.REFUSED, script.SAME} | ({script.SOUND} if kind == "headers" else set())


def test_faults_are_kept_and_counted(script, tmp_path, monkeypatch, capsys):
    """The long version goes on, says what was wrong, and keeps the file."""
    monkeypatch.setattr(script, "load_directions", lambda path: 1 / 0)
    monkeypatch.setattr(signal, "setitimer", lambda *_: None)
    counts = script.fuzz({"mutations": 3}, seed=0, folder=tmp_path, faults=tmp_path / "faults")["mutations"]
    assert counts == {"FAULT ZeroDivisionError: division by zero": 3}
    assert len(list((tmp_path / "faults").iterdir())) == 3


def test_wrong_answer_is_a_fault(script, tmp_path, monkeypatch):
    """A damaged file that is read as another."""
    other = script.small_directions().renamed(0, "other")
    monkeypatch.setattr(script, "load_directions", lambda path: other)
    with pytest.raises(AssertionError, match="a damaged file was read as if it were not"):
        script.fuzz({"mutations": 1}, seed=0, folder=tmp_path)


def test_wrong_headers_leave_the_values_as_they_are(script):
    """What one header was given and the next one changes must not be the same object."""
    before = repr(script.VALUES)
    for _ in script.wrong_headers(script.small_directions(), script.random.Random(0), 2000):
        pass
    assert repr(script.VALUES) == before
