"""Checks of settings, field by field: each refuses with the field's name, what it is and what is allowed.

Before ``config``, whose dataclass they are part of. Torch is not imported.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable

from directions.config import ConfigError
from directions.errors import nearest

_NUMBERS = re.compile(r"\d+(-\d+)?(,\d+(-\d+)?)*")
_PAPER_ACTIVATIONS = 10
"""Those of up to 64 pixels."""


class Checked:
    """A frozen dataclass whose fields can be checked, and numbers be brought to one form."""

    def _check_per_level(self, field: str, minimum: int, levels: int) -> None:
        values = getattr(self, field)
        values = tuple(values) if isinstance(values, list | tuple) else (values,)
        whole = field == "batch_size"
        for value in values:
            if not (is_whole(value, minimum) if whole else is_number(value) and value >= minimum):
                kind = "a whole number" if whole else "a number"
                raise ConfigError(field, f"must be {kind} of at least {minimum} for each level, got {value!r}.")
        if len(values) == levels or len(values) == 1:
            object.__setattr__(self, field, values if whole else tuple(map(float, values)))
            return
        raise ConfigError(field, f"must have one value, or one for each of {levels} levels, got {len(values)}.")

    def _check_whole(self, field: str, minimum: int, maximum: int | None = None, why: str = "") -> None:
        value = getattr(self, field)
        if not is_whole(value, minimum) or (maximum is not None and value > maximum):
            allowed = f"at least {minimum}" if maximum is None else f"from {minimum} to {maximum}"
            raise ConfigError(field, f"must be a whole number, {allowed}{why}, got {value!r}.")

    def _check_number(self, field: str, *, above: bool, maximum: float = math.inf) -> None:
        value = getattr(self, field)
        if not is_number(value) or value < 0 or (above and value == 0) or value > maximum:
            least = "above 0" if above else "at least 0"
            most = "" if math.isinf(maximum) else f" and at most {maximum:g}"
            raise ConfigError(field, f"must be a number {least}{most}, got {value!r}.")
        object.__setattr__(self, field, float(value))

    def _check_choice(self, field: str, allowed: Iterable[str]) -> None:
        value, choices = getattr(self, field), tuple(allowed)
        if value not in choices:
            raise ConfigError(field, f"must be {listed(choices)}, got {value!r}.{nearest(str(value), choices)}")


def chosen_activations(spec: str, count: int) -> tuple[int, ...] | None:
    """Read which activations are meant.

    Args:
        spec: ``"paper"``, ``"all"``, or numbers and ranges such as ``"0-5,8"``.
        count: How many there are.

    Returns:
        Their numbers, ascending; ``None`` if it cannot be read, or names one that is not there.

    Example:
        >>> chosen_activations("0-2,7", 8)
        (0, 1, 2, 7)
    """
    if spec in ("paper", "all"):
        return tuple(range(min(count, _PAPER_ACTIVATIONS) if spec == "paper" else count))
    wanted: set[int] = set()
    for part in str(spec).split(",") if _NUMBERS.fullmatch(str(spec)) else ():
        first, _, last = part.partition("-")
        wanted |= set(range(int(first), int(last or first) + 1))
    return tuple(sorted(wanted)) if wanted and max(wanted) < count else None


def is_whole(value: object, minimum: int) -> bool:
    """Whether a value is a whole number of at least so much."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= minimum


def is_number(value: object) -> bool:
    """Whether a value is a finite number."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def listed(choices: Iterable[object]) -> str:
    """Spell choices in a sentence."""
    return " or ".join(map(str, choices))
