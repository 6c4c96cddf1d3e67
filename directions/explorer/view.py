"""What a page wants to see: samples, class, truncation, layers, and how far along which directions.

Between the request (``body.py``) and the picture (``painter.py``). A view says everything that a picture depends on, so
pictures can be kept and compared by it, and no two pages can get into each other's way.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from directions.direction_file.annotations import LARGEST_PATH_SIZE
from directions.errors import UserError
from directions.explorer.body import Body, list_of, number, one_of, shorten, text, whole
from directions.generators.base import Generator
from directions.generators.edits import chosen_layers
from directions.generators.layers import LayerRange

MAX_SAMPLES = 16
MAX_SEED = 2**32 - 1
MAX_AMOUNT = LARGEST_PATH_SIZE
"""Latent units, to either side: as far as a direction's own range may be set."""

MAX_MOVES = 4096
FORMATS = {"png": "image/png", "webp": "image/webp", "jpeg": "image/jpeg"}
DIRECTION_ID = r"[0-9a-f]{16}"


@dataclass(frozen=True)
class View:
    """A picture, described.

    Attributes:
        seeds: A seed for each sample: the sample of seed s is ``generator.sample_z(1, seed=s)``.
        label: Class index; ``None`` for a generator without classes.
        truncation: In (0, 1].
        moves: The id of a direction (`directions.explorer.open_file.direction_id`) and how far to go along it, in
            latent units; sorted, and without those that stay.
        layers: First and one past the last layer that the moves act on; ``None`` for all.
    """

    seeds: tuple[int, ...]
    label: int | None
    truncation: float
    moves: tuple[tuple[str, float], ...]
    layers: tuple[int, int] | None

    @classmethod
    def take(cls, body: Body, generator: Generator) -> View:
        """Take a view's fields from a request.

        Args:
            body: Its fields; others stay.
            generator: Knows its classes and layers.

        Returns:
            The view.
        """
        seeds = body.take("seeds", list_of(whole(0, MAX_SEED), 1, MAX_SAMPLES))
        label = None
        if generator.num_classes:
            label = body.take("class", whole(0, generator.num_classes - 1))
        elif "class" in body:
            body.take("class", _nothing)
        truncation = body.take("truncation", number(0, 1, above=True), 1.0)
        moves = body.take("moves", _moves) if "moves" in body else ()
        layers = body.take("layers", _layers_of(generator)) if "layers" in body else None
        return cls(seeds, label, truncation, moves, layers)


@dataclass(frozen=True)
class Picture:
    """How a view is laid out and encoded.

    Attributes:
        columns: Samples side by side; the rest goes below.
        format: A key of `FORMATS`.
    """

    columns: int
    format: str

    @classmethod
    def take(cls, body: Body) -> Picture:
        """Take a picture's fields from a request.

        Args:
            body: Its fields; others stay.

        Returns:
            The picture.
        """
        return cls(body.take("columns", whole(1, MAX_SAMPLES), 1), body.take("format", one_of(FORMATS), "png"))


def _moves(name: str, value: Any) -> tuple[tuple[str, float], ...]:
    """Read an object from ids to amounts."""
    if not isinstance(value, dict) or len(value) > MAX_MOVES:
        raise UserError(f"{name} must be an object of at most {MAX_MOVES} directions, got {shorten(value)}.")
    read_id = text(DIRECTION_ID, "ids of directions, 16 hexadecimal digits")
    read_amount = number(-MAX_AMOUNT, MAX_AMOUNT)
    moves = [(read_id(name, key), read_amount(f"{name}[{key[:16]!r}]", amount)) for key, amount in value.items()]
    return tuple(sorted(move for move in moves if move[1]))


def _layers_of(generator: Generator) -> Callable[[str, Any], tuple[int, int] | None]:
    """Make a reader of a pair of layers, [start, stop], or null for all."""

    def read(name: str, value: Any) -> tuple[int, int] | None:
        if value is None:
            return None
        start, stop = list_of(whole(0, generator.num_layers), 2, 2)(name, value)
        chosen = chosen_layers(generator, LayerRange(start, stop, generator.num_layers))
        return None if chosen is None else (chosen.start, chosen.stop)

    return read


def _nothing(name: str, value: Any) -> None:
    """Read a field that may only be null."""
    if value is not None:
        raise UserError(f"{name} must be null or left out: the generator has no classes, got {shorten(value)}.")
