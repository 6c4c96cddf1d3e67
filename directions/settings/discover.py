"""Settings of a discovery run, with their options."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Annotated, Any, Literal, get_args

from pydantic import BeforeValidator, model_validator
from typing_extensions import Self

from directions.settings.base import DEVICE, MAX_SEED, ConfigError, Settings, check_range, setting

Init = Literal["random", "identity"]
Reduction = Literal["mean", "max"]
Method = Literal["adam", "joint", "joint+adam", "random", "axes", "pca", "sefa", "voynov"]
Measuring = Literal["auto", "differences", "gradients"]
Precision = Literal["float32", "tf32", "bf16"]
PcaOf = Literal["activations", "jacobian"]
Criterion = Literal["hessian", "jacobian", "both"]
Classes = tuple[int | str, ...] | Literal["all"]

RESUMABLE = (
    *("steps", "generator", "weights", "micro_batch", "device", "compile", "recompute"),
    *("checkpoint_every", "starts", "final_samples", "time"),
)
"""Fields that may differ when a run is resumed: none of them changes which samples are drawn or how they are weighted.

The generator may have moved to another place (its digest is compared); another micro-batch or device, compiling and
recomputing change rounding only.
"""

SIGN_VECTORS_UP_TO = 24
"""In larger searched spaces a few sign vectors say nothing (bases are compared by Hessians at held-out places), and
what the paper's settings take is planned."""

HESSIANS_UP_TO = 16
"""Components of z up to which the default measures all Hessians; each takes 2 n² + 1 images, a Jacobian 2 n."""

COMPUTED = ("random", "axes", "pca", "sefa")
"""Methods that compute their directions and search for nothing."""

_JOINT = ("measurement", "output_probes", "starts")
_STEPS = ("steps", "learning_rate", "decay_steps", "eval_every", "precision")
_SEARCH = (*_JOINT, *_STEPS, "criterion", "time")
_PCA = ("layer", "pca_of")
PLANNED = (
    *("criterion", "base_points", "hessian_points", "output_probes", "starts", "steps", "held_out", "final_samples"),
)
"""Fields that `directions.plan` chooses where they were not given."""

UNUSED: dict[Method, tuple[str, ...]] = {
    "adam": ("base_points", *_JOINT, *_PCA),
    "joint": (*_STEPS, *_PCA),
    "joint+adam": _PCA,
    "random": ("base_points", *_SEARCH, *_PCA),
    "axes": ("base_points", *_SEARCH, *_PCA),
    "pca": _SEARCH,
    "sefa": ("base_points", *_SEARCH, *_PCA),
    "voynov": ("base_points", *_JOINT, *_PCA, "precision", "criterion"),
}
"""Fields that a method does not look at; who sets one has misunderstood something."""

_TIME = re.compile(r"(\d+(?:\.\d*)?|\.\d+)\s*([smh]?)")


def parse_time(text: str) -> float:
    """Read a duration as the command line gives it.

    Args:
        text: Such as ``"90s"``, ``"10m"`` or ``"2h"``; a number alone is seconds.

    Returns:
        Seconds.

    Raises:
        ConfigError: If it is none, or zero.

    Example:
        >>> parse_time("10m")
        600.0
    """
    found = _TIME.fullmatch(text.strip().lower())
    seconds = float(found[1]) * {"": 1, "s": 1, "m": 60, "h": 3600}[found[2]] if found else 0.0
    if not seconds:
        raise ConfigError("time", f"must be a duration above zero such as 90s, 10m or 2h, got {text!r}.")
    return seconds


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
    return check_classes(tuple(int(part) if re.fullmatch(r"[+-]?\d+", part) else part for part in parts))


def check_classes(classes: object) -> Classes:
    """Check classes; a single one need not be in a tuple.

    Returns:
        ``"all"`` or a tuple of them.

    Raises:
        ConfigError: If there is none, one is neither an index nor a name, or ``all`` is not alone.
    """
    if hasattr(classes, "tolist"):  # of NumPy or torch
        classes = classes.tolist()
    listed = tuple(classes) if isinstance(classes, list | tuple) else (classes,)
    entries = tuple(entry.item() if hasattr(entry, "item") else entry for entry in listed)
    sound = [entry.strip() != "" if isinstance(entry, str) else type(entry) is int and entry >= 0 for entry in entries]
    if not entries or not all(sound):
        raise ConfigError("classes", f"must be 'all' or one or more class indices or names, got {classes!r}.")
    if not any(isinstance(entry, str) and entry.strip().casefold() == "all" for entry in entries):
        return entries
    if len(entries) > 1:
        # As a part of a name it would be found in one class or another, and all classes are not what is drawn from.
        raise ConfigError("classes", f"must be 'all' alone, or classes without it, got {list(entries)!r}.")
    return "all"


def _in(panel: str) -> Callable[..., Any]:
    return lambda default, help, **more: setting(default, help, panel=panel, **more)  # noqa: A006


