"""Settings of a run: one frozen dataclass, checked when it is made.

The command line and other code build a `DiscoverConfig`; `directions.discovery` obeys it, the run folder and the
direction file record it. Nothing here imports torch, so that a wrong setting is refused before anything heavy starts.
Checks that need the generator (class names, the width of z) are made where the generator is known.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from directions.errors import UserError, nearest
from directions.ranges import is_range

Init = Literal["random", "identity"]
Reduction = Literal["mean", "max"]
Method = Literal["adam", "joint", "joint+adam"]
Measuring = Literal["auto", "differences", "gradients"]
Precision = Literal["float32", "tf32", "bf16"]
Classes = tuple[int | str, ...] | Literal["all"]

RESUMABLE = ("steps", "weights", "micro_batch", "device", "compile", "recompute", "checkpoint_every")
"""Fields that may differ when a run is resumed.

None of them changes which samples are drawn or how they are weighted. The weights may have moved to another place
(their digest is compared); another micro-batch or device, compiling and recomputing change rounding only.
"""

UNUSED: dict[Method, tuple[str, ...]] = {
    "adam": ("base_points", "measurement", "output_probes", "starts"),
    "joint": ("steps", "learning_rate", "decay_steps", "eval_every", "precision"),
    "joint+adam": (),
}
"""Fields that a method does not look at; who sets one has misunderstood something."""

_DEVICE = re.compile(r"cpu|auto|cuda(:\d+)?")

MAX_SEED = 2**63 - 1
"""Of every seed: the largest whole number that 64 bits hold with a sign."""


class ConfigError(UserError):
    """One setting is wrong.

    Attributes:
        field: Name of the setting, a field of `DiscoverConfig`; the message begins with it.
    """

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"{field} {problem}")
        self.field = field


@dataclass(frozen=True, kw_only=True)
class DiscoverConfig:
    """Everything that decides the outcome of a discovery run, and how it is carried out.

    Raises:
        ConfigError: If a value is of the wrong type or outside its range.
    """

    generator: str = "builtin"
    """Name of the generator, as `directions generators` lists it, or the path of its folder."""
    weights: str | None = None
    """Folder with the generator's weights; ``None`` looks in the usual places."""
    classes: Classes = "all"
    """Classes to draw from, by index or name, uniformly; ``"all"`` draws from every class the generator has."""
    ndirs: int | None = None
    """Number of directions to learn, at most the size of the searched space; ``None`` is that size (recommended)."""
    space: str | None = None
    """z components to search: ``"start:stop"`` with stop excluded, or a third by name, ``"coarse"``, ``"mid"`` or
    ``"fine"``; ``None`` searches all that the layers see. The thirds are the paper's search spaces of plain BigGAN,
    where a chunk of z belongs to each layer. BigGAN-deep has no such segments: ``layers`` are the counterpart there."""
    layers: str | None = None
    """Layers of the generator that directions act on, the others keep seeing the sample's own z: ``"start:stop"`` with
    stop excluded, or a third by name, ``"coarse"``, ``"mid"`` or ``"fine"``; ``None`` is all. Layer 0 is the first
    linear one, layer i the i-th block."""
    truncation: float = 1.0
    """Spread of z and the generator's truncation setting, in (0, 1]; 1 does not truncate."""
    method: Method = "joint+adam"
    """How directions are found. ``"adam"``: the paper's way, A learned by stochastic steps. ``"joint"``: Hessians are
    measured at random places and diagonalised jointly. ``"joint+adam"``: stochastic steps that start from there.

    With a joint start, all directions of the searched space are found, and the ``ndirs`` most active of them kept.
    """
    base_points: int = 90
    """Places at which Hessians are measured for a joint start, at least 1."""
    measurement: Measuring = "auto"
    """How they are measured: ``"differences"`` of images, for all pixels (2n² + 1 evaluations a place, for a space of n
    components), ``"gradients"`` of random combinations of pixels (2n and as many backward passes for each combination),
    or ``"auto"``: differences in spaces of up to 24 components."""
    output_probes: int = 4
    """Random combinations of pixels at each place, at least 1; for gradients only."""
    starts: int = 8
    """Bases from which the measured Hessians are diagonalised, at least 1; the best result counts."""
    steps: int = 400
    """Number of optimiser steps, at least 1; not used by method ``"joint"``."""
    batch_size: int = None  # type: ignore[assignment]  # filled in
    """Samples per step, at least 1; each takes ``2 * num_probes`` evaluations of the generator. ``None`` becomes 16, or
    64 for method ``"adam"``, which fewer leave near its random start."""
    micro_batch: int | None = None
    """Samples that go through the generator together; must divide ``batch_size``; ``None`` takes all at once."""
    num_probes: int = 2
    """Random sign vectors per sample, at least 2 (a variance is taken over them)."""
    epsilon: float = 0.1
    """Finite-difference step, in units of z, above 0: the scale at which curvature is measured."""
    path_size: float = 5.0
    """Samples are moved by eta ~ U[-path_size, path_size] along one direction, in units of z; above 0."""
    learning_rate: float | None = None
    """Adam's learning rate at the first step, above 0. The rows of A have norm about 1 at the start, so that it is an
    angle, in radians, for each component. ``None`` becomes 0.1, or 0.001 after a joint start, which a larger one would
    undo."""
    decay_steps: int = 100
    """The rate at step t is ``learning_rate / (1 + t / decay_steps)``; 0 keeps it constant, as in the paper.

    The schedule does not depend on ``steps``: a run that is extended equals one that was asked for as much at once.
    """
    init: Init = "random"
    """Start of A: ``"random"`` normal rows, or ``"identity"``, the z axes."""
    reduction: Reduction = "mean"
    """Over samples and the generator's outputs (pixels and channels)."""
    seed: int = 0
    """Seed of every draw of the run, in [0, 2**63)."""
    held_out: int = 64
    """Samples in the fixed held-out set, at least 1; it is the same for every run with the same sampling settings."""
    held_out_probes: int = 8
    """Random sign vectors per held-out sample, at least 2."""
    eval_every: int = 100
    """Steps between two held-out scores, at least 1."""
    checkpoint_every: int = 50
    """Steps between two checkpoints, at least 1."""
    final_samples: int = 32
    """Samples by which activeness, path size and penalty share are measured after training, at least 1."""
    device: str = "cpu"
    """``"cpu"``, ``"cuda"``, ``"cuda:1"`` …, or ``"auto"``: CUDA where there is one."""
    compile: bool = False
    """Let torch.compile make one program of the passes that gradients are taken of; it takes minutes at the start."""
    recompute: bool = False
    """Compute each block of the generator again for the backward pass, and hold what goes into the blocks only."""
    precision: Precision = "float32"
    """In which numbers the generator computes the steps' images: ``"float32"``; ``"tf32"``, on GPUs that have it; or
    ``"bf16"``, by autocast. Differences of images, held-out scores and all other measurements are in float32."""

    def __post_init__(self) -> None:
        """Check every field."""
        if not isinstance(self.generator, str) or not self.generator.strip():
            raise ConfigError("generator", f"must be a name, got {self.generator!r}. See: directions generators")
        if self.weights is not None and not isinstance(self.weights, str):
            raise ConfigError("weights", f"must be a path as text, or None, got {self.weights!r}.")
        object.__setattr__(self, "classes", _checked_classes(self.classes))
        if vars(self)["batch_size"] is None:
            object.__setattr__(self, "batch_size", 64 if self.method == "adam" else 16)
        for field in ("steps", "batch_size", "held_out", "eval_every", "checkpoint_every", "final_samples"):
            self._check_int(field, minimum=1)
        for field in ("base_points", "output_probes", "starts"):
            self._check_int(field, minimum=1)
        self._check_choice("method", get_args(Method))
        self._check_choice("measurement", get_args(Measuring))
        if self.learning_rate is None:
            object.__setattr__(self, "learning_rate", 0.001 if self.method == "joint+adam" else 0.1)
        for field in ("ndirs", "micro_batch"):
            if getattr(self, field) is not None:
                self._check_int(field, minimum=1)
        for field in ("num_probes", "held_out_probes"):
            self._check_int(field, minimum=2, why=" (a variance is taken over the probes)")
        self._check_int("decay_steps", minimum=0)
        self._check_int("seed", minimum=0, maximum=MAX_SEED)
        for field in ("epsilon", "path_size", "learning_rate"):
            self._check_positive(field)
        self._check_positive("truncation", maximum=1.0)
        if self.micro_batch is not None and self.batch_size % self.micro_batch:
            divisors = [str(n) for n in range(1, self.batch_size + 1) if self.batch_size % n == 0]
            raise ConfigError(
                "micro_batch",
                f"must divide batch_size {self.batch_size} into whole parts, got {self.micro_batch}. "
                f"Allowed: {', '.join(divisors)}.",
            )
        self._check_choice("init", get_args(Init))
        self._check_choice("precision", get_args(Precision))
        for field in ("compile", "recompute"):
            if not isinstance(getattr(self, field), bool):
                raise ConfigError(field, f"must be true or false, got {getattr(self, field)!r}.")
        self._check_choice("reduction", get_args(Reduction))
        if self.method == "joint" and self.reduction != "mean":
            raise ConfigError(
                "reduction", f"must be mean with method joint, which minimises no other, got {self.reduction}."
            )
        if not isinstance(self.device, str) or not _DEVICE.fullmatch(self.device):
            raise ConfigError("device", f"must be cpu, cuda, cuda:N or auto, got {self.device!r}.")
        for field, example in (("space", "0:12"), ("layers", "0:4")):
            value = getattr(self, field)
            if value is not None and not is_range(value):
                hint = nearest(str(value), ("coarse", "mid", "fine"))
                raise ConfigError(
                    field, f"must be start:stop, such as {example}, or coarse, mid or fine, got {value!r}.{hint}"
                )

    @property
    def adam_steps(self) -> int:
        """Number of optimiser steps that the method takes."""
        return 0 if self.method == "joint" else self.steps

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as plain JSON types."""
        settings = dataclasses.asdict(self)
        settings["classes"] = self.classes if self.classes == "all" else list(self.classes)
        return settings

    @classmethod
    def from_dict(cls, settings: Mapping[str, Any]) -> DiscoverConfig:
        """Make a configuration from what `to_dict` returned; fields that are missing take their defaults.

        Args:
            settings: Field names and values.

        Returns:
            The configuration.

        Raises:
            ConfigError: If a name is unknown or a value is not allowed.
        """
        names = [field.name for field in dataclasses.fields(cls)]
        for name in settings:
            if name not in names:
                raise ConfigError(name, f"is not a setting of a discovery run.{nearest(name, names)}")
        return cls(**settings)

    def differences(self, other: DiscoverConfig) -> tuple[str, ...]:
        """Return the names of the fields in which two configurations differ, in the order of declaration."""
        names = (field.name for field in dataclasses.fields(self))
        return tuple(name for name in names if getattr(self, name) != getattr(other, name))

    def _check_int(self, field: str, *, minimum: int, maximum: int | None = None, why: str = "") -> None:
        value = getattr(self, field)
        allowed = f"at least {minimum}" if maximum is None else f"between {minimum} and {maximum}"
        whole = isinstance(value, int) and not isinstance(value, bool)
        if not whole or value < minimum or (maximum is not None and value > maximum):
            raise ConfigError(field, f"must be a whole number, {allowed}{why}, got {value!r}.")

    def _check_positive(self, field: str, *, maximum: float = math.inf) -> None:
        value = getattr(self, field)
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not number or not (0 < value <= maximum and math.isfinite(value)):
            allowed = "a finite number above 0" if math.isinf(maximum) else f"above 0 and at most {maximum:g}"
            raise ConfigError(field, f"must be {allowed}, got {value!r}.")
        object.__setattr__(self, field, float(value))  # 5 and 5.0 are one setting and must be recorded as one

    def _check_choice(self, field: str, allowed: Iterable[str]) -> None:
        value = getattr(self, field)
        choices = tuple(allowed)
        if value not in choices:
            hint = nearest(str(value), choices)
            raise ConfigError(field, f"must be {' or '.join(choices)}, got {value!r}.{hint}")


def parse_classes(text: str) -> Classes:
    """Read classes as the command line gives them.

    Args:
        text: ``"all"``, or indices and names separated by commas, such as ``"0,2,cube"``.

    Returns:
        ``"all"`` or the classes, numbers as ``int``.

    Raises:
        ConfigError: If there is nothing between two commas, or ``all`` is not alone.
    """
    parts = [part.strip() for part in text.split(",")]
    return _checked_classes(tuple(int(part) if re.fullmatch(r"[+-]?\d+", part) else part for part in parts))


def _checked_classes(classes: object) -> Classes:
    if isinstance(classes, int | str) and not isinstance(classes, bool):
        classes = (classes,)
    if isinstance(classes, list | tuple) and classes and all(_is_class(entry) for entry in classes):
        if not any(_is_all(entry) for entry in classes):
            return tuple(classes)
        if len(classes) == 1:
            return "all"
        # As a part of a name it would be found in one class or another, and all classes are not what is drawn from.
        raise ConfigError("classes", f"must be 'all' alone, or classes without it, got {list(classes)!r}.")
    raise ConfigError("classes", f"must be 'all' or one or more class indices or names, got {classes!r}.")


def _is_all(entry: object) -> bool:
    return isinstance(entry, str) and entry.strip().casefold() == "all"


def _is_class(entry: object) -> bool:
    return (isinstance(entry, int) and not isinstance(entry, bool) and entry >= 0) or (
        isinstance(entry, str) and bool(entry.strip())
    )
