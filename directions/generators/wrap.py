"""Generators of one's own: found by reference, plain modules wrapped, and everything tried out before it is used."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import inspect
import itertools
import sys
import traceback
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import ModuleType
from typing import Any, TypeGuard

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.parameter import is_lazy

from directions.device import is_out_of_memory
from directions.errors import UserError, nearest
from directions.generators.base import ClassConditional, Generator, Labels, check_truncation, normal
from directions.generators.base import compiled as compile_function
from directions.generators.weights import tensors_digest, unwrapped

TOLERANCE = 1e-3
"""Images may leave [-1, 1] by this much, and two of the same z differ by as much, before it is an error."""
_OVERSHOOT = 1.1
"""Trained networks without a last tanh overshoot ±1: all but 1% of the values must lie within this, and are clamped."""
_WIDTHS = ("dim_z", "z_dim", "latent_dim", "nz", "z_size", "latent_size")
_CLASSES = ("num_classes", "n_classes", "nclasses", "c_dim", "y_dim")
_INPUTS = ("in_features", "in_channels")
_MOST_CLASSES = 2**17
_TRIED = 8
_FIXED_NOISE = {"noise_mode": "const", "randomize_noise": False}
"""How the forward of StyleGANs is asked to leave its noise as it is."""


def load_object(made: Any, weights: Path | None) -> Generator:
    """Take a module, a Generator, or a function that makes one."""
    if not callable(made):
        raise UserError(
            f"A generator must be a name, a torch module, a Generator, or a function that returns one, got {made!r}."
        )
    if isinstance(made, (nn.Module, Generator)) and not inspect.isclass(made):
        if weights is not None:
            kind = type(made).__name__
            raise UserError(f"weights are read by a function, got {weights} with a {kind}. Load them first.")
        return _as_generator(made, "", type(made).__qualname__)
    reference = f"{made.__module__}:{made.__qualname__}" if hasattr(made, "__qualname__") else type(made).__qualname__
    return _made_by(made, reference, reference, weights)


def load_reference(reference: str, name: str, weights: Path | None) -> Generator:
    """Call the function that ``package.module:function`` or ``file.py:function`` names.

    Args:
        reference: Names the function.
        name: What the generator is to be called.
        weights: What to give the function as ``weights``; ``None`` gives it nothing.

    Returns:
        What it makes, tried out.

    Raises:
        UserError: If there is no such function, it raises, or it makes no generator.
    """
    module_name, _, path = reference.rpartition(":")
    here = Path.cwd()
    if module_name.endswith(".py"):
        file = Path(module_name).expanduser()
        if not file.is_file():
            raise UserError(f"{reference}: there is no file {file}. It is looked for from {here}.")
        here, module_name = file.resolve().parent, file.stem
    sys.path.insert(0, str(here))  # the folder that the user is in, or the file's, counts too, as with ``python``
    try:
        found = _called(
            f"{reference}: importing {module_name}",
            lambda: _imported(module_name, here, reference),
            ModuleNotFoundError,
        )
    except ModuleNotFoundError as error:
        missing = error.name or module_name
        own = module_name == missing or module_name.startswith(f"{missing}.")
        where = f"It is looked for in {here} and in what is installed." if own else f"{module_name} needs it."
        raise UserError(f"{reference}: there is no module {missing!r}. {where}") from None
    finally:
        sys.path.remove(str(here))
    for part in path.split("."):
        if not hasattr(found, part):
            names = [name for name, _ in inspect.getmembers(found, inspect.isfunction)]
            raise UserError(f"{reference}: {module_name} has no {part!r}.{nearest(part, names)}")
        found = getattr(found, part)
    if not callable(found):
        raise UserError(f"{reference} must be a function that returns the generator, got a {type(found).__name__}.")
    return _made_by(found, name, reference, weights)


def _imported(module_name: str, folder: Path, reference: str) -> ModuleType:
    """Import a module by its name, or by its file where the reference names that."""
    if ".py:" not in reference:
        return importlib.import_module(module_name)
    specification = importlib.util.spec_from_file_location(module_name, folder / f"{module_name}.py")
    assert specification is not None, "its name ends in .py"
    assert specification.loader is not None, "its name ends in .py"
    module = importlib.util.module_from_spec(specification)
    sys.modules.setdefault(module_name, module)  # dataclasses look there; another folder's may have the same name
    specification.loader.exec_module(module)
    return module


def _made_by(function: Callable[..., Any], name: str, reference: str, weights: Path | None) -> Generator:
    """Call a user's function, and make what it returns a generator."""
    arguments = {} if weights is None else {"weights": str(weights)}
    parameters = inspect.signature(function).parameters.values() if arguments else ()
    if arguments and not any(p.name == "weights" or p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters):
        raise UserError(f"{reference} takes no weights, got {weights}. Give it a parameter weights=None.")
    return _as_generator(_called(reference, lambda: function(**arguments)), name, reference)


