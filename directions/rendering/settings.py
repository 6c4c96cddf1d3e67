"""What to render and how: one frozen dataclass, checked when it is made.

The command line and other code make `RenderSettings`; the modules that write pictures obey them. Torch is not
needed here, so that a wrong setting is refused before anything heavy starts.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args

from directions.config import MAX_SEED
from directions.errors import UserError, nearest
from directions.ranges import THIRDS, is_range
from directions.rendering.encode import Animation, check_rate
from directions.rendering.path import MIN_FRAMES, Motion

Format = Literal["gif", "webp", "mp4", "strip", "plane", "gallery"]
Captions = Literal["none", "name", "amount"]

Word = TypeVar("Word", bound=str)

FORMATS: tuple[Format, ...] = get_args(Format)
ANIMATIONS: tuple[Animation, ...] = get_args(Animation)
ENDINGS: dict[str, tuple[Format, ...]] = {
    ".gif": ("gif",),
    ".webp": ("webp",),
    ".mp4": ("mp4",),
    ".png": ("strip", "plane"),
}
"""The formats that a file's ending can mean, the usual one first."""

_OTHER_ENDINGS = (
    ".apng",
    ".avi",
    ".htm",
    ".html",
    ".jpeg",
    ".jpg",
    ".mkv",
    ".mov",
    ".pdf",
    ".svg",
    ".tiff",
    ".webm",
    ".zip",
)
"""What a folder is hardly ever called, so that these are slips."""

SMALLEST_TILE = 128
"""Small images are enlarged to at least this many pixels, unless a scale is given."""

MAX_SCALE = 16
MAX_STILLS = 512

_DEFAULTS: dict[str, dict[Format, Any]] = {
    "samples": {"gif": 4, "webp": 4, "mp4": 4, "strip": 4, "plane": 1, "gallery": 4},
    "frames": {"gif": 60, "webp": 60, "mp4": 60, "strip": 7, "plane": 7, "gallery": 25},
    "fps": {"gif": 20.0, "webp": 20.0, "mp4": 30.0, "gallery": 20.0},
    "motion": {"gif": "smooth", "webp": "smooth", "mp4": "smooth", "gallery": "smooth"},
    "loop": {"gif": True, "webp": True, "mp4": True},
    "captions": {"gif": "name", "webp": "name", "mp4": "name", "strip": "name", "plane": "name"},
}
"""What is taken where nothing is given; a format that is not listed has no such setting."""


MAX_SAMPLES = 10_000
"""More than anybody looks at; each is in memory as long as the pictures are made."""


