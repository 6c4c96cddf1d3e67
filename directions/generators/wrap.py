"""Generators of one's own: found by reference, plain modules wrapped, and everything tried out before it is used."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import inspect
import itertools
import operator
import sys
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeGuard

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.module import register_module_forward_hook
from torch.nn.parameter import is_lazy

from directions.device import is_out_of_memory
from directions.errors import UserError, nearest
from directions.files import user_path
from directions.generators.base import (
    TOLERANCE,
    ClassConditional,
    Generator,
    Labels,
    check_images,
    check_shape,
    check_truncation,
    check_values,
    described,
    image_in,
    like,
    normal,
)  # fmt: skip
from directions.generators.base import compiled as compile_function
from directions.generators.weights import tensors_digest, unwrapped

_OVERSHOOT = 1.1
"""Trained networks without a last tanh overshoot ±1: all but 1% of the values must lie within this, and are clamped."""
_WIDTHS = ("dim_z", "z_dim", "latent_dim", "nz", "z_size", "latent_size")
_CLASSES = ("num_classes", "n_classes", "nclasses", "c_dim", "y_dim")
_TRIED = 8
_FIXED_NOISE = {"noise_mode": "const", "randomize_noise": False}
"""How the forward of StyleGANs is asked to leave its noise as it is."""


def load_reference(reference: str, name: str, weights: Path | None) -> Generator:
    """Load what ``package.module:function`` or ``file.py:function`` names.

    Args:
        reference: Names a function, or a module or Generator itself.
        name: What the generator is to be called.
        weights: What to give the function as ``weights``; ``None`` gives it nothing.

    Returns:
        What it makes, tried out.

    Raises:
        UserError: If there is no such function, it raises, or it makes no generator.
    """
    module_name, _, path = reference.rpartition(":")
    here, file = Path.cwd(), None
    if module_name.endswith(".py"):
        file = user_path(module_name).resolve()
        if not file.is_file():
            where = f"It is looked for from {here}. If it was moved, say where it is: --generator FILE.py:FUNCTION"
            raise UserError(f"{reference}: there is no file {module_name}. {where}")
        here, module_name = file.parent, file.stem
    sys.path.insert(0, str(here))  # the folder that the user is in, or the file's, counts too, as with ``python``
    try:
        found = _called(f"{reference}: importing {module_name}", lambda: _imported(reference, module_name, file))
    finally:
        sys.path.remove(str(here))
    for part in path.split("."):
        if not hasattr(found, part):
            names = [name for name, _ in inspect.getmembers(found, inspect.isfunction)]
            raise UserError(f"{reference}: {module_name} has no {part!r}.{nearest(part, names)}")
        found = getattr(found, part)
    return load_object(found, weights, reference, name)


def _imported(reference: str, name: str, file: Path | None) -> Any:
    """Import a module by its name, or from its file."""
    if file is None:
        try:
            return importlib.import_module(name)
        except ModuleNotFoundError as error:
            if not f"{name}.".startswith(f"{error.name}."):  # one that it imports
                raise
            where = f"It is looked for in {Path.cwd()} and in what is installed; --generator says where it is."
            raise UserError(f"{reference}: there is no module {error.name!r}. {where}") from None
    specification = importlib.util.spec_from_file_location(name, file)
    assert specification is not None, "its name ends in .py"
    assert specification.loader is not None, "its name ends in .py"
    module = importlib.util.module_from_spec(specification)
    sys.modules.setdefault(name, module)  # dataclasses look there; another folder's may have the same name
    specification.loader.exec_module(module)
    return module


def load_object(given: Any, weights: Path | None, reference: str = "", name: str = "") -> Generator:
    """Take a module, a Generator, or a function that makes one, and try it out.

    Args:
        given: One of these.
        weights: What to give a function as ``weights``; ``None`` gives it nothing.
        reference: What to call it in messages; empty for its own name.
        name: What the generator is to be called; empty for its own name, or a function's reference.

    Returns:
        The generator; a plain module is wrapped.

    Raises:
        UserError: If it is none of these, a function raises or makes nothing of the kind, or the trial fails.
    """
    if not callable(given):
        kinds = "a name, a torch module, a Generator, or a function that returns one"
        raise UserError(f"{reference or 'A generator'} must be {kinds}, got {given!r}.")
    kind, made = type(given).__qualname__, given
    if _is_made(given):
        reference = reference or kind
        if weights is not None:
            raise UserError(f"weights are read by a function, got {weights} with a {kind}. Load them first.")
    else:
        own = f"{given.__module__}:{given.__qualname__}" if hasattr(given, "__qualname__") else kind
        reference = reference or own
        name = name or reference
        arguments = {} if weights is None else {"weights": str(weights)}
        parameters = inspect.signature(given).parameters.values() if arguments else ()
        if arguments and not any(p.name == "weights" or p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters):
            raise UserError(f"{reference} takes no weights, got {weights}. Give it a parameter weights=None.")
        made = _called(reference, lambda: given(**arguments))
    if not _is_made(made):
        is_class = inspect.isclass(made)
        advice = "Name a function that makes the module, not the module's class." if is_class else "Return it."
        what = f"must return a torch module (z to images) or a Generator, got a {type(made).__name__}"
        raise UserError(f"{reference} {what}. {advice}")
    if isinstance(made, nn.Module):
        _freeze(made)
    if not isinstance(made, Generator):
        return wrap(made, name or type(unwrapped(made)).__qualname__)
    try_out(made)
    if name:
        with contextlib.suppress(AttributeError):  # one that refuses attributes keeps its own name
            made.name = name
    return made


def _is_made(value: object) -> bool:
    """Whether something is a module or Generator, and not what makes one."""
    return isinstance(value, (nn.Module, Generator)) and not inspect.isclass(value)


def _called(what: str, call: Callable[[], Any]) -> Any:
    """Make a call into a user's code, which may raise anything."""
    try:
        return call()
    except UserError:
        raise
    except (Exception, SystemExit) as error:
        if is_out_of_memory(error):
            raise
        frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "<frozen" not in frame.filename]
        place = f"{frames[-1].filename}, line {frames[-1].lineno}"
        raise UserError(f"{what} raised {type(error).__name__}: {error}. ({place})") from error