def _called(what: str, call: Callable[[], Any], *passed_on: type[Exception]) -> Any:
    """Make a call into a user's code, which may raise anything."""
    ours: tuple[type[Exception], ...] = (UserError, *passed_on)
    try:
        return call()
    except ours:
        raise
    except (Exception, SystemExit) as error:
        if is_out_of_memory(error):
            raise
        frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "<frozen" not in frame.filename]
        place = f"{frames[-1].filename}, line {frames[-1].lineno}"
        raise UserError(f"{what} raised {type(error).__name__}: {error}. ({place})") from error


def _as_generator(made: object, name: str, what: str) -> Generator:
    """Try out what a user brings, and wrap a plain module; an empty name leaves a Generator its own."""
    if isinstance(made, nn.Module):
        _freeze(made, what)
    if isinstance(made, Generator):
        try_out(made)
        if name:
            with contextlib.suppress(AttributeError):  # one that refuses attributes keeps its own name
                made.name = name
        return made
    if isinstance(made, nn.Module):
        return wrap(made, name or type(unwrapped(made)).__qualname__)
    advice = "Name a function that makes the module, not the module's class." if inspect.isclass(made) else "Return it."
    raise UserError(
        f"{what} must return a torch module (z to images) or a Generator, got a {type(made).__name__}. {advice}"
    )


def _freeze(module: nn.Module, name: str) -> None:
    """Put a module into evaluation mode, and let none of its parameters require gradients."""
    for label, tensor in (*module.named_parameters(), *module.named_buffers()):
        if is_lazy(tensor):
            raise UserError(
                f"{name} has weights that are not made yet, such as {label}: a lazy layer learns its width when it is "
                "first called. Call the module once in the function that returns it, or give the layers their widths."
            )
    module.eval()
    for parameter in module.parameters():  # one by one, because scripted modules know no requires_grad_ of their own
        parameter.requires_grad_(False)


@dataclass(frozen=True)
class _Form:
    """How a module is called.

    Attributes:
        dim_z: |z|.
        spatial: Whether it takes (batch, |z|, 1, 1).
        num_classes: 0 where it takes no class.
        one_hot: Whether classes are given as one-hot rows, not as indices.
        takes_truncation: Whether it has an argument of this name.
        settings: Other arguments by name; tensors have one row, which is the same for all samples.
    """

    dim_z: int
    spatial: bool = False
    num_classes: int = 0
    one_hot: bool = False
    takes_truncation: bool = False
    settings: Mapping[str, Any] = field(default_factory=dict)

    def call(self, module: Callable[..., object], z: Tensor, y: Tensor, truncation: float = 1.0) -> object:
        """Call it with (batch, dim_z) latents and (batch,) indices of classes."""
        z = z.clone()  # it is the module's own, to be changed in place if it likes
        arguments = [z[..., None, None] if self.spatial else z]
        if self.num_classes:
            arguments.append(F.one_hot(y, self.num_classes).to(z) if self.one_hot else y)
        settings = {
            label: value.to(z).expand(len(z), *value.shape[1:]) if isinstance(value, Tensor) else value
            for label, value in self.settings.items()
        }
        if self.takes_truncation:
            settings["truncation"] = truncation
        return module(*arguments, **settings)

    def fault(self, module: nn.Module, label: int = 0) -> str | None:
        """What the module raises when it is called so, with a class, or ``None``."""
        z = torch.zeros(2, self.dim_z).to(_like(module))
        try:
            self.call(module, z, torch.full((2,), label, device=z.device))
        except Exception as error:
            if is_out_of_memory(error):
                raise
            return f"{type(error).__name__}: {error}"
        return None


