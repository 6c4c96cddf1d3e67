"""From edited latents to images, where only some layers of a generator see the edit.

What every user of a generator downstream goes through, from the penalty to pictures: with all layers it is a plain
call, with some of them ``frozen``'s prefix, which computes what lies before the first of them once. Users give layers
in several forms; here they become a `LayerRange` of the generator, or an error that says which layers there are.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, runtime_checkable

from torch import Tensor

from directions.errors import UserError
from directions.generators.base import Generator, Labels
from directions.generators.layers import LayerRange, Layers


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
    blocks = ", ".join(map(str, sizes[1:]))
    return (
        f"Generator {generator.name!r} has {len(sizes)} layers: 0 is the first linear one ({sizes[0]} pixels), 1 to "
        f"{len(sizes) - 1} are blocks (of {blocks} pixels)."
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
    batch = len(z)
    each_has_one = isinstance(y, Tensor) and y.shape == (batch,)
    labels = y if y is None or each_has_one else generator.class_indices(y, batch)
    if layers is not None:
        assert isinstance(generator, EditsLayers), "chosen_layers has looked"
        return generator.prefix(z, labels, layers=layers, truncation=truncation)

    def images(edited: Tensor) -> Tensor:
        times = len(edited) // batch
        repeated = labels.repeat(times) if isinstance(labels, Tensor) else labels
        return generator(edited, repeated, truncation=truncation)

    return images
