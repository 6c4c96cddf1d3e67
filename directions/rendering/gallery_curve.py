"""The curve of a run as numbers to draw: where its lines, dots, ticks and labels are.

From the lines of ``stats.jsonl`` to what the gallery's template puts into an SVG.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

WIDTH, HEIGHT = 820, 300
LEFT, RIGHT, TOP, BOTTOM = 52, 810, 12, 250
_MOST_POINTS = 200


@dataclass(frozen=True)
class Tick:
    """A number beside an axis."""

    at: float
    text: str


@dataclass(frozen=True)
class Level:
    """A line at a height that others reach, with its label."""

    at: float
    label: float
    text: str


@dataclass(frozen=True)
class Curve:
    """What to draw, in units of the picture, to the right and down."""

    held_out: str
    dots: list[tuple[float, float]]
    noisy: str
    rows: list[Tick]
    columns: list[Tick]
    levels: list[Level]
    alt: str
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    right: int = RIGHT
    bottom: int = BOTTOM


def make_curve(stats: Sequence[Mapping[str, Any]], levels: Mapping[str, float]) -> Curve | None:
    """Lay out the curve of a run.

    Args:
        stats: The lines of ``stats.jsonl``; others than those of steps are passed over.
        levels: Held-out penalties to compare with, by what they are of.

    Returns:
        The curve, or ``None`` where fewer than two steps have a held-out penalty: there is nothing to draw.
    """
    held_out = _points(stats, "held_out")
    noisy = _smoothed(_points(stats, "penalty"))
    last = max((step for step, _ in held_out), default=0)
    if len(held_out) < 2 or last == 0:
        return None
    heights = [value for _, value in [*held_out, *noisy]] + list(levels.values())
    low, high = min(heights), max(heights)
    ticks = _round_numbers(low, high, 5)
    low, high = min(low, ticks[0]), max(high, ticks[-1])
    if high == low:
        low, high = low - 1, high + 1

    def right(step: float) -> float:
        return round(LEFT + (RIGHT - LEFT) * step / last, 1)

    def down(value: float) -> float:
        return round(BOTTOM - (BOTTOM - TOP) * (value - low) / (high - low), 1)

    def line(points: Sequence[tuple[float, float]]) -> str:
        return " ".join(f"{right(step)},{down(value)}" for step, value in points)

    first, final = held_out[0][1], held_out[-1][1]
    return Curve(
        held_out=line(held_out),
        dots=[(right(step), down(value)) for step, value in held_out] if len(held_out) <= 60 else [],
        noisy=line(noisy) if len(noisy) > 1 else "",
        rows=[Tick(down(tick), f"{tick:g}") for tick in ticks],
        columns=[Tick(right(tick), f"{tick:g}") for tick in _round_numbers(0, last, 6) if tick <= last],
        levels=_apart([(down(value), name) for name, value in levels.items()]),
        alt=f"The held-out penalty over {last:g} steps: {first:.4g} at the start, {final:.4g} at the end.",
    )


def _points(stats: Sequence[Mapping[str, Any]], key: str) -> list[tuple[float, float]]:
    """The steps at which a number was written down; of several at one step the last one."""
    found: dict[float, float] = {}
    for line in stats:
        step, value = line.get("step"), line.get(key)
        if isinstance(step, (int, float)) and isinstance(value, (int, float)) and math.isfinite(value):
            found[float(step)] = float(value)
    return sorted(found.items())


def _smoothed(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Average neighbours, so that at most 200 points are left and the trend shows."""
    size = max(1, math.ceil(len(points) / _MOST_POINTS), len(points) // 40)
    parts = [points[start : start + size] for start in range(0, len(points), size)]
    return [(sum(p[0] for p in part) / len(part), sum(p[1] for p in part) / len(part)) for part in parts]


def _round_numbers(low: float, high: float, about: int) -> list[float]:
    """Round numbers at even distances from at most ``low`` to at least ``high``."""
    span = (high - low) or abs(high) or 1.0
    rough = span / about
    power = 10.0 ** math.floor(math.log10(rough))
    distance = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= rough * 0.999)
    first, last = math.floor(low / distance), math.ceil(high / distance)
    return [round(number * distance, 10) for number in range(first, last + 1)]


def _apart(levels: Sequence[tuple[float, str]]) -> list[Level]:
    """Put each label above its line, or below where another one is in the way."""
    placed: list[Level] = []
    for at, text in sorted(levels):
        above = at - 5
        crowded = any(abs(above - other.label) < 14 for other in placed)
        placed.append(Level(at, at + 14 if crowded else above, text))
    return placed
