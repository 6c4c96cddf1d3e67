"""The short version of ``make fuzz``: some of each kind of damage; the first fault fails."""

from __future__ import annotations

import pytest
from program import load_program

script = load_program("scripts/fuzz_direction_file.py")


@pytest.mark.parametrize(("kind", "cases"), [("bytes", 400), ("mutations", 300), ("formats", 200), ("headers", 300)])
def test_reader_survives(tmp_path, kind, cases):
    """A UserError each time; wrong headers are refused, or sound through and through."""
    counts = script.fuzz({kind: cases}, seed=1, folder=tmp_path)[kind]
    assert sum(counts.values()) == cases
    assert counts[script.REFUSED] > cases / 2
    assert set(counts) <= {script.REFUSED, script.SAME} | ({script.SOUND} if kind == "headers" else set())