def wrap(module: nn.Module, name: str) -> WrappedModule:
    """Make a module a generator, after trying it out.

    Args:
        module: Takes (batch, |z|) or (batch, |z|, 1, 1), and a class where it has some, as indices or one-hot rows; it
            gives (batch, 3 or 1, size, size) in [-1, 1] or [0, 1], alone or in a tuple, list or dictionary. Attributes
            ``dim_z``, ``num_classes`` and ``class_names`` say what they say; the first two are else found out.
        name: What `load_generator` was given.

    Returns:
        The generator, with z standard normal.

    Raises:
        UserError: If the module has no weights yet, |z| or the number of classes cannot be found out, or the module
            raises, returns no images, images outside [-1, 1], of changing size, of another sample's making, or other
            ones at each call.

    Warns:
        UserWarning: If its images are in [0, 1], or in half precision.
    """
    _freeze(module, name)
    module = unwrapped(module)
    form = _find_form(module, name)
    z = torch.randn(_TRIED, form.dim_z, generator=torch.Generator().manual_seed(0)).to(_like(module))
    labels = torch.arange(_TRIED, device=z.device) % max(1, form.num_classes)
    with torch.no_grad():
        images = _called_images(name, z, lambda: form.call(module, z, labels))
    _check_values(images, name, limit=_OVERSHOOT, share=0.01)
    is_unit = bool(images.min() >= 0 and TOLERANCE < images.max() <= 1 + TOLERANCE)
    if is_unit:
        warnings.warn(f"The images of {name} are in [0, 1] and are mapped to [-1, 1].", stacklevel=2)
    if images.dtype in (torch.float16, torch.bfloat16):
        kind = str(images.dtype).removeprefix("torch.")
        change = "changes the penalty and its gradient, the more the smaller epsilon is: see docs/precision.md"
        warnings.warn(f"{name} makes its images in {kind}, which {change}. Give it in float32.", stacklevel=2)
    generator = WrappedModule(module, form, name=name, resolution=images.shape[-1], is_unit=is_unit)
    try_out(generator)
    return generator


def _find_form(module: nn.Module, name: str) -> _Form:
    """Find |z|, how it comes, and how classes are given, by trying."""
    parameters: Mapping[str, inspect.Parameter] = {}
    if not isinstance(module, torch.jit.ScriptModule):
        parameters = inspect.signature(module.forward).parameters
    settings: dict[str, Any] = {label: value for label, value in _FIXED_NOISE.items() if label in parameters}
    told = {label: getattr(module, label) for label in (*_WIDTHS, *_CLASSES) if _is_count(getattr(module, label, None))}
    dim_z = next((told[label] for label in _WIDTHS if label in told), 0)
    classes = next((told[label] for label in _CLASSES if label in told), 0)
    second = list(parameters)[1:2]
    if not classes and second and any(getattr(module, label, None) == 0 for label in _CLASSES):
        settings[second[0]] = None  # a StyleGAN without classes has the argument all the same

    # |z| as the module says or its layers have it, or what they leave beside a class.
    layers = list(module.modules())
    read = [width for layer in layers for label in _INPUTS if _is_count(width := getattr(layer, label, None))]
    beside = [classes, *(layer.embedding_dim for layer in layers if isinstance(layer, nn.Embedding))]
    beside += [layer.out_features for layer in layers if isinstance(layer, nn.Linear) and layer.in_features == classes]
    widths = [dim_z] if dim_z else [*read, *(width - other for width in read for other in beside)]
    faults = []
    for width, spatial in itertools.product(dict.fromkeys(filter(_is_count, widths)), (False, True)):
        if "noise" in parameters and not settings.keys() & _FIXED_NOISE:
            noise_width = getattr(module, "noise_dim", width)
            settings["noise"] = torch.randn(1, noise_width, generator=torch.Generator().manual_seed(0))
        plain = _Form(width, spatial, takes_truncation="truncation" in parameters, settings=dict(settings))
        forms = [replace(plain, num_classes=classes or _MOST_CLASSES)]
        if not classes:
            forms.insert(0, plain)
        # One-hot rows beside z can be cut anywhere, so one of the two widths must be known.
        rows = [classes] if classes else [*read, *(other - width for other in read)] if dim_z else []
        forms += [replace(plain, num_classes=number, one_hot=True) for number in dict.fromkeys(rows) if number > 0]
        for form in forms:
            fault = form.fault(module)
            if fault is None:
                return _with_classes(form, module, name)
            faults.append(fault)
    tried = " or ".join(map(str, dict.fromkeys(widths))) or "none that could be read off its layers"
    raised = f"; the first try raised {faults[0]}" if faults else ""
    raise UserError(
        f"{name} could not be called with z of shape (2, |z|) or (2, |z|, 1, 1), alone or with classes, |z| tried: "
        f"{tried}{raised}. Give the module an attribute dim_z with the right width, and num_classes if it has classes."
    )


