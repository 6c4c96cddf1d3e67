"""Settings of a GAN's training, their options on the command line, and when the networks grow."""

from __future__ import annotations

import contextlib
import math
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from pydantic import ValidationInfo, field_validator, model_validator
from typing_extensions import Self

from directions.settings.base import DEVICE, MAX_SEED, ConfigError, Settings, setting

DataFormat = Literal["auto", "folder", "scenes", "pairs"]
OnBroken = Literal["skip", "refuse"]

PAPER_CHANNELS = (512, 512, 512, 512, 256, 128)
"""Channels at 4, 8, …, 128 pixels."""
RESOLUTIONS = (8, 16, 32, 64, 128)
RESUMABLE = ("kimg", "checkpoint_minutes", "sheet_kimg", "device", "cache", "data")
"""Fields that may differ when a run is resumed: none changes what a step does; of the data the digest is compared."""
GROUP = 4
"""Images that minibatch stddev compares with each other, at most."""

_LAYERS = re.compile(r"\d+(-\d+)?(,\d+(-\d+)?)*")
_PAPER_ACTIVATIONS = 10  # those of up to 64 pixels
_SEVERAL = {"channels": (int, 1), "batch_size": (int, 2), "stable_kimg": (float, 0), "fade_kimg": (float, 0)}
"""Of each field that holds several numbers: their kind and the least one."""

_data = partial(setting, panel="Images")
_network = partial(setting, panel="The networks")
_length = partial(setting, panel="Length and growth (kimg: thousands of real images shown)")
_loss = partial(setting, panel="Losses and optimisers")
_penalty = partial(setting, panel="The Hessian Penalty, and InfoGAN to compare with")
_hardware = partial(setting, panel="Hardware")
_output = partial(setting, panel="Output")


@dataclass(frozen=True)
class Stage:
    """Where growth stands."""

    level: int
    """How far both networks have grown: images have 4·2^level pixels."""
    alpha: float
    """Weight of the newest block, in [0, 1]; below 1 while it is faded in."""
    batch_size: int
    """Real and generated images a step."""

    @property
    def resolution(self) -> int:
        """Height and width of the images, in pixels."""
        return 4 << self.level


