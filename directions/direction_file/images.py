"""Images of moved latents, on the layers that directions act on; what `directions.Directions.images` does.

Beside ``moves.py``, which moves a z and needs no generator. Torch is imported when it is called.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from directions.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

    from directions.generators.base import Generator, Labels


def edited(
    generator: Generator,
    z: Tensor,
    move: Callable[[Tensor], Tensor],
    *,
    y: Labels | None,
    layers: Sequence[int] | None,
    truncation: float,
) -> Tensor:
    """Give the moved z to some layers, z to the others, and return the images.

    Args:
        generator: Of which the layers are.
        z: (batch, dim_z).
        move: z to (…, batch, dim_z).
        y: Classes; one for all, or one for each.
        layers: The layers, or ``None`` for all.
        truncation: The generator's truncation setting, in (0, 1].

    Returns:
        (…, batch, 3, resolution, resolution).

    Raises:
        UserError: If z is no batch of latents, or the generator has no such layers.
    """
    from torch import Tensor

    from directions.generators.edits import chosen_layers, edited_images

    if not isinstance(z, Tensor) or z.ndim != 2 or not len(z):
        got = f"of shape {tuple(z.shape)}" if hasattr(z, "shape") else ""
        raise UserError(
            f"z must be a torch tensor of shape (batch, {generator.dim_z}), got {type(z).__name__} {got}".rstrip()
            + ". Draw it with generator.sample_z(n)."
        )
    moved = move(z)
    make_images = edited_images(generator, z, y, layers=chosen_layers(generator, layers), truncation=truncation)
    images = make_images(moved.flatten(0, -2))
    return images.unflatten(0, moved.shape[:-1])
