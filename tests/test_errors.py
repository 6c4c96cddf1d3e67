"""directions.errors: the exception for wrong input and its suggestions."""

from __future__ import annotations

import pytest

from directions.errors import UserError, nearest


def test_user_error_is_a_value_error_with_its_message():
    """Code that knows nothing of us can catch it as a ValueError, message intact."""
    with pytest.raises(ValueError, match=r"^num_probes must be at least 2, got 1\.$"):
        raise UserError("num_probes must be at least 2, got 1.")


@pytest.mark.parametrize(
    ("word", "suggestion"),
    [
        ("shpere", " Did you mean 'sphere'?"),
        ("SPHERE", " Did you mean 'sphere'?"),
        ("builtn", " Did you mean 'Builtin'?"),
        ("zzzz", ""),
        ("", ""),
    ],
)
def test_nearest_suggests_what_resembles(word, suggestion):
    """Slips and wrong case find the allowed spelling; nonsense finds nothing."""
    assert nearest(word, ["cube", "sphere", "Builtin"]) == suggestion
