"""Ranges as users write them: ``START:STOP``, ``all``, or a third by its name.

Read by the configuration, which only asks whether a text is one, and by what has a size: the components of z
(`directions.basis`) and the layers of a generator (`directions.generators.layers`).
"""

from __future__ import annotations

import re

from directions.errors import nearest

THIRDS = ("coarse", "mid", "fine")
"""Names of the first, the second and the last third of a range."""

_NAMES = ("all", *THIRDS)
_RANGE = re.compile(r"([0-9]*):([0-9]*)")


def is_range(text: object) -> bool:
    """Whether something has the form of a range; whether the range is there depends on what it is of."""
    return isinstance(text, str) and (text.strip() in _NAMES or _RANGE.fullmatch(text.strip()) is not None)


def read_range(text: str, size: int) -> tuple[int, int] | None:
    """Read a range of ``size`` things.

    Args:
        text: ``"0:4"``, ``"4:"``, ``":4"`` or ``":"`` (an end left out is that end of all), ``"all"``, or ``"coarse"``,
            ``"mid"`` or ``"fine"``: the first, second or last third.
        size: How many there are.

    Returns:
        First, and one past the last, as written: they need not lie within the size. ``None`` if the text is no range.

    Example:
        >>> read_range("mid", 120), read_range("7:", 11)
        ((40, 80), (7, 11))
    """
    text = text.strip()
    if text == "all":
        return 0, size
    if text in THIRDS:
        third = THIRDS.index(text)
        return round(third * size / 3), round((third + 1) * size / 3)
    match = _RANGE.fullmatch(text)
    return (int(match[1] or 0), int(match[2] or size)) if match else None


def range_fault(text: str, size: int, what: str) -> str | None:
    """Say why a text is no range of ``size`` things, or not one of them.

    Args:
        text: What a user gave.
        size: How many there are.
        what: What they are, such as ``"layers"``.

    Returns:
        What is allowed and what was given, to follow a subject; ``None`` if the text can be used.

    Example:
        >>> range_fault("0:12", 11, "layers")
        'must be START:STOP with 0 <= START < STOP <= 11 (the number of layers), coarse, mid, fine or all, got 0:12.'
    """
    ends = read_range(text, size)
    third_of_nothing = size < len(THIRDS) and text.strip() in THIRDS
    if ends is not None and 0 <= ends[0] < ends[1] <= size and not third_of_nothing:
        return None
    allowed = f"must be START:STOP with 0 <= START < STOP <= {size} (the number of {what}), coarse, mid, fine or all"
    if ends is None:
        return f"{allowed}, got {text!r}.{nearest(text.strip(), _NAMES)}"
    if third_of_nothing:
        return f"{allowed}, got {text.strip()!r}: {size} {what} have no thirds."
    return f"{allowed}, got {ends[0]}:{ends[1]}."
