"""Settings of `directions render`: what is rendered and how."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import BeforeValidator, model_validator

from directions.settings.base import MAX_SEED, ConfigError, Settings, check_range, setting

Animation = Literal["gif", "webp", "mp4"]
Format = Literal["gif", "webp", "mp4", "strip", "plane", "gallery"]
Motion = Literal["smooth", "linear"]
Captions = Literal["name", "amount", "none"]

ANIMATIONS: tuple[Animation, ...] = get_args(Animation)

ENDINGS: dict[str, tuple[Format, ...]] = {
    ".gif": ("gif",), ".webp": ("webp",), ".mp4": ("mp4",), ".png": ("strip", "plane"),
}  # fmt: skip
"""The formats that a file's ending can mean, the usual one first."""

# A folder is hardly ever called like this: whoever gives one of these endings means a file.
_OTHER_ENDINGS = (
    ".apng", ".avi", ".avif", ".bmp", ".htm", ".html", ".jpeg", ".jpg", ".m4v", ".mkv", ".mov", ".pdf", ".svg", ".tif",
    ".tiff", ".webm", ".zip",
)  # fmt: skip

MIN_FRAMES = 4
"""Of an animation there and back: centre, one end, the other end, centre."""

MAX_GIF_FPS = 50
"""Browsers slow a GIF with a shorter delay than 1/50 s down to 10 frames a second."""

MAX_FPS = 60
"""Of the other formats; screens rarely show more."""

MAX_SAMPLES = 10_000
"""More than anybody looks at; each is in memory as long as the pictures are made."""

SMALLEST_TILE = 128
"""Small images are enlarged to at least this many pixels, unless a scale is given."""

# What is taken where nothing is given; a format that is not listed has no such setting.
_DEFAULTS: dict[str, dict[str, Any]] = {
    "samples": {"gif": 4, "webp": 4, "mp4": 4, "strip": 4, "plane": 1, "gallery": 4},
    "frames": {"gif": 60, "webp": 60, "mp4": 60, "strip": 7, "plane": 7, "gallery": 25},
    "fps": {"gif": 20.0, "webp": 20.0, "mp4": 30.0, "gallery": 20.0},
    "motion": {"gif": "smooth", "webp": "smooth", "mp4": "smooth", "gallery": "smooth"},
    "loop": {"gif": True, "webp": True, "mp4": True},
    "against": {"gif": None, "webp": None, "mp4": None, "strip": None, "gallery": None},
    "captions": {"gif": "name", "webp": "name", "mp4": "name", "strip": "name", "plane": "name"},
}

_move = functools.partial(setting, panel="How to move")
_sample = functools.partial(setting, panel="What to sample")
_picture = functools.partial(setting, panel="The pictures")


def _two(text: str) -> tuple[str, str]:
    """Read the two directions of a plane."""
    keys = [key.strip() for key in text.split(",")]
    if len(keys) != 2:
        raise ConfigError("plane", f"must be two directions, such as 0,3, got {text!r}.")
    return keys[0], keys[1]