def _with_classes(form: _Form, module: nn.Module, name: str) -> _Form:
    """Check the number of classes that a module says it has, or find it: the first index that fails."""
    if form.num_classes < _MOST_CLASSES:
        last = form.num_classes - 1
        fault = form.fault(module, last) if form.num_classes else None
        if fault is not None:
            raise UserError(f"{name} says that it has {last + 1} classes, but with class {last} it raises {fault}.")
        return form
    # On a GPU an index outside an embedding ends the process' use of the device.
    if _like(module).device.type != "cpu" or form.fault(module, _MOST_CLASSES - 1) is None:
        raise UserError(
            f"{name} takes a class, and how many there are cannot be found out. Give the module an attribute "
            "num_classes."
        )
    low, high = 0, _MOST_CLASSES - 1  # low works, high fails
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if form.fault(module, middle) is None else (low, middle)
    return replace(form, num_classes=high)


class WrappedModule(ClassConditional):
    """A module as a generator; made by `wrap`.

    Args:
        module: Frozen, in evaluation mode.
        form: How it is called.
        name: What `load_generator` was given.
        resolution: Height and width of its images, in pixels.
        is_unit: Whether its images are in [0, 1].
    """

    def __init__(self, module: nn.Module, form: _Form, *, name: str, resolution: int, is_unit: bool) -> None:
        state = ((label, tensor) for label, tensor in module.state_dict().items() if isinstance(tensor, Tensor))
        names = getattr(module, "class_names", None)
        super().__init__(
            name=name,
            dim_z=form.dim_z,
            num_classes=form.num_classes,
            resolution=resolution,
            num_layers=1,
            digest=tensors_digest(state, start=f"{type(module).__module__}.{type(module).__qualname__}"),
            class_names=tuple(names) if _are_names(names, form.num_classes) else None,
        )
        self.module, self.form, self.is_unit = module, form, is_unit
        self._program: Callable[..., object] | None = None
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

    def forward(self, z: Tensor, y: Labels | None = 0, *, truncation: float = 1.0) -> Tensor:
        """Generate images.

        Args:
            z: (batch, dim_z).
            y: Classes; one for all, or one for each.
            truncation: In (0, 1]; the spread of z depends on it, and the module where it has such an argument.

        Returns:
            (batch, 3, resolution, resolution) in [-1, 1].

        Raises:
            UserError: If z is not fitting, the module raises, or the images have another size than before.
        """
        self.check_z(z)
        check_truncation(truncation)
        module = self.module if self._program is None or not torch.is_grad_enabled() else self._program
        z, labels = z.to(_like(self.module)), self.class_indices(y, len(z))
        images = _called_images(self.name, z, lambda: self.form.call(module, z, labels, truncation))
        images = images.to(torch.promote_types(images.dtype, torch.float32))
        images = (2 * images - 1 if self.is_unit else images).clamp(-1, 1).expand(-1, 3, -1, -1)
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


def _like(module: nn.Module) -> Tensor:
    """A tensor of the module's device and precision."""
    tensors = (tensor for tensor in (*module.parameters(), *module.buffers()) if tensor.dtype.is_floating_point)
    return next(tensors, torch.empty(0))


def _called_images(name: str, z: Tensor, call: Callable[[], object]) -> Tensor:
    """The images that a call of a user's code gives."""
    return _image_in(_called(f"{name}, called with z of shape {tuple(z.shape)},", call), name)


def _image_in(output: object, name: str) -> Tensor:
    """The images in what a module returns: square, (batch, 3 or 1, size, size), the largest where there are several."""
    parts = dict(enumerate(output)) if isinstance(output, Sequence) else output
    entries = {f"[{key!r}] ": part for key, part in parts.items()} if isinstance(parts, Mapping) else {"": output}
    images = [value for value in entries.values() if _is_image(value)]
    largest = max((image.shape[-1] for image in images), default=0)
    images = [image for image in images if image.shape[-1] == largest]
    if len(images) == 1:
        return images[0]
    described = ", ".join(f"{key}{_described(value)}" for key, value in entries.items()) or "nothing"
    kind = f"a {type(output).__name__} of " if isinstance(parts, Mapping) else ""
    raise UserError(f"{name} must give square images, (batch, 3 or 1, size, size), got {kind}{described}.")


