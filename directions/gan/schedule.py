"""When a growing GAN grows: the level, the fading weight and the batch size that belong to a number of images shown.

A pure function of the settings, so that a resumed run needs to know only how many images it has seen. Between
``config`` and ``trainer``; torch is not imported.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Stage:
    """Where growth stands."""

    level: int
    """How far both networks have grown: images have 4·2^level pixels."""
    alpha: float
    """Weight of the newest block, in [0, 1]; below 1 while it is faded in."""
    batch_size: int
    """Real and generated images a step."""

    @property
    def resolution(self) -> int:
        """Height and width of the images, in pixels."""
        return 4 << self.level


@dataclass(frozen=True)
class Schedule:
    """Levels one after the other: each but the first is faded in, then trained on; the last goes on to the end."""

    first_level: int
    """Level that training starts at."""
    fade: tuple[int, ...]
    """Images over which each level is faded in; the first level's is not used."""
    stable: tuple[int, ...]
    """Images for which each level is trained on after that; the last level's is not used."""
    batch_sizes: tuple[int, ...]
    """Images a step at each level."""

    @property
    def last_level(self) -> int:
        """Level that training ends at."""
        return self.first_level + len(self.batch_sizes) - 1

    @property
    def growth(self) -> int:
        """Images after which the last level is wholly faded in."""
        return sum(self.stable[:-1]) + sum(self.fade[1:])

    def at(self, seen: int) -> Stage:
        """Return the stage after ``seen`` images.

        Example:
            >>> schedule = Schedule(0, fade=(100, 100), stable=(50, 50), batch_sizes=(8, 4))
            >>> [schedule.at(seen).alpha for seen in (0, 49, 50, 100, 150, 1000)]
            [1.0, 1.0, 0.0, 0.5, 1.0, 1.0]
            >>> [schedule.at(seen).resolution for seen in (0, 50)]
            [4, 8]
        """
        number, left = 0, seen  # images seen at the level
        fades = (0, *self.fade[1:])
        while number < len(self.batch_sizes) - 1 and left >= fades[number] + self.stable[number]:
            left -= fades[number] + self.stable[number]
            number += 1
        alpha = min(left / fades[number], 1.0) if fades[number] else 1.0
        return Stage(self.first_level + number, alpha, self.batch_sizes[number])


def spread(values: Sequence[float], levels: int) -> tuple[float, ...]:
    """Give each level its value: one for all of them, or one each."""
    return tuple(values) * levels if len(values) == 1 else tuple(values)