class RenderSettings(Settings):
    """What to render and how.

    A field that has no meaning for the format must be left at ``None``; the others are then filled in.

    Raises:
        ConfigError: If a value is out of range, or has no meaning for the format.
    """

    plane: tuple[int | str, int | str] | None = _move(
        None, "A plane of two directions: one across, the other upwards.", from_text=_two,
        metavar="DIRECTION,DIRECTION",
    )  # fmt: skip
    path_size: float | None = _move(
        None, "How far to go to either side, in units of z.", shown="each direction's own", gt=0
    )
    motion: Motion | None = _move(None, "Slow down towards the ends, or keep one speed.", shown="smooth")
    loop: bool | None = _move(
        None, "There and back, again and again; or once, from one end to the other.", shown="loop",
        flags=("--loop/--no-loop",),
    )  # fmt: skip
    remove_projection: bool = _move(
        False, "First take from each z its part along the direction, so that all start alike."
    )
    layers: Annotated[str | None, BeforeValidator(check_range)] = _move(
        None, "Layers that see the moved z, such as 0:4, or coarse, mid, fine, all; others keep the sample's own.",
        shown="those that the directions were learned on", metavar="START:STOP",
    )  # fmt: skip
    against: Literal["random"] | None = _move(
        None, "Show random directions of the same length beside the found ones, on the same samples."
    )
    samples: int = _sample(
        None, "How many, each with a z of its own, the same for every direction.", shown="4; 1 for a plane", ge=1,
        le=MAX_SAMPLES,
    )  # fmt: skip
    one_z: bool = _sample(
        False, "One z for all samples, so that only their classes differ; a strip then has a column a class."
    )
    seed: int = _sample(0, "Seed of the samples.", ge=0, le=MAX_SEED, why="2^63 - 1")
    truncation: float = _sample(1.0, "Spread of z and the generator's truncation.", shown="as in learning", gt=0, le=1)
    format: Format = _picture(
        "gif", "Animations, a PNG with a row a sample and a column a step, a PNG of two directions, or a web page.",
        shown="by the ending of --out; gif",
    )  # fmt: skip
    frames: int = _picture(
        None, "Frames of an animation, columns of a strip or plane, places on a gallery's slider.",
        shown="60, 7, 25", ge=2,
    )  # fmt: skip
    fps: float | None = _picture(
        None, f"Frames per second; a GIF takes the nearest 100 / n, up to {MAX_GIF_FPS}.", shown="20; 30 for mp4",
        ge=1, le=MAX_FPS,
    )  # fmt: skip
    captions: Captions | None = _picture(
        None, "Write names and path sizes; names and where on the path each frame is; or nothing.", shown="name"
    )
    scale: int | None = _picture(
        None, "How many times larger to show the images; twice as much for retina screens.",
        shown=f"at least {SMALLEST_TILE} pixels", ge=1, le=16,
    )  # fmt: skip

    @model_validator(mode="before")
    @classmethod
    def _fill_in(cls, values: dict[str, Any]) -> dict[str, Any]:
        """Take the format's defaults, and refuse what has no meaning for it."""
        kind = values.get("format", "gif")
        if kind not in get_args(Format):
            return values  # to be refused as any other wrong word
        filled = dict(values)
        for name, defaults in _DEFAULTS.items():
            if values.get(name) is None:
                # A word's rows are the steps: both ends and the centre.
                filled[name] = 3 if name == "frames" and kind == "strip" and values.get("one_z") else defaults.get(kind)
            elif kind not in defaults:
                raise ConfigError(name, f"has no meaning for the format {kind}, got {values[name]}. Leave it out.")
        return filled

    @model_validator(mode="after")
    def _check_together(self) -> RenderSettings:
        if (self.plane is not None) != (self.format == "plane"):
            hint = "needs two directions, such as --plane 0,3" if self.plane is None else "is for the format plane only"
            raise ConfigError("plane", f"{hint}, got format {self.format} and plane {self.plane}.")
        if self.loop and self.frames < MIN_FRAMES:
            what = f"must be at least {MIN_FRAMES} (centre, end, other end, centre)"
            raise ConfigError("frames", f"{what}, got {self.frames}.")
        if self.format == "gif" and self.rate > MAX_GIF_FPS:
            allowed = f"must be from 1 to {MAX_GIF_FPS} frames a second (browsers slow faster GIFs)"
            raise ConfigError("fps", f"{allowed}, got {self.fps}.")
        if self.captions == "amount" and self.format not in ANIMATIONS:
            allowed = f"must be name or none for the format {self.format}: its columns tell the amount"
            raise ConfigError("captions", f"{allowed}; got amount.")
        return self

    @property
    def rate(self) -> float:
        """Frames a second as asked for; only of what moves."""
        assert self.fps is not None
        return self.fps


def is_file(out: Path) -> bool:
    """Tell from a path whether a file is meant: it ends as pictures and films do, and is no folder yet."""
    return out.suffix.lower() in (*ENDINGS, *_OTHER_ENDINGS) and not out.is_dir()


def usual_format(out: Path | None) -> Format:
    """Return the format that a file's ending means, ``gif`` for folders and endings of no format."""
    return ENDINGS.get(out.suffix.lower(), ("gif",))[0] if out is not None and is_file(out) else "gif"


def check_out(out: Path, kind: Format) -> None:
    """Check that a path can hold a format.

    Args:
        out: Where to write: a file, whose folder must exist, or a folder.
        kind: What will be written.

    Raises:
        ConfigError: If the ending is of no format or of another one, or a file's folder does not exist.
    """
    if not is_file(out):
        return
    meant = ENDINGS.get(out.suffix.lower())
    if meant is None:
        raise ConfigError("out", f"must end in {', '.join(ENDINGS)}, or be a folder, got {out}. A gallery is a folder.")
    if kind not in meant:
        ending = "".join(f", or end in {ending}," for ending, formats in ENDINGS.items() if kind in formats)
        raise ConfigError("out", f"must be a folder{ending} for the format {kind}, got {out}. Rename it.")
    if not out.parent.is_dir():
        raise ConfigError("out", f"must be in a folder that exists, got {out}. Create {out.parent}, or give another.")