def _freeze(module: nn.Module) -> None:
    """Put a module into evaluation mode, and let none of its parameters require gradients."""
    if any(map(is_lazy, (*module.parameters(), *module.buffers()))):
        raise UserError(
            f"{type(module).__name__} has lazy layers, whose weights are not made yet. Call the module once in the "
            "function that returns it, or give the layers their widths."
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

    def fault(self, module: nn.Module, label: int) -> str | None:
        """What the module raises when it is called so, with a class, or ``None``."""
        z = torch.zeros(2, self.dim_z).to(like(module))
        try:
            self.call(module, z, torch.full((2,), label, device=z.device))
        except Exception as error:
            if is_out_of_memory(error):
                raise
            return f"{type(error).__name__}: {error}" + (f" (with class {label})" if label else "")
        return None


def wrap(module: nn.Module, name: str) -> WrappedModule:
    """Make a module a generator, after trying it out.

    Args:
        module: Takes (batch, |z|) or (batch, |z|, 1, 1), and a class where it has some, as indices or one-hot rows; it
            gives (batch, 3 or 1, size, size) in [-1, 1] or [0, 1], alone or in a tuple, list or dictionary. Attributes
            ``dim_z``, ``num_classes`` and ``class_names`` say what they say; the first two are else read off its
            layers and tried out.
        name: What `load_generator` was given.

    Returns:
        The generator, with z standard normal.

    Raises:
        UserError: If |z| or the number of classes cannot be found out, or the module raises, returns no images, images
            outside [-1, 1], of changing size, of another sample's making, or other ones at each call.

    Warns:
        UserWarning: If its images are in [0, 1], or in half precision.
    """
    _freeze(module)
    module = unwrapped(module)
    with torch.no_grad():
        form = _find_form(module, name)
        z = torch.randn(_TRIED, form.dim_z, generator=torch.Generator().manual_seed(0)).to(like(module))
        labels = torch.arange(_TRIED, device=z.device) % max(1, form.num_classes)
        kinds = set[object]()  # also of what is inside: autocast in a network is not seen in its images
        with register_module_forward_hook(lambda _, given, made: kinds.add(getattr(made, "dtype", None))):
            images = _called_images(name, z, lambda: form.call(module, z, labels))
    check_values(images, name, limit=_OVERSHOOT, share=0.01)
    low, high = float(images.min()), float(images.max())
    # Without a last sigmoid they leave the range a little; a network whose images are faint may have both signs.
    is_unit = high > TOLERANCE and low >= (1 - _OVERSHOOT if high > 0.5 else 0)
    if is_unit:
        warnings.warn(f"The images of {name} are in [0, 1] and are mapped to [-1, 1].", stacklevel=2)
    if half := {images.dtype, *kinds} & {torch.float16, torch.bfloat16}:
        kind = str(half.pop()).removeprefix("torch.")
        change = "changes the penalty and its gradient, the more the smaller epsilon is: see docs/precision.md"
        warnings.warn(f"{name} makes its images in {kind}, which {change}. Give it in float32.", stacklevel=2)
    generator = WrappedModule(module, form, name=name, resolution=images.shape[-1], is_unit=is_unit)
    try_out(generator)
    return generator


def _find_form(module: nn.Module, name: str) -> _Form:
    """Find |z|, how it comes, and how classes are given, by trying."""
    faults, widths = [], dict[int, None]()
    for form in _forms(module):
        widths[form.dim_z] = None
        fault = form.fault(module, 0) or form.fault(module, max(0, form.num_classes - 1))
        if fault is None:
            return form
        faults.append(fault)
    tried = " or ".join(map(str, widths)) or "none that could be read off its layers"
    faults.sort(key=lambda fault: "(with class" not in fault)  # what went well with class 0 came nearest
    raised = f"; one try raised {faults[0]}" if faults else ""
    raise UserError(
        f"{name} could not be called with z of shape (2, |z|) or (2, |z|, 1, 1), alone or with classes, |z| tried: "
        f"{tried}{raised}. Give the module an attribute dim_z with the right width, num_classes if it has classes, and "
        "noise_dim if it has an argument noise."
    )


def _forms(module: nn.Module) -> Iterator[_Form]:
    """The forms that a module may have: |z| as it says or its layers have it, or what these leave beside a class."""
    scripted = isinstance(module, torch.jit.ScriptModule)
    parameters = {} if scripted else dict(inspect.signature(module.forward).parameters)
    settings: dict[str, Any] = {label: value for label, value in _FIXED_NOISE.items() if label in parameters}
    dim_z, classes = (_count_of(module, labels) for labels in (_WIDTHS, _CLASSES))
    second = list(parameters)[1:2]
    if not classes and second and any(getattr(module, label, None) == 0 for label in _CLASSES):
        settings[second[0]] = None  # a StyleGAN without classes has the argument all the same
    # The first argument is z, whatever it is called.
    takes_noise = "noise" in list(parameters)[1:] and not settings.keys() & _FIXED_NOISE

    layers = list(module.modules())
    tables = [layer for layer in layers if isinstance(layer, nn.Embedding)]
    read = [width for layer in layers if (width := _count_of(layer, ("in_features", "in_channels")))]
    beside = [classes, *(table.embedding_dim for table in tables)]
    beside += [layer.out_features for layer in layers if isinstance(layer, nn.Linear) and layer.in_features == classes]
    widths = [dim_z] if dim_z else [*read, *(width - other for width in read for other in beside)]
    for width, spatial in itertools.product(dict.fromkeys(filter(_is_count, widths)), (False, True)):
        if takes_noise:
            noise_width = getattr(module, "noise_dim", width)
            settings["noise"] = torch.randn(1, noise_width, generator=torch.Generator().manual_seed(0))
        plain = _Form(width, spatial, takes_truncation="truncation" in parameters, settings=dict(settings))
        if not classes:
            yield plain
        for number in [classes] if classes else sorted({table.num_embeddings for table in tables}, reverse=True):
            yield replace(plain, num_classes=number)
        # One-hot rows beside z can be cut anywhere, so one of the two widths must be known.
        rows = [classes] if classes else [*read, *(other - width for other in read)] if dim_z else []
        for number in dict.fromkeys(filter(_is_count, rows)):
            yield replace(plain, num_classes=number, one_hot=True)


class WrappedModule(ClassConditional):
    """A module as a generator; made by `wrap`.

    Args:
        module: Frozen, in evaluation mode.
        form: How it is called.
        name: What `load_generator` was given.
        resolution: Height and width of its images, in pixels.
        is_unit: Whether its images are in [0, 1].
    """

    draw = staticmethod(normal)

    def __init__(self, module: nn.Module, form: _Form, *, name: str, resolution: int, is_unit: bool) -> None:
        state = [(label, tensor) for label, tensor in module.state_dict().items() if isinstance(tensor, Tensor)]
        kind = type(module)
        names = getattr(module, "class_names", None)
        names = list(names.values() if isinstance(names, Mapping) else names) if isinstance(names, Iterable) else None
        super().__init__(
            name=name, dim_z=form.dim_z, num_classes=form.num_classes, resolution=resolution, num_layers=1,
            digest=tensors_digest(state, start=kind.__qualname__),
            class_names=tuple(map(str, names)) if _are_names(names, form.num_classes) else None,
        )  # fmt: skip
        # Once the file's name counted too, so that a renamed file was another generator.
        self.former_digest = tensors_digest(state, start=f"{kind.__module__}.{kind.__qualname__}")
        self.module, self.form, self.is_unit = module, form, is_unit
        self._program: Callable[..., object] | None = None
        self.eval()

    def prepare_steps(self, *, compiled: bool, recompute: bool) -> None:
        """Say how passes with gradients are carried out from now on.

        Args:
            compiled: Let torch.compile make one program of the module.
            recompute: Must be false: what the module holds is its own affair.
        """
        super().prepare_steps(compiled=False, recompute=recompute)
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
        z, labels = z.to(like(self.module)), self.class_indices(y, len(z))
        images = _called_images(self.name, z, lambda: self.form.call(module, z, labels, truncation))
        images = images.to(torch.promote_types(images.dtype, torch.float32))
        images = (2 * images - 1 if self.is_unit else images).clamp(-1, 1).expand(-1, 3, -1, -1)
        check_shape(images, self.name, len(z), self.resolution)
        return images


def _called_images(name: str, z: Tensor, call: Callable[[], object]) -> Tensor:
    """The images that a call of a user's code gives."""
    return image_in(_called(f"{name}, called with z of shape {tuple(z.shape)},", call), name)


@torch.no_grad()
def try_out(generator: Generator) -> None:
    """Look at its attributes, make images twice, and some of them alone.

    Args:
        generator: Of a user's own class, or a wrapped module.

    Raises:
        UserError: If an attribute is not of its kind, it raises, its latents or images are not what its attributes
            promise, it changes the latents that it is given, or an image is not a fixed function of its own z.
    """
    least = {"dim_z": 1, "num_classes": 0, "resolution": 1, "num_layers": 1}
    for label, lowest in least.items():
        value = getattr(generator, label)
        if not isinstance(value, int) or value < lowest:
            what = f"must be a whole number, at least {lowest}, got {value!r}"
            raise UserError(f"Of the generator {type(generator).__name__}, {label} {what}.")
    name, width, z = generator.name, generator.dim_z, torch.empty(0)
    names, classes = generator.class_names, generator.num_classes
    if not (isinstance(name, str) and name and isinstance(generator.digest, str)):
        raise UserError(f"The generator {type(generator).__name__} must have a name, and a digest that is text.")
    if not isinstance(generator.device, torch.device):
        raise UserError(f"device of {name} must be a torch.device, got {generator.device!r}.")
    if names is not None and not _are_names(names, classes):
        raise UserError(f"class_names of {name} must be None, or a name for each of {classes} classes, got {names!r}.")
    rng = torch.Generator().manual_seed(0)
    for what, draw in (
        (f"sample_z({_TRIED})", lambda: generator.sample_z(_TRIED, seed=0)),
        (f"sample_z_from({_TRIED}, rng)", lambda: generator.sample_z_from(_TRIED, rng, 1.0)),
    ):
        z = _called(f"{what} of {name}", draw)
        if not isinstance(z, Tensor) or z.shape != (_TRIED, width) or not z.is_floating_point():
            raise UserError(f"{what} of {name} must give floats of shape ({_TRIED}, {width}), got {described(z)}.")
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


def _are_names(names: object, count: int) -> TypeGuard[Sequence[str]]:
    return isinstance(names, (list, tuple)) and len(names) == count and all(isinstance(name, str) for name in names)


def _is_count(value: Any) -> TypeGuard[int]:
    return hasattr(value, "__index__") and not isinstance(value, (bool, Tensor)) and operator.index(value) > 0


def _count_of(module: nn.Module, labels: Sequence[str]) -> int:
    """The first of some attributes that is a number of things, else 0."""
    return int(next((value for label in labels if _is_count(value := getattr(module, label, None))), 0))
