"""Write an animated WebP frame by frame.

Takes RGB pages that ``animations.py`` or ``gallery.py`` has laid out. Pillow compresses each frame; its own animation
writer is not used because it holds all frames in memory. The container is RIFF: a chunk a frame, and a length at the
front that is filled in at the end.
"""

from __future__ import annotations

import io
import struct
from typing import BinaryIO

import numpy as np
from PIL import Image

from directions.rendering.limits import require_size

_ANIMATED = 0x02
_REPLACE = 0x02
_EFFORT = 2
"""libwebp's method, 0 to 6: from 3 on the files are 1 to 3% smaller for twice the time."""


class WebpWriter:
    """Writes frames to an open file.

    A frame holds only the rectangle that changed.

    Args:
        file: Open for writing and reading, at its start; stays open.
        loop: Repeat forever; otherwise play once.
        quality: From 0 to 100, of the lossy compression.
    """

    def __init__(self, file: BinaryIO, *, loop: bool = True, quality: int = 88) -> None:
        self._file = file
        self._loop = loop
        self._quality = quality
        self._started = False
        self._shown: np.ndarray | None = None
        self._whole: list[tuple[int, int]] = []

    def add(self, page: np.ndarray, duration: int, *, whole: bool = False) -> None:
        """Append a frame.

        Args:
            page: (height, width, 3) uint8, of the same size for every frame.
            duration: How long it is shown, in milliseconds.
            whole: Write all of it, also what did not change, so that it can be shown `again`.

        Raises:
            UserError: If it has more pixels than the format can count.
        """
        if not self._started:
            self._begin(*page.shape[:2])
            self._started = True
        box = _changed(page, self._shown) if self._shown is not None and not whole else (0, 0, *page.shape[:2])
        top, left, bottom, right = box
        start = self._file.tell()
        self._write_frame(_compress(page[top:bottom, left:right], self._quality), top, left, duration)
        if whole:
            self._whole.append((start, self._file.tell() - start))
        self._shown = page.copy()

    def again(self, number: int, duration: int) -> None:
        """Append a frame that was written whole before; its bytes are copied within the file.

        Args:
            number: Which of the whole frames, from 0.
            duration: How long it is shown this time, in milliseconds.
        """
        start, length = self._whole[number]
        self._file.seek(start)
        chunk = self._file.read(length)
        self._file.seek(0, io.SEEK_END)
        # The duration is the 3 bytes after the chunk's head (8 bytes) and its four 3-byte sizes.
        self._file.write(chunk[:20] + _three(duration) + chunk[23:])
        self._shown = None

    def finish(self) -> None:
        """Write what is only known at the end."""
        assert self._started, "an animation needs a frame"
        length = self._file.seek(0, io.SEEK_END)
        self._file.seek(4)
        self._file.write(struct.pack("<I", length - 8))
        self._file.seek(0, io.SEEK_END)

    def _begin(self, height: int, width: int) -> None:
        require_size("webp", height, width)
        size = _three(width - 1) + _three(height - 1)
        self._file.write(b"RIFF\0\0\0\0WEBP" + _chunk(b"VP8X", bytes([_ANIMATED, 0, 0, 0]) + size))
        # Background colour, which nothing shows, and the number of times to play, 0 for ever.
        self._file.write(_chunk(b"ANIM", struct.pack("<IH", 0xFFFFFFFF, 0 if self._loop else 1)))

    def _write_frame(self, data: bytes, top: int, left: int, duration: int) -> None:
        width, height = _size(data)
        place = _three(left // 2) + _three(top // 2) + _three(width - 1) + _three(height - 1)
        self._file.write(_chunk(b"ANMF", place + _three(duration) + bytes([_REPLACE]) + data))


def still(page: np.ndarray, quality: int = 88) -> bytes:
    """Compress a picture.

    Args:
        page: (height, width, 3) uint8.
        quality: From 0 to 100.

    Returns:
        A whole WebP file.

    Raises:
        UserError: If it has more pixels than the format can count.
    """
    require_size("webp", *page.shape[:2])
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(page)).save(buffer, "WEBP", quality=quality, method=_EFFORT)
    return buffer.getvalue()


def _compress(page: np.ndarray, quality: int) -> bytes:
    """Compress a frame to its one chunk, ``VP8`` or ``VP8L``."""
    whole = still(page, quality)
    assert whole[12:16] in (b"VP8 ", b"VP8L"), "Pillow wrote a chunk that was not asked for"
    return whole[12:]


def _size(chunk: bytes) -> tuple[int, int]:
    """The width and height of a compressed frame, from the head of its bit stream."""
    if chunk[:4] == b"VP8 ":
        width, height = struct.unpack("<HH", chunk[14:18])
        return width & 0x3FFF, height & 0x3FFF
    bits = int.from_bytes(chunk[9:13], "little")
    return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1


def _changed(page: np.ndarray, shown: np.ndarray) -> tuple[int, int, int, int]:
    """The rectangle that differs, as top, left, bottom, right; the first two are even, as the format wants them."""
    changed = (page != shown).any(axis=-1)
    rows, columns = np.flatnonzero(changed.any(axis=1)), np.flatnonzero(changed.any(axis=0))
    if len(rows) == 0:  # Every frame is written, so that the timing stays even.
        return (0, 0, 1, 1)
    return int(rows[0]) & ~1, int(columns[0]) & ~1, int(rows[-1]) + 1, int(columns[-1]) + 1


def _chunk(name: bytes, data: bytes) -> bytes:
    return name + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2)


def _three(number: int) -> bytes:
    return number.to_bytes(3, "little")
