"""What discovery and rendering rely on, tried out on a generator that is not the package's own.

Used by ``wrapped`` for plain modules, by ``custom`` for what users bring as a Generator, and by discovery before its
first step. The messages say what to change.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from directions.errors import UserError
from directions.generators.base import Generator
from directions.memory import is_out_of_memory

TOLERANCE = 1e-3
"""Images may leave [-1, 1] by this much, and two of the same z differ by as much, before it is an error."""


def check_images(images: object, name: str, *, batch: int, resolution: int) -> None:
    """Check images against what their generator promises.

    Args:
        images: What a call returned.
        name: The generator's, for messages.
        batch: How many latents it was given.
        resolution: Height and width that it promises, in pixels.

    Raises:
        UserError: If they are no tensor of that many images of that size with three channels, or hold NaN, infinity or
            values outside [-1, 1].
    """
    if not isinstance(images, Tensor):
        raise UserError(f"{name} must give a tensor of images, got a {type(images).__name__}. Return the images alone.")
    wanted = (batch, 3, resolution, resolution)
    if images.shape != wanted or not images.is_floating_point():
        raise UserError(
            f"{name} must give floating-point images of shape {wanted} for {batch} latents (its resolution is "
            f"{resolution}), got {images.dtype} of shape {tuple(images.shape)}. The size of an image must not change."
        )
    check_range(images, name)


def check_range(images: Tensor, name: str) -> None:
    """Check the values of images.

    Args:
        images: Of any shape.
        name: The generator's, for messages.

    Raises:
        UserError: If they hold NaN, infinity or values outside [-1, 1].
    """
    if not images.isfinite().all():
        raise UserError(f"{name} gives NaN or infinity. Check its weights.")
    low, high = float(images.min()), float(images.max())
    if low < -1 - TOLERANCE or high > 1 + TOLERANCE:
        raise UserError(
            f"{name} must give images in [-1, 1], got values from {low:.3g} to {high:.3g}. End it with tanh, or scale "
            "its images."
        )


def check_same(first: Tensor, again: Tensor, name: str) -> None:
    """Check that two calls for the same z gave the same images.

    Args:
        first: Images.
        again: Images of the second call.
        name: The generator's, for messages.

    Raises:
        UserError: If they differ.
    """
    if again.shape == first.shape and not torch.equal(first, again):
        raise UserError(
            f"{name} gives other images each time for the same z (they differ by up to "
            f"{(first - again).abs().max():.2g}): it draws noise of its own. Fix the noise, such as with a buffer."
        )


@torch.no_grad()
def try_out(generator: Generator) -> None:
    """Make two images twice, and one of them alone.

    Args:
        generator: Of a user's own class.

    Raises:
        UserError: If it raises, its latents or images are not what its attributes promise, or an image is not a fixed
            function of its own z.
    """
    name = str(generator.name)
    z = _tried(f"sample_z of {name}", lambda: generator.sample_z(2, seed=0))
    if not isinstance(z, Tensor) or z.shape != (2, generator.dim_z) or not z.is_floating_point():
        got = f"{z.dtype} of shape {tuple(z.shape)}" if isinstance(z, Tensor) else f"a {type(z).__name__}"
        raise UserError(f"sample_z(2) of {name} must give floats of shape (2, {generator.dim_z}), got {got}.")
    images = [_called(generator, part, name) for part in (z, z, z[:1])]
    check_same(images[0], images[1], name)
    if not torch.allclose(images[2], images[0][:1], atol=TOLERANCE):
        raise UserError(
            f"{name} gives another image for the same z when it comes with other latents. An image must depend on its "
            "own z only: let batch norms use running statistics."
        )


def _called(generator: Generator, z: Tensor, name: str) -> Tensor:
    y = 0 if generator.num_classes else None
    images = _tried(f"{name}, called with z of shape {tuple(z.shape)},", lambda: generator(z, y))
    check_images(images, name, batch=len(z), resolution=generator.resolution)
    return images


def _tried(what: str, call: Callable[[], Tensor]) -> Tensor:
    """Make a call into a user's code, which may raise anything."""
    try:
        return call()
    except UserError:
        raise
    except Exception as error:
        if is_out_of_memory(error):
            raise
        raise UserError(f"{what} raised {type(error).__name__}: {error}.") from error
