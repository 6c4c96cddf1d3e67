"""Generators of one's own: plain modules wrapped, and everything that users bring tried out before it is used."""

from __future__ import annotations

import inspect
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from directions.errors import UserError
from directions.generators.base import ClassConditional, Generator, Labels, check_truncation, normal
from directions.generators.base import compiled as compile_function
from directions.generators.weights import tensors_digest
from directions.memory import is_out_of_memory

TOLERANCE = 1e-3
"""Images may leave [-1, 1] by this much, and two of the same z differ by as much, before it is an error."""
_WIDTHS = ("dim_z", "z_dim", "latent_dim", "nz", "z_size", "latent_size")
_TRIED = 8


def as_generator(made: object, name: str, what: str) -> Generator:
    """Make what a user brings a generator.

    Args:
        made: A torch module from z to images, or a Generator.
        name: What the generator is to be called.
        what: Where it comes from, for messages.

    Returns:
        The generator, tried out.

    Raises:
        UserError: If it is neither, or does not keep what it promises.
    """
    if isinstance(made, nn.Module):
        freeze(made, name)
    if isinstance(made, Generator):
        try_out(made)
        return made
    if isinstance(made, nn.Module):
        return wrap(made, name)
    advice = "Name a function that makes the module, not the module's class." if inspect.isclass(made) else "Return it."
    raise UserError(
        f"{what} must return a torch module (z to images) or a Generator, got a {type(made).__name__}. {advice}"
    )


def freeze(module: nn.Module, name: str) -> None:
    """Put a module into evaluation mode, and let none of its parameters require gradients.

    Args:
        module: What a user brings.
        name: For messages.

    Raises:
        UserError: If some of its tensors have no values.
    """
    for label, tensor in (*module.named_parameters(), *module.named_buffers()):
        if is_lazy(tensor):
            raise UserError(
                f"{name} has weights that are not made yet, such as {label}: a lazy layer learns its width when it is "
                "first called. Call the module once in the function that returns it, or give the layers their widths."
            )
    module.eval()
    for parameter in module.parameters():  # one by one, because scripted modules know no requires_grad_ of their own
        parameter.requires_grad_(False)


def wrap(module: nn.Module, name: str) -> WrappedModule:
    """Make a module a generator, after trying it out.

    Args:
        module: Takes (batch, |z|) or (batch, |z|, 1, 1), and gives (batch, 3 or 1, size, size) in [-1, 1]; an
            attribute ``dim_z`` says |z|, else it is found out.
        name: What `load_generator` was given.

    Returns:
        The generator: without classes, z standard normal.

    Raises:
        UserError: If the module has no weights yet, |z| cannot be found out, or the module raises, returns no images,
            images outside [-1, 1], of changing size, of another sample's making, or other ones at each call.
    """
    freeze(module, name)
    dim_z, spatial = _probe(module, name)
    z = torch.zeros(1, dim_z).to(_like(module))
    resolution = _square(_tried(f"{name}, called with z of zeros,", lambda: _call(module, z, spatial)), name).shape[-1]
    generator = WrappedModule(module, name=name, dim_z=dim_z, resolution=resolution, spatial=spatial)
    try_out(generator)
    return generator


