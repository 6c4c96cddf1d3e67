"""Which layers of a generator a direction acts on, and the images of latents that only these layers see."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeAlias, Union, runtime_checkable

from directions.errors import UserError
from directions.settings.base import range_fault, read_range

if TYPE_CHECKING:  # torch is imported only where images are made
    from torch import Tensor

    from directions.generators.base import Generator, Labels

Layers: TypeAlias = Union[str, Sequence[int], "LayerRange", None]
"""Layers as users give them: a range as text, the name of a third, a list of layers; ``None`` is all of them."""


@dataclass(frozen=True)
class LayerRange:
    """Layers ``start`` to ``stop`` - 1; a layer is a place where z enters, 0 the first linear one, i the i-th block.

    Attributes:
        start: First layer, counted from 0.
        stop: One past the last layer.
        num_layers: Layers that the generator has.

    Raises:
        UserError: If the range is empty or not within the generator.

    Example:
        >>> LayerRange.of("coarse", num_layers=11)
        LayerRange(start=0, stop=4, num_layers=11)
        >>> str(LayerRange.of("4:", num_layers=11))
        '4:11'
    """

    start: int
    stop: int
    num_layers: int

    def __post_init__(self) -> None:
        """Check the range."""
        _read_layers(str(self), self.num_layers)

    @classmethod
    def of(cls, layers: Layers, num_layers: int) -> LayerRange:
        """Take layers in any form.

        Args:
            layers: Text such as ``"0:4"``, ``"4:"`` (an end left out is that end of the generator), ``"coarse"`` or
                ``"all"``; the layers in order and without gaps, as a direction file records them; a range; or ``None``
                for all.
            num_layers: Layers that the generator has.

        Returns:
            The range.

        Raises:
            UserError: If they are not layers of such a generator.
        """
        if layers is None or isinstance(layers, str):
            return cls(*_read_layers("all" if layers is None else layers, num_layers), num_layers)
        if isinstance(layers, LayerRange):
            if (own := layers.num_layers) != num_layers:
                raise UserError(f"layers {layers} are of a generator with {own} layers, this one has {num_layers}.")
            return layers
        listed = [int(index) for index in layers]
        if not listed or listed != list(range(listed[0], listed[-1] + 1)):
            raise UserError(f"layers must follow one another without gaps, got {list(layers)}.")
        return cls(listed[0], listed[-1] + 1, num_layers)

    def __str__(self) -> str:
        """Write the range as `of` reads it."""
        return f"{self.start}:{self.stop}"

    @property
    def indices(self) -> tuple[int, ...]:
        """The layers, as a direction file records them."""
        return tuple(range(self.start, self.stop))

    @property
    def is_all(self) -> bool:
        """Whether these are all layers that there are."""
        return self.stop - self.start == self.num_layers


def _read_layers(text: str, num_layers: int) -> tuple[int, int]:
    ends, fault = read_range(text, num_layers), range_fault(text, num_layers, "layers")
    if fault or ends is None:
        raise UserError(f"layers {fault} Leave it out to act on all layers.")
    return ends


@runtime_checkable
class EditsLayers(Protocol):
    """What a generator needs besides the `Generator` protocol so that directions can act on some of its layers."""

    def prefix(
        self, z: Tensor, y: Labels | None = 0, *, layers: Layers, truncation: float = 1.0
    ) -> Callable[[Tensor], Tensor]:
        """Return a map from (m · batch, dim_z) edited latents, row r of sample r % batch, to images.

        The layers of the range see the edited latents, the others z.
        """
        ...

    def components(self, layers: LayerRange) -> tuple[int, int]:
        """First, and one past the last, component of z that these layers see; equal if they see none."""
        ...


def chosen_layers(generator: Generator, layers: Layers) -> LayerRange | None:
    """Find the layers of a generator that a user means.

    Args:
        generator: Knows how many it has.
        layers: In any form.

    Returns:
        The range; ``None`` if it is all layers, for which nothing special has to be done.

    Raises:
        UserError: If there are no such layers, or the generator cannot tell its layers apart. It begins with "layers".

    Example:
        >>> from directions.generators.registry import load_generator
        >>> chosen_layers(load_generator("builtin"), "coarse")
        LayerRange(start=0, stop=3, num_layers=9)
    """
    if layers is None:
        return None
    try:
        found = LayerRange.of(layers, generator.num_layers)
    except UserError as error:
        raise UserError(f"{error} {described_layers(generator)}") from error
    if found.is_all:
        return None
    if not isinstance(generator, EditsLayers):
        raise UserError(
            f"layers {found} cannot be edited alone: generator {generator.name!r} has no method prefix. "
            "Leave layers out to act on all of them."
        )
    return found


def described_layers(generator: Generator) -> str:
    """Say in a sentence which layers a generator has."""
    sizes = getattr(generator, "layer_sizes", None)
    if not sizes:
        return f"Generator {generator.name!r} has {generator.num_layers} layer{'s' * (generator.num_layers != 1)}."
    return (
        f"Generator {generator.name!r} has {len(sizes)} layers: 0 is the first linear one ({sizes[0]} pixels), 1 to "
        f"{len(sizes) - 1} are blocks (of {', '.join(map(str, sizes[1:]))} pixels)."
    )


def edited_images(
    generator: Generator, z: Tensor, y: Labels | None = 0, *, layers: LayerRange | None = None, truncation: float = 1.0
) -> Callable[[Tensor], Tensor]:
    """Return the map from edited latents to images.

    Args:
        generator: In eval mode.
        z: (batch, dim_z), what the layers that are not edited see.
        y: Classes; one for all, or one for each.
        layers: From `chosen_layers`; ``None`` edits all of them, and z then counts for its number of rows only.
        truncation: The generator's truncation setting, in (0, 1].

    Returns:
        A map from (m · batch, dim_z), whose row r is an edit of sample r % batch, to as many images,
        (m · batch, 3, resolution, resolution). What comes before the edited layers has been computed, once.
    """
    labels = None if y is None else generator.class_indices(y, len(z))
    if layers is not None:
        assert isinstance(generator, EditsLayers), "chosen_layers has looked"
        return generator.prefix(z, labels, layers=layers, truncation=truncation)

    def images(edited: Tensor) -> Tensor:
        repeated = None if labels is None else labels.repeat(len(edited) // len(z))
        return generator(edited, repeated, truncation=truncation)

    return images
