"""Which layers of a generator a direction acts on.

Beside ``frozen``, which lets a z of their own enter some layers; ``edits`` asks a generator for it. A layer is a place
where z enters: layer 0 is the first linear one, layer i the i-th block. Torch is not imported.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias, Union

from directions.errors import UserError
from directions.ranges import range_fault, read_range

Layers: TypeAlias = Union[str, Sequence[int], "LayerRange", None]
"""Layers as users give them: a range as text, the name of a third, a list of layers; ``None`` is all of them."""


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
        fault = range_fault(str(self), self.num_layers, "layers")
        if fault:
            raise UserError(f"layers {fault} Leave it out to act on all layers.")

    @classmethod
    def parse(cls, text: str, num_layers: int) -> LayerRange:
        """Read a range, or the name of a third.

        Args:
            text: Such as ``"0:4"``, ``"4:"``, ``"coarse"`` or ``"all"``; an end left out is that end of the generator.
            num_layers: Layers that the generator has.

        Returns:
            The range.

        Raises:
            UserError: If the text is neither, or the range is not within the generator.
        """
        fault = range_fault(text, num_layers, "layers")
        if fault:
            raise UserError(f"layers {fault} Leave it out to act on all layers.")
        ends = read_range(text, num_layers)
        assert ends is not None, "a text without a fault is a range"
        return cls(*ends, num_layers)

    @classmethod
    def of(cls, layers: Layers, num_layers: int) -> LayerRange:
        """Take layers in any form.

        Args:
            layers: Text as `parse` reads it; the layers in order and without gaps, as a direction file records
                them; a range; or ``None`` for all.
            num_layers: Layers that the generator has.

        Returns:
            The range.

        Raises:
            UserError: If they are not layers of such a generator.
        """
        if layers is None:
            return cls(0, num_layers, num_layers)
        if isinstance(layers, str):
            return cls.parse(layers, num_layers)
        if isinstance(layers, LayerRange):
            if layers.num_layers != num_layers:
                raise UserError(
                    f"layers {layers} are of a generator with {layers.num_layers} layers, this one has {num_layers}."
                )
            return layers
        listed = [int(index) for index in layers]
        if not listed or listed != list(range(listed[0], listed[-1] + 1)):
            raise UserError(f"layers must follow one another without gaps, got {list(layers)}.")
        return cls(listed[0], listed[-1] + 1, num_layers)

    def __str__(self) -> str:
        """Write the range as `parse` reads it."""
        return f"{self.start}:{self.stop}"

    @property
    def indices(self) -> tuple[int, ...]:
        """The layers, as a direction file records them."""
        return tuple(range(self.start, self.stop))

    @property
    def is_all(self) -> bool:
        """Whether these are all layers that there are."""
        return self.stop - self.start == self.num_layers