@dataclass(frozen=True, kw_only=True)
class RenderSettings:
    """What to render and how.

    A field that has no meaning for the format must be left at ``None``; the others are then filled in.

    Raises:
        UserError: If a value is out of range, or has no meaning for the format. The message begins with its name.
    """

    format: Format = "gif"
    """``gif``, ``webp`` or ``mp4`` animations; ``strip``: a PNG with a row a sample and a column a step; ``plane``: a
    PNG of two directions at once; ``gallery``: a folder with a web page."""
    plane: tuple[int, int] | None = None
    """The two directions of a plane, by index: across, and up and down."""
    samples: int | None = None
    """How many samples, each with a z of its own; by default 4, and 1 for a plane."""
    frames: int | None = None
    """Frames of an animation (60), columns of a strip (7), columns and rows of a plane (7), places on the slider
    of a gallery (25)."""
    fps: float | None = None
    """Frames a second; a GIF takes the nearest 100 / n. By default 20, and 30 for an MP4."""
    motion: Motion | None = None
    """``smooth`` (default) or ``linear``."""
    loop: bool | None = None
    """There and back, again and again (default); otherwise once, from one end to the other."""
    captions: Captions | None = None
    """``name`` (default) and path size, ``amount``: the name and where on the path a frame is, or ``none``."""
    path_size: float | None = None
    """How far to go to either side, in latent units; ``None`` takes each direction's own."""
    scale: int | None = None
    """How many times larger to show the images; ``None`` enlarges small ones to at least 128 pixels."""
    seed: int = 0
    """Seed of the samples."""
    truncation: float = 1.0
    """Truncation in (0, 1] of the samples and of the generator."""
    remove_projection: bool = False
    """First take from each z its part along the direction, so that all samples start alike."""
    layers: str | None = None
    """The layers that see the moved z, as a range or the name of a third, or ``all``; ``None`` takes those that the
    directions act on."""

    def __post_init__(self) -> None:
        """Check, and fill in."""
        _one_of("format", self.format, FORMATS)
        if (self.plane is not None) != (self.format == "plane"):
            hint = "needs two directions, such as --plane 0,3" if self.plane is None else "is for the format plane only"
            raise UserError(f"plane {hint}, got format {self.format} and plane {self.plane}.")
        for name, defaults in _DEFAULTS.items():
            given = getattr(self, name)
            if given is not None and self.format not in defaults:
                raise UserError(f"{name} has no meaning for the format {self.format}, got {given}. Leave it out.")
            if given is None:
                object.__setattr__(self, name, defaults.get(self.format))
        if self.motion is not None:
            _one_of("motion", self.motion, get_args(Motion))
        if self.captions is not None:
            _one_of("captions", self.captions, get_args(Captions))
        self._check_numbers()
        if self.captions == "amount" and self.format not in ANIMATIONS:
            raise UserError(
                f"captions must be name or none for the format {self.format}: its columns tell the amount; got amount."
            )

    def _check_numbers(self) -> None:
        if self.plane is not None and self.plane[0] == self.plane[1]:
            raise UserError(f"plane must be two different directions, got {self.plane[0]} twice.")
        if not 1 <= self.count <= MAX_SAMPLES:
            raise UserError(f"samples must be from 1 to {MAX_SAMPLES}, got {self.samples}.")
        if self.format in ANIMATIONS:
            if self.loop and self.length < MIN_FRAMES:
                raise UserError(
                    f"frames must be at least {MIN_FRAMES} (centre, end, other end, centre), got {self.frames}."
                )
            if self.length < 2:
                raise UserError(f"frames must be at least 2 (one end, the other end), got {self.frames}.")
        elif not 2 <= self.length <= MAX_STILLS:
            raise UserError(f"frames must be from 2 to {MAX_STILLS} for the format {self.format}, got {self.frames}.")
        for animation in ANIMATIONS:
            if self.format == animation:
                check_rate(animation, self.rate)
        if self.format == "gallery":
            check_rate("webp", self.rate)
        if self.scale is not None and not 1 <= self.scale <= MAX_SCALE:
            raise UserError(f"scale must be a whole number from 1 to {MAX_SCALE}, got {self.scale}.")
        if self.path_size is not None and not (math.isfinite(self.path_size) and self.path_size > 0):
            raise UserError(f"path_size must be a positive number of latent units, got {self.path_size}.")
        if not 0 < self.truncation <= 1:
            raise UserError(f"truncation must be in (0, 1], got {self.truncation}.")
        if self.layers is not None and not is_range(self.layers):
            raise UserError(
                f"layers must be start:stop, such as 0:4, or coarse, mid, fine or all, got {self.layers!r}."
                f"{nearest(str(self.layers), THIRDS)}"
            )
        if not 0 <= self.seed <= MAX_SEED:
            raise UserError(f"seed must be a whole number from 0 to {MAX_SEED} (2^63 - 1), got {self.seed}.")

    @property
    def count(self) -> int:
        """The number of samples."""
        assert self.samples is not None
        return self.samples

    @property
    def length(self) -> int:
        """The number of frames, columns or places."""
        assert self.frames is not None
        return self.frames

    @property
    def rate(self) -> float:
        """Frames a second as asked for."""
        assert self.fps is not None
        return self.fps

    def enlargement(self, resolution: int) -> int:
        """Say how many times larger to show images.

        Args:
            resolution: Their height and width.

        Returns:
            The scale, from 1.
        """
        return self.scale or math.ceil(SMALLEST_TILE / resolution)

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as JSON would give them."""
        return dataclasses.asdict(self)


def resolve_format(out: Path | None, name: str | None, *, plane: bool) -> Format:
    """Find out which format is meant.

    Args:
        out: Where to write: a file, whose ending tells, or a folder.
        name: The format that was asked for, or ``None``.
        plane: Whether two directions for a plane were given.

    Returns:
        The format; ``gif`` if nothing tells.

    Raises:
        UserError: If the ending is unknown, or contradicts the format.
    """
    asked = None if name is None else _one_of("format", name, FORMATS)
    if plane and asked not in (None, "plane"):
        raise UserError(f"plane is for the format plane only, got format {asked}. Leave one of the two out.")
    if not is_file(out):
        return asked or ("plane" if plane else "gif")
    assert out is not None
    meant = ENDINGS.get(out.suffix.lower())
    if meant is None:
        raise UserError(f"out must end in {', '.join(ENDINGS)}, or be a folder, got {out}. A gallery is a folder.")
    wanted = asked or ("plane" if plane else meant[0])
    if wanted not in meant:
        raise UserError(f"out must be a folder{_ending_of(wanted)} for the format {wanted}, got {out}. Rename it.")
    return wanted


def is_file(out: Path | None) -> bool:
    """Tell from a path whether a file is meant: it ends as pictures and films do, and is no folder yet.

    Args:
        out: Where to write.

    Returns:
        Whether it is a file rather than a folder.
    """
    return out is not None and out.suffix.lower() in {*ENDINGS, *_OTHER_ENDINGS} and not out.is_dir()


def _one_of(name: str, value: str, allowed: tuple[Word, ...]) -> Word:
    """Check a choice."""
    for word in allowed:
        if value == word:
            return word
    raise UserError(f"{name} must be one of {', '.join(allowed)}, got {value!r}.{nearest(str(value), allowed)}")


def _ending_of(kind: Format) -> str:
    return "".join(f", or end in {ending}," for ending, formats in ENDINGS.items() if kind in formats)
