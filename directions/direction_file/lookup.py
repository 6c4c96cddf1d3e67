"""Find a direction by what people call it: an index, a name, or the beginning of a name.

Used by `directions.Directions`, which knows the names.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Iterable, Sequence
from typing import Any, TypeGuard

from directions.errors import UserError, nearest

_SHOWN = 40

Key = int | str
"""A direction's index, its name, or the beginning of its name that no other has."""


def find(names: Sequence[str], key: Key) -> int:
    """Find a direction among others.

    Args:
        names: The names of all, in the order of their indices.
        key: An index (as a number, or as the text of one), a name, or the beginning of a name that no other has.

    Returns:
        Its index, from 0.

    Raises:
        UserError: If there is no such direction, or several names begin so.

    Example:
        >>> find(["hue", "height", "size"], "hu"), find(["hue", "height", "size"], "2")
        (0, 2)
    """
    if isinstance(key, str):
        if key in names:
            return names.index(key)
        if not re.fullmatch(r"[+-]?[0-9]{1,18}", key):
            return _find_prefix(names, key)
        key = int(key)
    if isinstance(key, bool) or not is_key(key):
        raise UserError(f"A direction is an index or a name, got {key!r}.")
    number = int(key)
    if not 0 <= number < len(names):
        raise UserError(f"There is no direction {number}: the indices go from 0 to {len(names) - 1}.")
    return number


def is_key(value: Any) -> TypeGuard[Key]:
    """Tell one direction (a name, or a whole number of any library) from a sequence of them."""
    try:
        return isinstance(value, str) or operator.index(value) is not None
    except TypeError:
        return False


def keys_of(value: Key | Sequence[Key]) -> list[Key]:
    """Turn one direction or a sequence of them into a list.

    Args:
        value: One or several.

    Returns:
        Each of them.

    Raises:
        UserError: If it is neither.
    """
    if is_key(value):
        return [value]
    if isinstance(value, Iterable):
        return list(value)
    raise UserError(f"A direction is an index or a name, or a sequence of them, got {value!r}.")


def short(value: Any) -> str:
    """Show a value from a file or a user, which may be long or hold control characters, in a message.

    Args:
        value: Anything.

    Returns:
        Its ``repr``, cut to some 40 characters.
    """
    text = repr(value)
    return text if len(text) <= _SHOWN + 1 else f"{text[:_SHOWN]}…"


def _find_prefix(names: Sequence[str], prefix: str) -> int:
    """Find the one direction whose name begins so."""
    found = [index for index, name in enumerate(names) if prefix and name.startswith(prefix)]
    if len(found) == 1:
        return found[0]
    if found:
        several = ", ".join(repr(names[index]) for index in found[:6]) + (", …" if len(found) > 6 else "")
        raise UserError(f"{prefix!r} begins {len(found)} names: {several}. Write more of it.")
    hint = nearest(prefix, names)
    if not hint:
        hint = f" The names are: {', '.join(names[:8])}{', …' if len(names) > 8 else ''}."
    raise UserError(f"There is no direction {prefix!r}.{hint}")
