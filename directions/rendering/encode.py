"""One way to write an animation, whatever the format: what the writers of ``gif.py``, ``webp.py`` and ``mp4.py`` share.

An `Encoder` knows a format's rate and its colours, turns images and captions into what the format keeps (palette
indices for a GIF, RGB for the others), and opens files, each of which appears when it is complete.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from typing import Literal, Protocol, get_args

import numpy as np

from directions.atomic import atomic_write
from directions.errors import UserError
from directions.rendering.captions import CAPTION_COLOURS
from directions.rendering.gif import gif_delay, gif_writer
from directions.rendering.mp4 import Mp4Writer, ffmpeg
from directions.rendering.palette import Palette
from directions.rendering.webp import WebpWriter

Animation = Literal["gif", "webp", "mp4"]

MAX_FPS = 60
"""Of WebP and MP4; screens rarely show more."""


class Encoder(Protocol):
    """What writes animations of one format, all with the same rate and colours."""

    fps: float
    """Frames a second, as the format holds them."""

    def images(self, tiles: np.ndarray) -> np.ndarray:
        """Turn (…, height, width, 3) uint8 images into what a page of this format holds."""
        ...

    def drawing(self, page: np.ndarray) -> np.ndarray:
        """Turn a (height, width, 3) uint8 drawing in the captions' colours into what a page of this format holds."""
        ...

    def open(self, path: str | os.PathLike[str]) -> contextlib.AbstractContextManager[Callable[[np.ndarray], None]]:
        """Open a file, which appears when the block has succeeded; gives the function that appends a page."""
        ...


class GifEncoder:
    """Writes GIFs with one palette.

    Args:
        fps: Frames a second, from 1 to 50.
        loop: Repeat forever; otherwise play once.
        pixels: (n, 3) uint8, a fair sample of what will be shown.
    """

    def __init__(self, fps: float, pixels: np.ndarray, *, loop: bool) -> None:
        self._delay = gif_delay(fps)
        self._loop = loop
        self._palette = Palette(pixels, CAPTION_COLOURS)
        self.fps = 100 / self._delay

    def images(self, tiles: np.ndarray) -> np.ndarray:
        """Find palette indices, dithered."""
        return self._palette.index(tiles)

    def drawing(self, page: np.ndarray) -> np.ndarray:
        """Find palette indices of captions, undithered."""
        return self._palette.nearest_fixed(page, len(CAPTION_COLOURS))

    @contextlib.contextmanager
    def open(self, path: str | os.PathLike[str]) -> Iterator[Callable[[np.ndarray], None]]:
        """Open a file."""
        with gif_writer(path, self._palette.colours, self._delay, loop=self._loop) as writer:
            yield writer.add


class _Rgb:
    """What formats share that hold RGB."""

    def __init__(self, fps: float, *, loop: bool) -> None:
        self.fps = fps
        self._loop = loop

    def images(self, tiles: np.ndarray) -> np.ndarray:
        """Leave images as they are."""
        return tiles

    def drawing(self, page: np.ndarray) -> np.ndarray:
        """Leave drawings as they are."""
        return page


class WebpEncoder(_Rgb):
    """Writes animated WebPs.

    Args:
        fps: Frames a second.
        loop: Repeat forever; otherwise play once.
    """

    @contextlib.contextmanager
    def open(self, path: str | os.PathLike[str]) -> Iterator[Callable[[np.ndarray], None]]:
        """Open a file."""
        with atomic_write(path) as partial, partial.open("w+b") as file:
            writer = WebpWriter(file, loop=self._loop)
            shown = 0

            def add(page: np.ndarray) -> None:
                # Whole milliseconds that add up to the true rate.
                nonlocal shown
                shown += 1
                writer.add(page, round(1000 * shown / self.fps) - round(1000 * (shown - 1) / self.fps))

            yield add
            writer.finish()


class Mp4Encoder(_Rgb):
    """Writes MP4s.

    Args:
        fps: Frames a second.
        loop: Has no place in the format: the player decides.
    """

    @contextlib.contextmanager
    def open(self, path: str | os.PathLike[str]) -> Iterator[Callable[[np.ndarray], None]]:
        """Open a file."""
        with atomic_write(path) as partial, Mp4Writer(partial, self.fps) as writer:
            yield writer.add
            writer.finish()


def check_rate(kind: Animation, fps: float) -> float:
    """Check a frame rate, and that what writes the format is there, before anything is made.

    Args:
        kind: The format of an animation.
        fps: Frames a second.

    Returns:
        The rate that the format will hold: a GIF counts in hundredths of a second.

    Raises:
        UserError: If the format does not hold such a rate, or ffmpeg is needed and missing.
    """
    if kind == "gif":
        return 100 / gif_delay(fps)
    if not 1 <= fps <= MAX_FPS:
        raise UserError(f"fps must be from 1 to {MAX_FPS} frames a second, got {fps}.")
    if kind == "mp4":
        ffmpeg()
    return fps


def make_encoder(kind: Animation, fps: float, *, loop: bool, pixels: np.ndarray | None) -> Encoder:
    """Choose what writes a format.

    Args:
        kind: The format.
        fps: Frames a second.
        loop: Repeat forever; otherwise play once.
        pixels: (n, 3) uint8, a fair sample of what will be shown; a GIF needs it for its palette.

    Returns:
        The encoder.
    """
    assert kind in get_args(Animation)
    if kind == "gif":
        assert pixels is not None, "a palette is chosen from a sample"
        return GifEncoder(fps, pixels, loop=loop)
    return (WebpEncoder if kind == "webp" else Mp4Encoder)(fps, loop=loop)
