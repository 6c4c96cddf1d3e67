"""What discovery and rendering rely on, tried out on a generator that is not the package's own.

Used by ``wrapped`` for plain modules, by ``custom`` for what users bring as a Generator, and by discovery before its
first step. The messages say what to change. Gradients are tried out by discovery only, and only where it takes them:
measuring by differences and rendering need none.
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


def check_gradients(f: Callable[[Tensor], Tensor], w: Tensor, name: str) -> None:
    """Check that gradients come through a generator.

    Args:
        f: Map from latents, or steps, to images.
        w: Where to try it, (batch, …).
        name: The generator's, for messages.

    Raises:
        UserError: If the images cannot be differentiated with respect to ``w``.
    """
    w = w.detach().clone().requires_grad_()
    try:
        with torch.enable_grad():
            images = f(w)
        gradient = torch.autograd.grad(images.sum(), w, allow_unused=True)[0] if images.requires_grad else None
        problem = "the images do not depend on z as far as autograd can see" if gradient is None else None
    except Exception as error:
        if is_out_of_memory(error):
            raise
        problem = str(error).rstrip(".") if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
    if problem is not None:
        raise UserError(
            f"{name} gives no gradients, which this method needs: {problem}. Leave torch.no_grad(), inference_mode, "
            "detach and NumPy out of what makes the images, or choose --method joint --measurement differences, which "
            "needs none."
        )


@torch.no_grad()
def try_out(generator: Generator) -> None:
    """Look at its attributes, make two images twice, and one of them alone.

    Args:
        generator: Of a user's own class.

    Raises:
        UserError: If an attribute is not of its kind, it raises, its latents or images are not what its attributes
            promise, it changes the latents that it is given, or an image is not a fixed function of its own z.
    """
    check_attributes(generator)
    name = generator.name
    z = _tried(f"sample_z of {name}", lambda: generator.sample_z(2, seed=0))
    _check_latents(z, f"sample_z(2) of {name}", generator.dim_z)
    drawn = _tried(
        f"sample_z_from of {name}", lambda: generator.sample_z_from(2, torch.Generator().manual_seed(0), 1.0)
    )
    _check_latents(drawn, f"sample_z_from(2, rng) of {name}", generator.dim_z)
    images = [_called(generator, part, name) for part in (z, z, z[:1])]
    check_same(images[0], images[1], name)
    if not torch.allclose(images[2], images[0][:1], atol=TOLERANCE):
        raise UserError(
            f"{name} gives another image for the same z when it comes with other latents. An image must depend on its "
            "own z only: let batch norms use running statistics."
        )


def check_attributes(generator: Generator) -> None:
    """Check the attributes of a generator, which are read long after it has been loaded.

    Args:
        generator: Of a user's own class.

    Raises:
        UserError: If one is not of its kind.
    """
    names, classes = generator.class_names, generator.num_classes
    table = (
        ("name", isinstance(generator.name, str) and bool(generator.name), "text that is not empty, such as 'my-gan'"),
        ("dim_z", _is_count(generator.dim_z, 1), "a whole number, at least 1"),
        ("num_classes", _is_count(classes, 0), "a whole number, 0 for a generator without classes"),
        ("resolution", _is_count(generator.resolution, 1), "a whole number of pixels, at least 1"),
        ("num_layers", _is_count(generator.num_layers, 1), "a whole number, at least 1"),
        ("digest", isinstance(generator.digest, str), "text, such as the SHA-256 of its weights in hexadecimal"),
        ("class_names", names is None or _are_names(names, classes), f"None, or a name for each of {classes} classes"),
        ("device", isinstance(generator.device, torch.device), "a torch.device, such as torch.device('cpu')"),
    )
    for attribute, fits, wanted in table:
        if not fits:
            value = getattr(generator, attribute)
            raise UserError(
                f"{attribute} of the generator {type(generator).__name__} must be {wanted}, got {value!r} (a "
                f"{type(value).__name__})."
            )


def _is_count(value: object, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _are_names(names: object, count: int) -> bool:
    return isinstance(names, (list, tuple)) and len(names) == count and all(isinstance(name, str) for name in names)


def _check_latents(z: object, what: str, dim_z: int) -> None:
    if not isinstance(z, Tensor) or z.shape != (2, dim_z) or not z.is_floating_point():
        got = f"{z.dtype} of shape {tuple(z.shape)}" if isinstance(z, Tensor) else f"a {type(z).__name__}"
        raise UserError(f"{what} must give floats of shape (2, {dim_z}), got {got}.")


def _called(generator: Generator, z: Tensor, name: str) -> Tensor:
    y = 0 if generator.num_classes else None
    before = z.clone()
    images = _tried(f"{name}, called with z of shape {tuple(z.shape)},", lambda: generator(z, y))
    if not torch.equal(z, before):
        raise UserError(
            f"{name} changes the z that it is given, which others go on using. Let it work on a copy: z = z.clone()."
        )
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