class TrainConfig(Settings):
    """Everything that decides the outcome of a training run, and how it is carried out.

    kimg are thousands of real images shown. ``batch_size``, ``stable_kimg`` and ``fade_kimg`` take one value for all
    levels, or one for each from the first resolution on. The defaults are the paper's ProGAN at 128 pixels; where only
    the resolution is given, the channels are cut to it, and where only the generator's rate is given, the
    discriminator's is the same.

    Raises:
        ConfigError: If a value is of the wrong type or outside its range.

    Example:
        >>> TrainConfig(data="photos", resolution=16, kimg=4000, learning_rate=0.002).channels
        (512, 512, 512)
    """

    data: str = _data(None, "Folder of the images.", metavar="FOLDER")
    data_format: DataFormat = _data(
        "auto", "folder: images of any size, subfolders too; pairs: two images side by side in each file, both used; "
        "scenes: made by scripts/render_scenes.py; auto: scenes or folder, by what is there.",
    )  # fmt: skip
    resolution: int = _data(
        128, "Height and width of the images, in pixels; larger ones are cut square and reduced once.",
        metavar="8|16|32|64|128",
    )  # fmt: skip
    on_broken: OnBroken = _data("refuse", "What to do with a file that cannot be read.")
    cache: str | None = _data(None, "Where reduced images are kept.", metavar="FOLDER", shown="user's cache")
    dim_z: int = _network(12, "Components of z.", ge=1)
    channels: tuple[int, ...] = _network(
        PAPER_CHANNELS, "Channels of both networks at 4, 8, 16, … pixels; narrow ones for small machines.",
        metavar="INT,…", shown="512,512,512,512,256,128", from_text=str,
    )  # fmt: skip
    fine_tune: str | None = _network(
        None, "Start from the networks of this run, fully grown; its sizes are taken over.", metavar="RUN"
    )
    seed: int = _network(0, "Seed of all that the run draws.", ge=0, le=MAX_SEED)
    kimg: float = _length(50_000.0, "Length in kimg, also in all when resuming.", gt=0, shown="50000")
    first_resolution: int = _length(4, "Where growth starts, in pixels.", metavar="4|8|…")
    stable_kimg: tuple[float, ...] = _length(
        (600.0,), "Training at each resolution once it is faded in, in kimg; one value for all, or one each.",
        metavar="FLOAT[,…]", shown="600", from_text=str,
    )  # fmt: skip
    fade_kimg: tuple[float, ...] = _length(
        (600.0,), "Fading in of each resolution, in kimg; the first one's is not used.",
        metavar="FLOAT[,…]", shown="600", from_text=str,
    )  # fmt: skip
    batch_size: tuple[int, ...] = _length(
        (16,), "Images a step; one value, or one for each resolution. A multiple of 4, if above 4.",
        metavar="INT[,…]", shown="16", from_text=str,
    )  # fmt: skip
    loss: Literal["wgan-gp", "nonsaturating"] = _loss("wgan-gp", "wgan-gp, or nonsaturating with R1.")
    gradient_weight: float = _loss(10.0, "Weight of the gradient penalty or R1.", ge=0)
    drift: float = _loss(0.001, "Weight of squared real scores (wgan-gp).", ge=0)
    r1_every: int = _loss(1, "Steps between two uses of R1, each counting for all.", ge=1)
    learning_rate: float = _loss(0.001, "Adam's rate (betas 0, 0.99); Adam starts anew at each resolution.", gt=0)
    discriminator_rate: float = _loss(0.001, "The discriminator's rate.", gt=0, shown="as the generator's")
    decay_from: float = _loss(1.0, "Share of the length after which rates fall to nothing; 1: never.", ge=0, le=1)
    ema_kimg: float = _loss(10.0, "Half-life of the generator's running average, in kimg; 0: no average.", ge=0)
    ema_ramp: float = _loss(0.05, "The half-life is at most this share of kimg so far.", gt=0)
    penalty: Literal["none", "hessian"] = _penalty("none", "Penalty in the generator's loss.")
    penalty_weight: float = _penalty(
        0.05, "λ, of the unbiased variance. The paper's TensorFlow code takes the biased one: its 0.1 is 0.05 here "
        "(k = 2).", ge=0,
    )  # fmt: skip
    penalty_ramp_kimg: float = _penalty(0.0, "λ rises from 0 over so many kimg.", ge=0)
    penalty_reduction: Literal["max", "mean"] = _penalty(
        "max", "What is taken of each activation over batch, places and channels: the largest value, as the paper's "
        "GANs do, or the mean; each needs its own λ.",
    )  # fmt: skip
    penalty_layers: str = _penalty(
        "paper", "Activations after pixel norm: paper (up to 64 pixels), all, or numbers such as 0-5,8 (two a "
        "resolution from 4 pixels on); or image.", metavar="SPEC",
    )  # fmt: skip
    num_probes: int = _penalty(2, "Random sign vectors k per sample.", ge=2, why="a variance is taken over them")
    epsilon: float = _penalty(0.1, "Finite-difference step, in units of z.", gt=0)
    infogan: int = _penalty(0, "Components of z that the discriminator reads back; 0: none.", ge=0, metavar="0..|z|")
    infogan_weight: float = _penalty(1.0, "Weight of its error in both losses.", gt=0)
    device: str = _hardware("cpu", "cpu, cuda, cuda:N, or auto.")
    bfloat16: bool = _hardware(
        False, "Networks in bfloat16 where the hardware has it; penalty, weights and losses stay float32.",
        flags=("--bfloat16/--no-bfloat16",), shown="no",
    )  # fmt: skip
    stats_every: int = _output(20, "Steps averaged in a line of stats.jsonl.", ge=1)
    checkpoint_minutes: float = _output(5.0, "Minutes between checkpoints; 0: every step.", ge=0)
    sheet_kimg: float = _output(5.0, "kimg between sheets of samples.", gt=0)

    @model_validator(mode="before")
    @classmethod
    def _implied(cls, values: dict[str, Any]) -> dict[str, Any]:
        implied: dict[str, Any] = {}
        if values.get("resolution") in RESOLUTIONS:
            implied["channels"] = PAPER_CHANNELS[: _levels(4, values["resolution"])]
        if "learning_rate" in values:
            implied["discriminator_rate"] = values["learning_rate"]
        return implied | values

    @field_validator("data", "cache", "fine_tune", mode="before")
    @classmethod
    def _absolute(cls, value: Any) -> Any:
        """Make a path one that is right in any working folder."""
        if not isinstance(value, str | os.PathLike) or not value:
            return value
        return os.path.abspath(os.path.expanduser(value))  # noqa: PTH100, PTH111 - links stay; no HOME is no error

    @field_validator(*_SEVERAL, mode="before")
    @classmethod
    def _several(cls, value: Any, info: ValidationInfo) -> tuple[float, ...]:
        """Read numbers, whether as JSON has them, as text with commas between, or as a single one."""
        kind, least = _SEVERAL[str(info.field_name)]
        parts = tuple(value.split(",") if isinstance(value, str) else value if hasattr(value, "__iter__") else (value,))
        with contextlib.suppress(TypeError, ValueError, OverflowError):
            numbers = tuple(kind(part) for part in parts)
            if all(least <= n < math.inf for n in numbers) and (isinstance(value, str) or numbers == parts):
                return numbers
        kinds = "whole numbers" if kind is int else "numbers"
        raise ValueError(f"must be {kinds} of at least {least}, separated by commas, got {value!r}.")

    @model_validator(mode="after")
    def _fits(self) -> Self:
        """Check what one type does not say, and what settings must be together."""
        levels, trained, sizes = _levels(4, self.resolution), self.trained_levels, (4, *RESOLUTIONS)
        a_level, shared = f"one value, or one for each of {trained} levels", (1, trained)
        groups = all(batch <= GROUP or batch % GROUP == 0 for batch in self.batch_size)
        for field, right, allowed in (
            ("data", self.data, "the path of a folder of images, which must be given"),
            ("cache", self.cache != "", "the path of a folder"),
            ("fine_tune", self.fine_tune != "", "the path of a run folder"),
            ("device", DEVICE.fullmatch(self.device), "cpu, cuda, cuda:N or auto"),
            ("resolution", self.resolution in RESOLUTIONS, "8 or 16 or 32 or 64 or 128"),
            ("first_resolution", self.first_resolution in sizes[:levels], "4, 8, 16, … up to the resolution"),
            ("infogan", self.infogan <= self.dim_z, f"at most {self.dim_z}, the number of components of z"),
            ("channels", len(self.channels) == levels, f"{levels} numbers, for 4 to {self.resolution} pixels"),
            ("stable_kimg", len(self.stable_kimg) in shared, a_level),
            ("fade_kimg", len(self.fade_kimg) in shared, a_level),
            ("batch_size", len(self.batch_size) in shared, a_level),
            ("batch_size", groups, "at most 4 or a multiple of 4, the group of minibatch stddev"),
            ("kimg", self.images >= self.growth, f"at least {self.growth / 1000:g}, for stable_kimg and fade_kimg"),
        ):
            if not right:
                value = getattr(self, field)
                shown = ",".join(f"{part:g}" for part in value) if isinstance(value, tuple) else repr(value)
                raise ConfigError(field, f"must be {allowed}, got {shown}.")
        self.activations()  # checks penalty_layers
        return self

    @property
    def images(self) -> int:
        """Length of the training, in images; whole steps are taken until it is reached."""
        return round(self.kimg * 1000)

    @property
    def trained_levels(self) -> int:
        """Number of resolutions that are trained at, one after the other."""
        return 1 if self.fine_tune is not None else _levels(self.first_resolution, self.resolution)

    @property
    def growth(self) -> int:
        """Images after which the last level is wholly faded in."""
        fades, stables = self._per_level(self.fade_kimg), self._per_level(self.stable_kimg)
        return round(sum(stables[:-1]) + sum(fades[1:]))

    def stage(self, seen: int) -> Stage:
        """Return where growth stands after a number of images; a resumed run needs to know no more.

        Each level but the first is faded in, then trained on; the last one goes on to the end.

        Args:
            seen: Real images shown so far.

        Returns:
            The level, its fading weight and its batch size.

        Example:
            >>> config = TrainConfig(data="x", resolution=8, stable_kimg=0.05, fade_kimg=0.1, batch_size=(8, 4))
            >>> [config.stage(seen).alpha for seen in (0, 49, 50, 100, 150, 1000)]
            [1.0, 1.0, 0.0, 0.5, 1.0, 1.0]
        """
        levels = self.trained_levels
        fades, stables = (0, *self._per_level(self.fade_kimg)[1:]), self._per_level(self.stable_kimg)
        number, left = 0, seen  # images seen at the level
        while number < levels - 1 and left >= fades[number] + stables[number]:
            left -= fades[number] + stables[number]
            number += 1
        alpha = min(left / fades[number], 1.0) if fades[number] else 1.0
        batch_size = self.batch_size[number % len(self.batch_size)]
        return Stage(_levels(4, self.resolution) - levels + number, alpha, batch_size)

    def activations(self) -> tuple[tuple[int, ...], bool]:
        """Return the numbers of the activations that the penalty looks at, and whether it looks at the image too.

        Returns:
            Ascending numbers, two for each level from 4 pixels on; and whether the image is looked at.

        Raises:
            ConfigError: If ``penalty_layers`` names none that is there.
        """
        spec, count = self.penalty_layers, 2 * _levels(4, self.resolution)
        if spec == "image":
            return (), True
        wanted = set(range(min(count, _PAPER_ACTIVATIONS) if spec == "paper" else count if spec == "all" else 0))
        for part in spec.split(",") if _LAYERS.fullmatch(spec) else ():
            first, _, last = part.partition("-")
            wanted |= set(range(int(first), int(last or first) + 1))
        if not wanted or max(wanted) >= count:
            raise ConfigError(
                "penalty_layers",
                f"must be paper, all, image, or numbers from 0 to {count - 1} such as 0-3,5, got {spec!r}.",
            )
        return tuple(sorted(wanted)), False

    def _per_level(self, kimg: Sequence[float]) -> tuple[int, ...]:
        """Return the images of each level that is trained at."""
        images = tuple(round(1000 * value) for value in kimg)
        return images * self.trained_levels if len(images) == 1 else images


def _levels(first: int, last: int) -> int:
    """Count the resolutions from one to another, each twice the one before."""
    return last.bit_length() - first.bit_length() + 1
