"""Settings of a GAN's training: one frozen dataclass for both architectures, checked when it is made.

The command line and scripts build a `TrainConfig`; the trainer obeys it and the run folder records it. Nothing here
imports torch, so that a wrong setting is refused before anything heavy starts.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from directions.config import MAX_SEED, ConfigError
from directions.errors import nearest
from directions.gan.checks import Checked, chosen_activations, is_whole, listed
from directions.gan.schedule import Schedule, spread

Arch = Literal["progan", "biggan"]
Loss = Literal["wgan-gp", "nonsaturating", "hinge"]
Penalty = Literal["none", "hessian"]
DataFormat = Literal["auto", "folder", "scenes", "pairs"]
OnBroken = Literal["skip", "refuse"]

PAPER_CHANNELS = (512, 512, 512, 512, 256, 128)
"""Channels at 4, 8, …, 128 pixels."""
RESOLUTIONS = (8, 16, 32, 64, 128)
RESUMABLE = ("kimg", "checkpoint_minutes", "sheet_kimg", "device", "cache")
"""Fields that may differ when a run is resumed: none changes what a step does."""

UNUSED: dict[Arch, tuple[str, ...]] = {
    "progan": ("channel_width", "discriminator_width", "texture", "colour"),
    "biggan": (
        *("channels", "first_resolution", "fade_kimg", "stable_kimg", "gradient_weight", "drift", "r1_every"),
        *("penalty", "penalty_weight", "penalty_ramp_kimg", "penalty_layers", "num_probes", "epsilon"),
        *("infogan", "infogan_weight"),
    ),
}
"""Fields that an architecture does not look at; who sets one has misunderstood something."""

_LOSSES: dict[Arch, tuple[Loss, ...]] = {"progan": ("wgan-gp", "nonsaturating"), "biggan": ("hinge",)}
_BIGGAN_DEFAULTS: dict[str, Any] = {
    "loss": "hinge",
    "resolution": 64,
    "kimg": 160.0,
    "batch_size": (32,),
    "learning_rate": 2e-4,
    "discriminator_rate": 4e-4,
    "decay_from": 0.5,
    "ema_kimg": 22.17,
    "bfloat16": True,
}
_DEVICE = re.compile(r"cpu|auto|cuda(:\d+)?")


@dataclass(frozen=True, kw_only=True)
class TrainConfig(Checked):
    """Everything that decides the outcome of a training run, and how it is carried out.

    kimg are thousands of real images shown. Fields that are given for each level take one value for all levels, or one
    for each from the first resolution on. Defaults are the paper's ProGAN at 128 pixels; `of` adapts them to the
    settings that are given.

    Raises:
        ConfigError: If a value is of the wrong type or outside its range.
    """

    data: str
    """Folder of the images."""
    data_format: DataFormat = "auto"
    """``"scenes"`` (made by scripts/render_scenes.py), ``"folder"`` (images of any size), ``"pairs"`` (two images side
    by side in each file, both used), or ``"auto"``: scenes where there is a factors.csv, else folder."""
    on_broken: OnBroken = "refuse"
    """What to do with a file that cannot be read: refuse the folder, or skip the file."""
    cache: str | None = None
    """Folder for images cut to size; ``None`` is images/ in the package's cache."""
    resolution: int = 128
    """Height and width of the images, in pixels: 8, 16, 32, 64 or 128."""
    arch: Arch = "progan"
    """``"progan"``: Progressive Growing, without classes. ``"biggan"``: a small BigGAN-deep of 64 pixels."""
    dim_z: int = 12
    """|z|, at least 1."""
    channels: tuple[int, ...] = PAPER_CHANNELS
    """Channels of both ProGANs at 4, 8, 16, … pixels, up to the resolution."""
    channel_width: int = 24
    """Width of the BigGAN, at least 8."""
    discriminator_width: int = 24
    """Channels of the BigGAN's discriminator at full resolution, at least 1."""
    kimg: float = 50_000.0
    """Length of the training in all, in kimg."""
    first_resolution: int = 4
    """Resolution that growth starts at, in pixels."""
    stable_kimg: tuple[float, ...] = (600.0,)
    """Training at each level after it is faded in, in kimg; the last one goes on to the end."""
    fade_kimg: tuple[float, ...] = (600.0,)
    """Fading in of each level, in kimg; the first one is not faded in."""
    batch_size: tuple[int, ...] = (16,)
    """Real and generated images a step at each level, at least 2; for the ProGAN a multiple of 4 if above 4."""
    loss: Loss = "wgan-gp"
    """``"wgan-gp"`` or ``"nonsaturating"`` (with R1) for the ProGAN, ``"hinge"`` for the BigGAN."""
    gradient_weight: float = 10.0
    """Weight of the gradient penalty of the discriminator, or of R1, at least 0."""
    drift: float = 0.001
    """Weight of the squared score of real images (wgan-gp), at least 0."""
    r1_every: int = 1
    """Steps between two uses of R1, which then counts as many times as much; at least 1."""
    learning_rate: float = 1e-3
    """Adam's rate for the generator, above 0; its betas are 0 and 0.99."""
    discriminator_rate: float = 1e-3
    """Adam's rate for the discriminator, above 0."""
    decay_from: float = 1.0
    """Share of the training after which both rates fall linearly to nothing, in [0, 1]; 1 keeps them constant."""
    ema_kimg: float = 10.0
    """Half-life of the running average of the generator's weights, in kimg; at least 0 (no average)."""
    ema_ramp: float = 0.05
    """The half-life is at most this share of the images shown so far, to forget the random start; above 0."""
    penalty: Penalty = "none"
    """``"hessian"`` adds the Hessian Penalty to the generator's loss."""
    penalty_weight: float = 0.05
    """λ, at least 0. The paper takes the biased variance in its TensorFlow code: its 0.1 is 0.05 here (k = 2)."""
    penalty_ramp_kimg: float = 0.0
    """λ rises linearly from 0 over this much training, in kimg; at least 0."""
    penalty_layers: str = "paper"
    """Which normalised activations: ``"paper"`` (those of up to 64 pixels), ``"all"``, or numbers such as ``"0-5,8"``
    (0 and 1 have 4 pixels, 2 and 3 have 8, and so on); or ``"image"``, the RGB image alone."""
    num_probes: int = 2
    """Random sign vectors k of the penalty, at least 2."""
    epsilon: float = 0.1
    """Finite-difference step of the penalty, in units of z, above 0."""
    infogan: int = 0
    """Components of z that a head of the discriminator reads back (the InfoGAN baseline), from 0 (none) to |z|."""
    infogan_weight: float = 1.0
    """Weight of the head's mean squared error in both losses, above 0."""
    texture: float = 0.0
    """Weight of texture matching in the BigGAN's loss, at least 0."""
    colour: float = 0.0
    """Weight of colour matching in the BigGAN's loss, at least 0."""
    fine_tune: str | None = None
    """Run folder whose trained networks to start from, fully grown."""
    bfloat16: bool = False
    """Run the networks in bfloat16 where the hardware has it; weights, penalty and losses stay float32."""
    seed: int = 0
    """Seed of initialisation and every draw, in [0, 2**63)."""
    stats_every: int = 20
    """Steps over which a line of stats.jsonl is the mean, at least 1."""
    checkpoint_minutes: float = 5.0
    """Minutes between two checkpoints, at least 0 (then every step has one): the most that a kill can lose."""
    sheet_kimg: float = 5.0
    """Training between two sheets of samples, in kimg, above 0."""
    device: str = "cpu"
    """``"cpu"``, ``"cuda"``, ``"cuda:1"`` …, or ``"auto"``: CUDA where there is one."""

    def __post_init__(self) -> None:
        """Check every field."""
        self._check_choice("arch", get_args(Arch))
        self._check_sizes()
        self._check_numbers()
        self._check_choice("data_format", get_args(DataFormat))
        self._check_choice("on_broken", get_args(OnBroken))
        self._check_choice("loss", _LOSSES[self.arch])
        self._check_choice("penalty", get_args(Penalty))
        for field in ("data", "cache", "fine_tune"):
            value = getattr(self, field)
            if (value is not None or field == "data") and (not isinstance(value, str) or not value):
                raise ConfigError(field, f"must be the path of a folder, got {value!r}.")
        if not isinstance(self.device, str) or not _DEVICE.fullmatch(self.device):
            raise ConfigError("device", f"must be cpu, cuda, cuda:N or auto, got {self.device!r}.")
        self.activations()  # checks penalty_layers
        total, growth = self.images, self.schedule.growth
        if total < growth:
            raise ConfigError(
                "kimg",
                f"must be at least {growth / 1000:g}, which growing to {self.resolution} pixels takes, got "
                f"{self.kimg:g}. Train longer, or shorten fade_kimg and stable_kimg.",
            )

    def _check_sizes(self) -> None:
        allowed = RESOLUTIONS if self.arch == "progan" else (64,)
        if self.resolution not in allowed:
            raise ConfigError("resolution", f"must be {listed(allowed)} for arch {self.arch}, got {self.resolution!r}.")
        starts = tuple(r for r in (4, *RESOLUTIONS) if r <= self.resolution)
        if self.first_resolution not in starts:
            raise ConfigError("first_resolution", f"must be {listed(starts)}, got {self.first_resolution!r}.")
        levels = int(math.log2(self.resolution)) - 1
        if self.arch == "progan":
            channels = tuple(self.channels)
            if len(channels) != levels or not all(is_whole(width, 1) for width in channels):
                raise ConfigError(
                    "channels",
                    f"must be {levels} whole numbers of at least 1, one for each of 4 to {self.resolution} pixels, got "
                    f"{','.join(map(str, channels))}.",
                )
            object.__setattr__(self, "channels", channels)
        for field, minimum in (("stable_kimg", 0), ("fade_kimg", 0), ("batch_size", 2)):
            self._check_per_level(field, minimum, self._trained_levels)
        for batch in self.batch_size:
            if self.arch == "progan" and batch > 4 and batch % 4:
                raise ConfigError(
                    "batch_size", f"must be at most 4 or a multiple of 4, the group of minibatch stddev, got {batch}."
                )

    def _check_numbers(self) -> None:
        for field in ("dim_z", "discriminator_width", "r1_every", "stats_every"):
            self._check_whole(field, 1)
        self._check_whole("channel_width", 8)
        self._check_whole("num_probes", 2, why=" (a variance is taken over the probes)")
        self._check_whole("infogan", 0, self.dim_z)
        self._check_whole("seed", 0, MAX_SEED)
        for field in (
            *("kimg", "learning_rate", "discriminator_rate", "ema_ramp", "epsilon", "infogan_weight"),
            "sheet_kimg",
        ):
            self._check_number(field, above=True)
        for field in (
            *("gradient_weight", "drift", "ema_kimg", "penalty_weight", "penalty_ramp_kimg", "texture", "colour"),
            "checkpoint_minutes",
        ):
            self._check_number(field, above=False)
        self._check_number("decay_from", above=False, maximum=1.0)
        if not isinstance(self.bfloat16, bool):
            raise ConfigError("bfloat16", f"must be true or false, got {self.bfloat16!r}.")

    @classmethod
    def of(cls, **settings: Any) -> TrainConfig:
        """Make a configuration from some settings; what is not given is as the architecture and the others imply.

        Args:
            **settings: Fields.

        Returns:
            The configuration: a BigGAN has its own defaults, channels are cut to the resolution, and the
            discriminator's rate is the generator's where only that is given.

        Raises:
            ConfigError: If a value is not allowed.

        Example:
            >>> TrainConfig.of(data="photos", resolution=16, kimg=4000, learning_rate=0.002).channels
            (512, 512, 512)
        """
        if settings.get("arch") == "biggan":
            return cls(**(_BIGGAN_DEFAULTS | settings))
        if settings.get("resolution") in RESOLUTIONS:
            settings = {"channels": PAPER_CHANNELS[: int(math.log2(settings["resolution"])) - 1]} | settings
        if "learning_rate" in settings:
            settings = {"discriminator_rate": settings["learning_rate"]} | settings
        return cls(**settings)

    @property
    def images(self) -> int:
        """Length of the training, in images; whole steps are taken until it is reached."""
        return round(self.kimg * 1000)

    @property
    def _trained_levels(self) -> int:
        if self.arch == "biggan" or self.fine_tune is not None:
            return 1  # nothing grows
        return int(math.log2(self.resolution / self.first_resolution)) + 1

    @property
    def schedule(self) -> Schedule:
        """When the networks grow."""
        levels = self._trained_levels
        return Schedule(
            first_level=int(math.log2(self.resolution)) - 1 - levels,
            fade=tuple(round(1000 * kimg) for kimg in spread(self.fade_kimg, levels)),
            stable=tuple(round(1000 * kimg) for kimg in spread(self.stable_kimg, levels)),
            batch_sizes=tuple(int(batch) for batch in spread(self.batch_size, levels)),
        )

    def activations(self) -> tuple[tuple[int, ...], bool]:
        """Return the numbers of the activations that the penalty looks at, and whether it looks at the image too.

        Returns:
            Ascending numbers, two for each level from 4 pixels on; and whether the image is looked at.

        Raises:
            ConfigError: If ``penalty_layers`` names none that is there.
        """
        count = 2 * (int(math.log2(self.resolution)) - 1)
        if self.penalty_layers == "image":
            return (), True
        layers = chosen_activations(self.penalty_layers, count)
        if layers is None:
            raise ConfigError(
                "penalty_layers",
                f"must be paper, all, image, or numbers from 0 to {count - 1} such as 0-3,5, got "
                f"{self.penalty_layers!r}.",
            )
        return layers, False

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as plain JSON types."""
        settings = dataclasses.asdict(self)
        return {name: list(value) if isinstance(value, tuple) else value for name, value in settings.items()}

    @classmethod
    def from_dict(cls, settings: Mapping[str, Any]) -> TrainConfig:
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
                raise ConfigError(name, f"is not a setting of a training run.{nearest(name, names)}")
        values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in settings.items()}
        return cls(**values)

    def differences(self, other: TrainConfig) -> tuple[str, ...]:
        """Return the names of the fields in which two configurations differ, in the order of declaration."""
        names = (field.name for field in dataclasses.fields(self))
        return tuple(name for name in names if getattr(self, name) != getattr(other, name))