class WrappedModule(ClassConditional):
    """A module as a generator; made by `wrap`.

    Args:
        module: Frozen, in evaluation mode.
        name: What `load_generator` was given.
        dim_z: |z|.
        resolution: Height and width of its images, in pixels.
        spatial: Whether it takes (batch, |z|, 1, 1).
    """

    def __init__(self, module: nn.Module, *, name: str, dim_z: int, resolution: int, spatial: bool) -> None:
        state = ((label, tensor) for label, tensor in module.state_dict().items() if isinstance(tensor, Tensor))
        digest = tensors_digest(state, start=f"{type(module).__module__}.{type(module).__qualname__}")
        sizes = {"dim_z": dim_z, "num_classes": 0, "resolution": resolution, "num_layers": 1}
        super().__init__(name=name, digest=digest, **sizes)
        self.module, self.spatial = module, spatial
        self._program: Callable[[Tensor], object] | None = None
        self.eval()

    def prepare_steps(self, *, compiled: bool, recompute: bool) -> None:
        """Say how passes with gradients are carried out from now on.

        Args:
            compiled: Let torch.compile make one program of the module.
            recompute: Must be false: what the module holds is its own affair.
        """
        if recompute:
            super().prepare_steps(compiled=False, recompute=True)
        self._program = compile_function(self.module, self.device) if compiled else None

    def forward(self, z: Tensor, y: Labels | None = None, *, truncation: float = 1.0) -> Tensor:
        """Generate images.

        Args:
            z: (batch, dim_z).
            y: Not used: there are no classes.
            truncation: In (0, 1]; only the spread of z depends on it.

        Returns:
            (batch, 3, resolution, resolution).

        Raises:
            UserError: If z is not fitting, the module raises, or the images have another size than before.
        """
        self.check_z(z)
        check_truncation(truncation)
        module = self.module if self._program is None or not torch.is_grad_enabled() else self._program
        z = z.to(_like(self.module))
        what = f"{self.name}, called with z of shape {tuple(z.shape)},"
        images = _square(_tried(what, lambda: _call(module, z, self.spatial)), self.name).expand(-1, 3, -1, -1)
        _check_shape(images, self.name, len(z), self.resolution)
        return images

    def sample_z_from(self, n: int, rng: torch.Generator, truncation: float = 1.0) -> Tensor:
        """Draw latents from a source of randomness.

        Args:
            n: Number of latents, at least 1.
            rng: On the CPU.
            truncation: Factor, in (0, 1].

        Returns:
            (n, dim_z) float32 on the CPU, normal with standard deviation ``truncation``.
        """
        return normal(n, self.dim_z, rng, truncation)


def _probe(module: nn.Module, name: str) -> tuple[int, bool]:
    """Find |z|, and whether z comes as a vector or as one pixel, by trying."""
    widths = [getattr(module, label) for label in _WIDTHS if _is_count(getattr(module, label, None))][:1]
    if not widths:  # the widths of input of its layers, first to last
        read = (getattr(layer, label, 0) for layer in module.modules() for label in ("in_features", "in_channels"))
        widths = list(dict.fromkeys(filter(_is_count, read)))
    problems = []
    for width, spatial in ((width, spatial) for width in widths for spatial in (False, True)):
        problem = _problem(module, torch.zeros(2, width).to(_like(module)), spatial)
        if problem is None:
            return width, spatial
        problems.append(f"; the first try raised {problem}")
    tried = " or ".join(map(str, widths)) or "none that could be read off its layers"
    raise UserError(
        f"{name} could not be called with z of shape (2, |z|) or (2, |z|, 1, 1), |z| tried: {tried}{''.join(problems[:1])}. "
        "Give the module an attribute dim_z with the right width."
    )


def _call(module: Callable[[Tensor], object], z: Tensor, spatial: bool) -> object:
    z = z.clone()  # it is the module's own, to be changed in place if it likes
    return module(z[..., None, None] if spatial else z)


def _like(module: nn.Module) -> Tensor:
    """A tensor of the module's device and precision."""
    tensors = (tensor for tensor in (*module.parameters(), *module.buffers()) if tensor.dtype.is_floating_point)
    return next(tensors, torch.empty(0))


def _square(images: object, name: str) -> Tensor:
    if not isinstance(images, Tensor):
        raise UserError(f"{name} must give a tensor of images, got a {type(images).__name__}. Return the images alone.")
    if images.ndim != 4 or images.shape[1] not in (1, 3) or images.shape[2] != images.shape[3]:
        shape = tuple(images.shape)
        raise UserError(f"{name} must give square images, (batch, 3 or 1, size, size), got shape {shape}.")
    return images


