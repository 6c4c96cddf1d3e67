"""Write an animated GIF frame by frame, wholly or not at all.

Takes palette indices (``palette.py``) that ``animations.py`` has laid out. Pillow compresses each frame; its own
animation writer is not used because it holds all frames in memory and may change the palette.
"""

from __future__ import annotations

import contextlib
import io
import os
import struct
from collections.abc import Iterator
from typing import BinaryIO

import numpy as np
from PIL import Image

from directions.atomic import atomic_write
from directions.errors import UserError
from directions.rendering.limits import require_size
from directions.rendering.palette import TRANSPARENT

MAX_FPS = 50
"""Browsers slow a GIF with a shorter delay than 1/50 s down to 10 frames a second."""

_LOOP_FOREVER = b"\x21\xff\x0bNETSCAPE2.0\x03\x01\x00\x00\x00"


def gif_delay(fps: float) -> int:
    """Find the frame delay that comes closest to a frame rate; a GIF counts in hundredths of a second.

    Args:
        fps: Frames a second, from 1 to 50.

    Returns:
        The delay of every frame in hundredths of a second; the actual frame rate is 100 over it.

    Raises:
        UserError: If the frame rate is not in the range.

    Example:
        >>> [(fps, 100 / gif_delay(fps)) for fps in (20, 25, 50)]
        [(20, 20.0), (25, 25.0), (50, 50.0)]
        >>> round(100 / gif_delay(30), 1)
        33.3
    """
    if not 1 <= fps <= MAX_FPS:
        raise UserError(f"fps must be from 1 to {MAX_FPS} frames a second (browsers slow faster GIFs), got {fps}.")
    return round(100 / fps)


class GifWriter:
    """Writes frames to an open file; made by `gif_writer`.

    Every frame has the same delay. A frame holds only the rectangle that changed, and in it only the pixels that did,
    where that takes fewer bytes.
    """

    def __init__(self, file: BinaryIO, colours: np.ndarray, delay: int, *, loop: bool = True) -> None:
        self._file = file
        self._colours = colours
        self._delay = delay
        self._loop = loop
        self._shown: np.ndarray | None = None

    def add(self, indices: np.ndarray) -> None:
        """Append a frame.

        Args:
            indices: (height, width) uint8 palette indices, of the same size for every frame.
        """
        if self._shown is None:
            self._begin(*indices.shape)
            self._write_frame(indices, 0, 0, transparent=False)
        else:
            self._add_changes(indices, indices != self._shown)
        self._shown = indices.copy()

    def finish(self) -> None:
        """Write the end of the file."""
        assert self._shown is not None, "a GIF needs a frame"
        self._file.write(b"\x3b")

    def _begin(self, height: int, width: int) -> None:
        require_size("gif", height, width)
        # 0xF7: a global table of 256 colours of 8 bits.
        self._file.write(b"GIF89a" + struct.pack("<HHBBB", width, height, 0xF7, 0, 0))
        self._file.write(self._colours.astype(np.uint8).tobytes() + (_LOOP_FOREVER if self._loop else b""))

    def _add_changes(self, indices: np.ndarray, changed: np.ndarray) -> None:
        rows, columns = np.flatnonzero(changed.any(axis=1)), np.flatnonzero(changed.any(axis=0))
        if len(rows) == 0:  # Every frame is written, so that the timing stays even.
            self._write_frame(np.array([[TRANSPARENT]], dtype=np.uint8), 0, 0, transparent=True)
            return
        box = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        self._write_frame(indices[box], int(rows[0]), int(columns[0]), transparent=False, changed=changed[box])

    def _write_frame(
        self, indices: np.ndarray, top: int, left: int, *, transparent: bool, changed: np.ndarray | None = None
    ) -> None:
        data = _compress(indices)
        if changed is not None:
            sparse = _compress(np.where(changed, indices, TRANSPARENT).astype(np.uint8))
            if len(sparse) < len(data):
                data, transparent = sparse, True
        height, width = indices.shape
        # Disposal 1: leave the frame in place, so that the next can change a part of it.
        control = struct.pack("<BBBBHBB", 0x21, 0xF9, 4, 1 << 2 | transparent, self._delay, TRANSPARENT, 0)
        self._file.write(control + struct.pack("<BHHHHB", 0x2C, left, top, width, height, 0) + data)


@contextlib.contextmanager
def gif_writer(
    path: str | os.PathLike[str], colours: np.ndarray, delay: int, *, loop: bool = True
) -> Iterator[GifWriter]:
    """Write a GIF; it appears when the block has succeeded, and not at all if it fails.

    Args:
        path: The file to write; its folder must exist.
        colours: (256, 3) uint8, the one palette of all frames.
        delay: Hundredths of a second between frames, from `gif_delay`.
        loop: Repeat forever; otherwise play once.

    Yields:
        The writer, for at least one frame.
    """
    with atomic_write(path) as partial, partial.open("wb") as file:
        writer = GifWriter(file, colours, delay, loop=loop)
        yield writer
        writer.finish()


def _compress(indices: np.ndarray) -> bytes:
    """Compress a frame (the GIF's code size and its LZW blocks): Pillow does it, into a GIF of its own."""
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(indices)).save(buffer, "GIF", optimize=False, interlace=False)
    single = buffer.getvalue()
    # Header and screen (13 bytes), its colour table, the image descriptor (10 bytes), the data, the trailer.
    start = 13 + 3 * (2 << (single[10] & 7))
    assert single[start] == 0x2C, "Pillow wrote an extension that was not asked for"
    return single[start + 10 : -1]
