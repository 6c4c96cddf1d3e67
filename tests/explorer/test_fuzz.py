"""The short version of ``scripts/fuzz_explorer.py``."""

from __future__ import annotations

from program import load_program


def test_fuzzed_requests_are_answered_or_refused():
    """Never a failure of ours, and the file stays as sound as it was."""
    counts = load_program("scripts/fuzz_explorer.py").fuzz(25)
    assert counts[200] >= 3
    assert counts[400] >= 20
    assert counts[403] >= 1
