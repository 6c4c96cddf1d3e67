"""Which layers of a generator a direction acts on.

Beside ``frozen``, which lets a z of their own enter some layers. A layer is a place where z enters: layer 0 is the
first linear one, layer i the i-th block. Torch is not imported.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from directions.errors import UserError, nearest

THIRDS = ("coarse", "mid", "fine")
"""Names of the first, the second and the last third of the layers."""


@dataclass(frozen=True)
class LayerRange:
    """Layers ``start`` to ``stop`` - 1.

    Attributes:
        start: First layer, counted from 0.
        stop: One past the last layer.
        num_layers: Layers that the generator has.

    Raises:
        UserError: If the range is empty or not within the generator.

    Example:
        >>> LayerRange.parse("coarse", num_layers=11)
        LayerRange(start=0, stop=4, num_layers=11)
        >>> str(LayerRange.parse("4:", num_layers=11))
        '4:11'
    """

    start: int
    stop: int
    num_layers: int

    def __post_init__(self) -> None:
        """Check the range."""
        if not 0 <= self.start < self.stop <= self.num_layers:
            raise UserError(
                f"layers must be START:STOP with 0 <= START < STOP <= {self.num_layers} (the number of layers), got "
                f"{self.start}:{self.stop}. Leave it out to act on all layers."
            )

    @classmethod
    def parse(cls, text: str, num_layers: int) -> LayerRange:
        """Read a range, or the name of a third.

        Args:
            text: Such as ``"0:4"``, ``"4:"`` or ``"coarse"``; an end left out is that end of the generator.
            num_layers: Layers that the generator has.

        Returns:
            The range.

        Raises:
            UserError: If the text is neither, or the range is not within the generator.
        """
        text = text.strip()
        if text in THIRDS:
            third = THIRDS.index(text)
            return cls(round(third * num_layers / 3), round((third + 1) * num_layers / 3), num_layers)
        match = re.fullmatch(r"([0-9]*):([0-9]*)", text)
        if not match:
            raise UserError(
                f"layers must be START:STOP with 0 <= START < STOP <= {num_layers} (the number of layers), or "
                f"{', '.join(THIRDS)}, got {text!r}.{nearest(text, THIRDS)}"
            )
        return cls(int(match[1] or 0), int(match[2] or num_layers), num_layers)

    def __str__(self) -> str:
        """Write the range as :meth:`parse` reads it."""
        return f"{self.start}:{self.stop}"

    @property
    def indices(self) -> tuple[int, ...]:
        """The layers, as a direction file records them."""
        return tuple(range(self.start, self.stop))
