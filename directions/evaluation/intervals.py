"""Means over seeds, and how sure they are: Student's 95% intervals.

What `directions.evaluation.file_scores` sums its measurements up with. An interval of differences that were taken
seed by seed, at the same places, is narrower than what two intervals beside each other suggest.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Interval:
    """A number that was measured once for each seed.

    Attributes:
        values: What was measured, seed by seed.
        mean: Their mean.
        low: Lower end of the interval for the mean; ``None`` with a single value.
        high: Its upper end.
    """

    values: tuple[float, ...]
    mean: float
    low: float | None
    high: float | None

    @classmethod
    def of(cls, values: Sequence[float]) -> Interval:
        """Sum up values, for independent seeds.

        Args:
            values: At least one.

        Returns:
            Their mean and interval.

        Example:
            >>> Interval.of([1.0, 2.0, 3.0]).to_text()
            '2 (-0.484 to 4.48)'
        """
        number = len(values)
        mean = math.fsum(values) / number
        if number < 2:
            return cls(tuple(values), mean, None, None)
        from scipy.stats import t

        deviation = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (number - 1))
        half = float(t.ppf((1 + CONFIDENCE) / 2, number - 1)) * deviation / math.sqrt(number)
        return cls(tuple(values), mean, mean - half, mean + half)

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain JSON types."""
        return {"mean": self.mean, "low": self.low, "high": self.high, "values": list(self.values)}

    def to_text(self) -> str:
        """Write it as ``mean (low to high)``, with three figures."""
        if self.low is None:
            return f"{self.mean:.3g}"
        return f"{self.mean:.3g} ({self.low:.3g} to {self.high:.3g})"


def paired(one: Interval, other: Interval) -> Interval:
    """Return the differences of two numbers that were measured with the same seeds, in order."""
    return Interval.of([a - b for a, b in zip(one.values, other.values, strict=True)])