def _check_shape(images: Tensor, name: str, batch: int, resolution: int) -> None:
    wanted = (batch, 3, resolution, resolution)
    if images.shape != wanted or not images.is_floating_point():
        raise UserError(
            f"{name} must give floating-point images of shape {wanted} for {batch} latents (its resolution is "
            f"{resolution}), got {images.dtype} of shape {tuple(images.shape)}. The size of an image must not change."
        )


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
    images = _square(images, name)
    _check_shape(images, name, batch, resolution)
    if not images.isfinite().all():
        raise UserError(f"{name} gives NaN or infinity. Check its weights.")
    low, high = float(images.min()), float(images.max())
    if low < -1 - TOLERANCE or high > 1 + TOLERANCE:
        raise UserError(
            f"{name} must give images in [-1, 1], got values from {low:.3g} to {high:.3g}. End it with tanh, or scale "
            "its images."
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
    """Look at its attributes, make images twice, and some of them alone.

    Args:
        generator: Of a user's own class, or a wrapped module.

    Raises:
        UserError: If an attribute is not of its kind, it raises, its latents or images are not what its attributes
            promise, it changes the latents that it is given, or an image is not a fixed function of its own z.
    """
    _check_attributes(generator)
    name, width = generator.name, generator.dim_z
    rng = torch.Generator().manual_seed(0)
    for what, draw in (
        (f"sample_z({_TRIED})", lambda: generator.sample_z(_TRIED, seed=0)),
        (f"sample_z_from({_TRIED}, rng)", lambda: generator.sample_z_from(_TRIED, rng, 1.0)),
    ):
        z = _tried(f"{what} of {name}", draw)
        if not isinstance(z, Tensor) or z.shape != (_TRIED, width) or not z.is_floating_point():
            got = f"{z.dtype} of shape {tuple(z.shape)}" if isinstance(z, Tensor) else f"a {type(z).__name__}"
            raise UserError(f"{what} of {name} must give floats of shape ({_TRIED}, {width}), got {got}.")
    z = z.to(generator.device)
    first, again, alone = (_tried_images(generator, part) for part in (z, z, z[:1]))
    if not torch.equal(first, again):
        raise UserError(
            f"{name} gives other images each time for the same z (they differ by up to "
            f"{(first - again).abs().max():.2g}): it draws noise of its own. Fix the noise, such as with a buffer."
        )
    if not torch.allclose(alone, first[:1], atol=TOLERANCE):
        raise UserError(
            f"{name} gives another image for the same z when it comes with other latents. An image must depend on its "
            "own z only: let batch norms use running statistics."
        )


def _tried_images(generator: Generator, z: Tensor) -> Tensor:
    name, before = generator.name, z.clone()
    y = 0 if generator.num_classes else None
    images: Tensor = _tried(f"{name}, called with z of shape {tuple(z.shape)},", lambda: generator(z, y))
    if not torch.equal(z, before):
        raise UserError(
            f"{name} changes the z that it is given, which others go on using. Let it work on a copy: z = z.clone()."
        )
    check_images(images, name, batch=len(z), resolution=generator.resolution)
    return images


def _check_attributes(generator: Generator) -> None:
    """Check the attributes of a generator, which are read long after it has been loaded."""
    names, classes = generator.class_names, generator.num_classes
    are_names = isinstance(names, (list, tuple)) and len(names) == classes and all(isinstance(n, str) for n in names)
    for attribute, fits, wanted in (
        ("name", isinstance(generator.name, str) and generator.name, "text that is not empty, such as 'my-gan'"),
        ("dim_z", _is_count(generator.dim_z), "a whole number, at least 1"),
        ("num_classes", classes == 0 or _is_count(classes), "a whole number, 0 for a generator without classes"),
        ("resolution", _is_count(generator.resolution), "a whole number of pixels, at least 1"),
        ("num_layers", _is_count(generator.num_layers), "a whole number, at least 1"),
        ("digest", isinstance(generator.digest, str), "text, such as the SHA-256 of its weights in hexadecimal"),
        ("class_names", names is None or are_names, f"None, or a name for each of {classes} classes"),
        ("device", isinstance(generator.device, torch.device), "a torch.device, such as torch.device('cpu')"),
    ):
        if not fits:
            value = getattr(generator, attribute)
            raise UserError(
                f"{attribute} of the generator {type(generator).__name__} must be {wanted}, got {value!r} (a "
                f"{type(value).__name__})."
            )


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _tried(what: str, call: Callable[[], object]) -> object:
    """Make a call into a user's code, which may raise anything."""
    try:
        return call()
    except UserError:
        raise
    except Exception as error:
        if is_out_of_memory(error):
            raise
        raise UserError(f"{what} raised {type(error).__name__}: {error}.") from error


def _problem(module: nn.Module, z: Tensor, spatial: bool) -> str | None:
    """What a module raises for a z, or ``None``."""
    try:
        _call(module, z, spatial)
    except Exception as error:
        if is_out_of_memory(error):
            raise
        return f"{type(error).__name__}: {error}"
    return None
