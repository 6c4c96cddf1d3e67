"""The short version of ``scripts/fuzz_explorer.py``."""

from __future__ import annotations

import importlib.util
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "scripts" / "fuzz_explorer.py"


def test_fuzzed_requests_are_answered_or_refused():
    """Never a failure of ours, and the file stays as sound as it was."""
    spec = importlib.util.spec_from_file_location("fuzz_explorer", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    counts = module.fuzz(25)
    assert counts[200] >= 3
    assert counts[400] >= 20
    assert counts[403] >= 1