_learn, _sample, _penalty = _in("What to learn"), _in("What to sample"), _in("The penalty")
_joint, _optimiser = _in("The joint start (methods joint and joint+adam)"), _in("The optimiser")
_scores, _hardware = _in("Scores and checkpoints"), _in("Hardware")
_VARIANCE = "a variance is taken over the probes"


class DiscoverConfig(Settings):
    """Everything that decides the outcome of a discovery run, and how it is carried out.

    Raises:
        ConfigError: If a value is of the wrong type or outside its range.
    """

    generator: str = _learn("builtin", "Generator by name (see: directions generators), folder, or FILE.py:FUNCTION.")
    weights: str | None = _learn(None, "Folder with the generator's weights.", shown="usual places")
    classes: Annotated[Classes, BeforeValidator(check_classes)] = _sample(
        "all", "Classes by index or name, drawn uniformly; or all.", metavar="CLASS,…", flags=("--classes", "-y"),
        from_text=parse_classes,
    )  # fmt: skip
    method: Method = _learn(
        "joint+adam",
        "adam: the paper's steps; joint: measure Hessians, diagonalise them; joint+adam: steps from there. Others, to "
        "compare with: random; axes of z; pca (GANSpace); sefa; voynov.",
    )
    pca_of: PcaOf = _learn("activations", "With pca: principal components of activations, or of mean JᵀJ of images.")
    layer: str | None = _learn(
        None, "With pca: a BigGAN's layer by number, or a submodule by name.", metavar="LAYER", shown="the first"
    )
    criterion: Criterion = _learn(
        "hessian",
        "hessian: the Hessian Penalty; jacobian: OroJaR's, from 2|z| images a base point; both: the sum of the two.",
        shown="hessian; with more than 16 components by the plan",
    )
    time: float | None = _learn(
        None, "How long the run may take; settings that are not given are chosen to fit.", gt=0, metavar="90s|10m|2h",
        from_text=parse_time, shown="no plan; with more than 16 components under 2m, with more than 24 about 3m",
    )  # fmt: skip
    # With fewer directions than the searched space has components, the penalty is lowest for those that do nothing.
    ndirs: int | None = _learn(
        None, "Number of directions. With fewer than the space has, adam finds idle ones, joint keeps the most active.",
        ge=1, shown="size of the space",
    )  # fmt: skip
    space: Annotated[str | None, BeforeValidator(check_range)] = _learn(
        None, "z components to search, such as 0:12 (STOP is excluded), or a third: coarse, mid, fine. Plain BigGAN "
        "has a chunk of z for each layer; BigGAN-deep has none, use --layers there.", metavar="START:STOP",
        shown="all that the layers see",
    )  # fmt: skip
    layers: Annotated[str | None, BeforeValidator(check_range)] = _learn(
        None, "Layers that directions act on, such as 0:4 (STOP is excluded), or a third: coarse, mid, fine. Layer "
        "0 is the first linear one, layer i the i-th block. What lies before them is computed once a sample.",
        metavar="START:STOP", shown="all",
    )  # fmt: skip
    init: Init = _learn("random", "Start: random rows, or the z axes.")
    seed: int = _learn(0, "Seed of all that the run draws.", ge=0, le=MAX_SEED)
    truncation: float = _sample(1.0, "Spread of z and the generator's truncation.", gt=0, le=1)
    path_size: float = _sample(5.0, "Samples are moved up to this far along a direction, in units of z.", gt=0)
    num_probes: int = _penalty(2, "Random sign vectors per sample.", ge=2, why=_VARIANCE)
    epsilon: float = _penalty(0.1, "Finite-difference step, in units of z.", gt=0)
    reduction: Reduction = _penalty("mean", "Of the penalty over samples, pixels and channels.")
    base_points: int = _joint(90, "Places at which Hessians or Jacobians are measured.", ge=1)
    hessian_points: int | None = setting(
        None, "Criterion both: places at which Hessians are measured too, as many if None.", ge=1, hidden=True
    )
    measurement: Measuring = _joint(
        "auto", "By differences of images (all pixels) or of gradients (random combinations of pixels); auto: by the "
        "size of the space.",
    )  # fmt: skip
    output_probes: int = _joint(4, "Random combinations of pixels at a place, for gradients.", ge=1)
    starts: int = _joint(8, "Bases to diagonalise from, at most; the best result is kept.", ge=1)
    steps: int = _optimiser(
        None, "Number of steps, also in all when resuming.", ge=1, shown="400; with --method voynov 2000"
    )
    batch_size: int = _optimiser(None, "Samples per step.", ge=1, shown="16; with --method adam 64, voynov 32")
    # The rows of A have norm about 1 at the start, so that the rate is an angle, in radians, for each component.
    learning_rate: float = _optimiser(
        None, "Adam's rate at the first step.", gt=0, shown="0.1; after a joint start 0.001, voynov 0.01"
    )
    # It does not depend on the number of steps: a run that is extended equals one that was asked for as much at once.
    decay_steps: int = _optimiser(
        100, "The rate at step t is learning-rate / (1 + t / decay-steps); 0 keeps it constant.", ge=0
    )
    held_out: int = _scores(64, "Samples in the fixed held-out set.", ge=1)
    held_out_probes: int = _scores(8, "Random sign vectors per held-out sample.", ge=2, why=_VARIANCE)
    eval_every: int = _scores(100, "Steps between held-out scores.", ge=1)
    final_samples: int = _scores(256, "Samples by which directions are measured at the end.", ge=1)
    checkpoint_every: int = _scores(50, "Steps between checkpoints.", ge=1)
    device: str = _hardware("cpu", "cpu, cuda, cuda:N, or auto.")
    micro_batch: int | None = _hardware(
        None, "Samples that are in memory together; must divide the batch size.", ge=1, shown="batch size"
    )
    compile: bool = _hardware(
        False, "Compile the generator with torch.compile: minutes at the start, faster steps; needs a C++ compiler."
    )
    recompute: bool = _hardware(False, "Hold less memory: compute each block of a BigGAN again for the backward pass.")
    precision: Precision = _hardware(
        "float32", "Of the generator's images in the steps; scores are in float32. tf32 and bf16 lose digits of the "
        "penalty: see docs/precision.md.",
    )  # fmt: skip

    free: tuple[str, ...] = setting((), "Fields among PLANNED that were not given.", hidden=True)

    @model_validator(mode="before")
    @classmethod
    def _by_method(cls, values: Any) -> Any:
        """Fill in what depends on the method; fewer samples leave the paper's loop near its random start."""
        # A file of before there were plans holds all that its run used.
        free = [name for name in values.get("free", PLANNED) if name not in values or "free" in values]
        values = values | {"free": tuple(free)}
        method = values.get("method", "joint+adam")
        # A joint start would be undone by the rate of a random one.
        defaults = {
            "steps": 2000 if method == "voynov" else 400,
            "batch_size": {"adam": 64, "voynov": 32}.get(method, 16),
            "learning_rate": {"joint+adam": 0.001, "voynov": 0.01}.get(method, 0.1),
        }
        return values | {name: value for name, value in defaults.items() if values.get(name) is None}

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.generator.strip():
            raise ConfigError("generator", f"must be a name, got {self.generator!r}. See: directions generators")
        if not DEVICE.fullmatch(self.device):
            raise ConfigError("device", f"must be cpu, cuda, cuda:N or auto, got {self.device!r}.")
        if self.micro_batch is not None and self.batch_size % self.micro_batch:
            divisors = [str(n) for n in range(1, self.batch_size + 1) if self.batch_size % n == 0]
            raise ConfigError(
                "micro_batch",
                f"must divide batch_size {self.batch_size} into whole parts, got {self.micro_batch}. "
                f"Allowed: {', '.join(divisors)}.",
            )
        if self.method == "adam" and self.criterion == "both":
            raise ConfigError("criterion", "must be hessian or jacobian with method adam, got both.")
        if self.method == "joint" and self.reduction != "mean":
            raise ConfigError(
                "reduction", f"must be mean with method joint, which minimises no other, got {self.reduction}."
            )
        return self

    def replace(self, **changes: Any) -> Self:
        """Return a copy with some settings changed; these are then given."""
        return super().replace(**{"free": tuple(name for name in self.free if name not in changes)} | changes)

    def differences(self, other: Settings) -> tuple[str, ...]:
        """Return the names of the fields in which two configurations differ."""
        return tuple(name for name in super().differences(other) if name != "free")

    @property
    def held_out_places(self) -> int:
        """Number of places of the held-out Hessians: as many as the held-out set is worth, 8 for its default."""
        return max(2, min(8, self.held_out // 8))

    @property
    def all_base_points(self) -> int:
        """Number of base points, those of both criteria together."""
        return self.base_points + (self.criterion == "both") * (self.hessian_points or self.base_points)

    @property
    def adam_steps(self) -> int:
        """Number of optimiser steps that the method takes."""
        return 0 if self.method in ("joint", *COMPUTED) else self.steps

    def is_planned(self, size: int) -> bool:
        """Whether a run in a space of this size has a plan: it has a time, or a joint start where z is long."""
        joint = "joint" in self.method and size > HESSIANS_UP_TO
        timed = self.time is not None and self.method not in COMPUTED
        return timed or (joint and bool(self.free))

    def check_used(self, given: Any) -> None:
        """Refuse settings that the method does not look at.

        Args:
            given: Names of the fields that the user gave.

        Raises:
            ConfigError: If one has no effect.
        """
        for field in UNUSED[self.method]:
            if field in given:
                others = " or ".join(other for other in get_args(Method) if field not in UNUSED[other])
                advice = f"Leave it out, or choose --method {others}."
                raise ConfigError(field, f"has no effect with method {self.method}. {advice}")
