"""directions.errors: the exception for wrong input and its suggestions."""

from __future__ import annotations

from directions.errors import nearest


def test_nearest_suggests_what_resembles():
    """Slips and wrong case find the allowed spelling; nonsense finds nothing."""
    for word, meant in (("shpere", "sphere"), ("SPHERE", "sphere"), ("builtn", "Builtin"), ("zzzz", None), ("", None)):
        assert nearest(word, ["cube", "sphere", "Builtin"]) == (f" Did you mean '{meant}'?" if meant else "")