def _is_image(value: object) -> TypeGuard[Tensor]:
    if not isinstance(value, Tensor) or value.ndim != 4 or not value.is_floating_point():
        return False
    return value.shape[1] in (1, 3) and value.shape[2] == value.shape[3]


def _described(value: object) -> str:
    return f"{value.dtype} {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__


def _check_values(images: Tensor, name: str, *, limit: float, share: float = 0.0) -> None:
    """Refuse NaN and infinity, and images of which more than a share of the values lies beyond ±limit."""
    if not images.isfinite().all():
        raise UserError(f"{name} gives NaN or infinity. Check its weights.")
    if (images.abs() > limit).float().mean() > share:
        low, high = float(images.min()), float(images.max())
        raise UserError(
            f"{name} must give images in [-1, 1], got values from {low:.3g} to {high:.3g}. Scale them where they are "
            "made, such as images / 127.5 - 1 for values up to 255, or clamp what overshoots: images.clamp(-1, 1)."
        )


def _check_shape(images: Tensor, name: str, batch: int, resolution: int) -> None:
    wanted = (batch, 3, resolution, resolution)
    if images.shape != wanted:
        raise UserError(
            f"{name} must give images of shape {wanted} for {batch} latents (its resolution is {resolution}), got "
            f"{_described(images)}: the size of an image must not change."
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
    images = _image_in(images, name)
    _check_shape(images, name, batch, resolution)
    _check_values(images, name, limit=1 + TOLERANCE)


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
            f"{name} gives no gradients, which this method needs: {problem}. Leave no_grad, inference_mode, detach and "
            "NumPy out of what makes the images, or choose --method joint --measurement differences."
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
    name, width, z = generator.name, generator.dim_z, torch.empty(0)
    rng = torch.Generator().manual_seed(0)
    for what, draw in (
        (f"sample_z({_TRIED})", lambda: generator.sample_z(_TRIED, seed=0)),
        (f"sample_z_from({_TRIED}, rng)", lambda: generator.sample_z_from(_TRIED, rng, 1.0)),
    ):
        z = _called(f"{what} of {name}", draw)
        if not isinstance(z, Tensor) or z.shape != (_TRIED, width) or not z.is_floating_point():
            raise UserError(f"{what} of {name} must give floats of shape ({_TRIED}, {width}), got {_described(z)}.")
    first, again, alone = (_tried_images(generator, part.to(generator.device)) for part in (z, z, z[:1]))
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
    name, before, y = generator.name, z.clone(), 0 if generator.num_classes else None
    images = _called_images(name, z, lambda: generator(z, y))
    if not torch.equal(z, before):
        raise UserError(f"{name} changes the z that it is given. Let it work on a copy: z = z.clone().")
    check_images(images, name, batch=len(z), resolution=generator.resolution)
    return images


def _check_attributes(generator: Generator) -> None:
    """Check the attributes of a generator, which are read long after it has been loaded."""
    names, classes = generator.class_names, generator.num_classes
    for attribute, fits, wanted in (
        ("name", isinstance(generator.name, str) and generator.name, "text that is not empty, such as 'my-gan'"),
        ("dim_z", _is_count(generator.dim_z), "a whole number, at least 1"),
        ("num_classes", classes == 0 or _is_count(classes), "a whole number, 0 for a generator without classes"),
        ("resolution", _is_count(generator.resolution), "a whole number of pixels, at least 1"),
        ("num_layers", _is_count(generator.num_layers), "a whole number, at least 1"),
        ("digest", isinstance(generator.digest, str), "text, such as the SHA-256 of its weights in hexadecimal"),
        ("class_names", names is None or _are_names(names, classes), f"None, or a name for each of {classes} classes"),
        ("device", isinstance(generator.device, torch.device), "a torch.device, such as torch.device('cpu')"),
    ):
        if not fits:
            value = getattr(generator, attribute)
            raise UserError(
                f"{attribute} of the generator {type(generator).__name__} must be {wanted}, got {value!r} (a "
                f"{type(value).__name__})."
            )


def _are_names(names: object, count: int) -> TypeGuard[Sequence[str]]:
    return isinstance(names, (list, tuple)) and len(names) == count and all(isinstance(name, str) for name in names)


def _is_count(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0
