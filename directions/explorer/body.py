"""Read the JSON that a page sends, field by field, and say clearly what is wrong with it.

First in the flow of a request: bytes in, checked values out. ``view.py`` and ``open_file.py`` say which fields there
are. Nothing here knows about generators.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from directions.errors import UserError, nearest

Value = TypeVar("Value")

_SHOWN = 80


def shorten(value: object) -> str:
    """Write what was got in a message, in ASCII and not too long, whatever it is.

    Args:
        value: Anything.

    Returns:
        Its ``repr``, cut off after 80 characters.

    Example:
        >>> shorten("x" * 200)[-4:]
        'xxx…'
    """
    text = repr(value)
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "…"


class Body:
    """The fields of a JSON object; each is taken once, and `finish` refuses those that nobody took.

    Args:
        fields: What JSON gave.
        name: What the object is called in messages.

    Raises:
        UserError: If it is not an object.
    """

    def __init__(self, fields: object, name: str = "The request") -> None:
        if not isinstance(fields, dict):
            raise UserError(f"{name} must be a JSON object, got {shorten(fields)}.")
        self._left: dict[str, Any] = dict(fields)
        self._known: list[str] = []
        self._name = name

    @classmethod
    def parse(cls, data: bytes) -> Body:
        """Read a request's body.

        Args:
            data: JSON in UTF-8.

        Returns:
            Its fields.

        Raises:
            UserError: If it is not JSON, holds NaN or infinity, or is not an object.
        """
        try:
            fields = json.loads(data, parse_constant=_refuse_constant)
        except (ValueError, RecursionError) as error:
            raise UserError(f"The request must be JSON in UTF-8: {shorten(str(error))}.") from None
        return cls(fields)

    def __contains__(self, name: str) -> bool:
        """Say whether a field is there and not taken yet; who asks knows it, so it counts as known in messages."""
        self._known.append(name)
        return name in self._left

    def take(self, name: str, read: Callable[[str, Any], Value], default: Value | None = None) -> Value:
        """Take a field.

        Args:
            name: Its name.
            read: Gets the name and the value, gives what it means, and raises ``UserError`` if it means nothing.
            default: What an absent field means; ``None``: it must be there.

        Returns:
            What ``read`` gives.

        Raises:
            UserError: If the field is missing or wrong.
        """
        self._known.append(name)
        if name not in self._left:
            if default is None:
                raise UserError(f"{self._name} lacks {name!r}.")
            return default
        return read(name, self._left.pop(name))

    def finish(self) -> None:
        """Refuse fields that were not taken.

        Raises:
            UserError: If there are any.
        """
        if self._left:
            name = next(iter(self._left))
            raise UserError(
                f"{self._name} has an unknown field {shorten(name)}.{nearest(name[:_SHOWN], self._known)} Known: "
                f"{', '.join(dict.fromkeys(self._known))}."
            )


def whole(low: int, high: int) -> Callable[[str, Any], int]:
    """Make a reader of whole numbers.

    Args:
        low: Least.
        high: Greatest.

    Returns:
        For `Body.take`.
    """

    def read(name: str, value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise UserError(f"{name} must be a whole number from {low} to {high}, got {shorten(value)}.")
        return value

    return read


def number(low: float, high: float, *, above: bool = False) -> Callable[[str, Any], float]:
    """Make a reader of finite numbers.

    Args:
        low: Least, or if ``above`` what it must be above.
        high: Greatest.
        above: Whether ``low`` itself is refused.

    Returns:
        For `Body.take`.
    """

    def read(name: str, value: Any) -> float:
        sound = isinstance(value, (int, float)) and not isinstance(value, bool)
        # Compared before it is made a float: a whole number of 400 digits is too large for one.
        if not sound or not low <= value <= high or not math.isfinite(value) or (above and value == low):
            raise UserError(
                f"{name} must be a number {'above' if above else 'from'} {low:g}{' and' if above else ''} "
                f"{'at most' if above else 'to'} {high:g}, got {shorten(value)}."
            )
        return float(value)

    return read


def text(pattern: str, allowed: str) -> Callable[[str, Any], str]:
    """Make a reader of text of a certain form.

    Args:
        pattern: Regular expression that the whole text must match.
        allowed: The same in words.

    Returns:
        For `Body.take`.
    """

    def read(name: str, value: Any) -> str:
        if not isinstance(value, str) or not re.fullmatch(pattern, value):
            raise UserError(f"{name} must be {allowed}, got {shorten(value)}.")
        return value

    return read


def one_of(allowed: Mapping[str, Any] | tuple[str, ...]) -> Callable[[str, Any], str]:
    """Make a reader of one of several words.

    Args:
        allowed: The words.

    Returns:
        For `Body.take`.
    """

    def read(name: str, value: Any) -> str:
        if not isinstance(value, str) or value not in allowed:
            raise UserError(f"{name} must be one of {', '.join(allowed)}, got {shorten(value)}.")
        return value

    return read


def switch(name: str, value: Any) -> bool:
    """Read a yes or no, for `Body.take`.

    Args:
        name: The field.
        value: What was sent.

    Returns:
        It.

    Raises:
        UserError: If it is neither true nor false.
    """
    if not isinstance(value, bool):
        raise UserError(f"{name} must be true or false, got {shorten(value)}.")
    return value


def list_of(read: Callable[[str, Any], Value], low: int, high: int) -> Callable[[str, Any], tuple[Value, ...]]:
    """Make a reader of lists.

    Args:
        read: Reads an entry.
        low: Least number of entries.
        high: Greatest number of entries.

    Returns:
        For `Body.take`.
    """

    def read_list(name: str, value: Any) -> tuple[Value, ...]:
        if not isinstance(value, list) or not low <= len(value) <= high:
            raise UserError(f"{name} must be a list of {low} to {high}, got {shorten(value)}.")
        return tuple(read(f"{name}[{index}]", entry) for index, entry in enumerate(value))

    return read_list


def _refuse_constant(word: str) -> float:
    """Refuse the NaN and infinities that Python's JSON reader lets through."""
    raise ValueError(f"{word} is not a number")
