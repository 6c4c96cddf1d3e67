"""Write an MP4 (H.264, as every browser plays it) frame by frame, through a pipe to ffmpeg.

Takes RGB pages that ``animations.py`` has laid out. ffmpeg comes with imageio-ffmpeg (extra ``video``). It is run here
rather than by that package's writer, which does not say when ffmpeg failed, as on a full disk.
"""

from __future__ import annotations

import errno
import os
import subprocess
import tempfile
from fractions import Fraction
from pathlib import Path
from typing import IO

import numpy as np

from directions.errors import UserError
from directions.rendering.captions import PAPER
from directions.rendering.limits import require_size

_QUALITY = 16
"""x264's constant rate factor: below 18 the eye hardly tells the difference."""

_REASONS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EACCES, errno.EROFS)
"""What ffmpeg may say of the file system."""


class Mp4Writer:
    """Writes frames to a file of its own process; use as a context manager, which ends the process in any case.

    Args:
        path: The file to write; may exist.
        fps: Frames a second.
    """

    def __init__(self, path: Path, fps: float) -> None:
        self._path = path
        self._fps = Fraction(fps).limit_denominator(1001)
        self._process: subprocess.Popen[bytes] | None = None
        # Not a pipe, which would have to be emptied all the time.
        self._messages: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed by __exit__
        self._even: np.ndarray | None = None

    def __enter__(self) -> Mp4Writer:
        """Start."""
        return self

    def __exit__(self, *_: object) -> None:
        """End the process if it still runs, which it does not after `finish`."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
        self._messages.close()

    def add(self, page: np.ndarray) -> None:
        """Append a frame.

        Args:
            page: (height, width, 3) uint8, of the same size for every frame. An odd height or width is made even, as
                the format wants it, by a line of paper.

        Raises:
            UserError: If the frame is too large.
        """
        if self._even is None:
            self._begin(*page.shape[:2])
        assert self._even is not None
        assert self._process is not None
        assert self._process.stdin is not None
        self._even[: page.shape[0], : page.shape[1]] = page
        try:
            self._process.stdin.write(self._even.data)
        except BrokenPipeError:
            self.finish()

    def finish(self) -> None:
        """Wait until all is written.

        Raises:
            OSError: If ffmpeg failed, with its reason where it is the file system's.
            RuntimeError: If it failed for another reason.
        """
        assert self._process is not None, "an animation needs a frame"
        self._process.communicate()
        status = self._process.returncode
        self._process = None
        if status:
            self._messages.seek(0)
            said = self._messages.read().decode(errors="replace").strip()
            for number in _REASONS:
                if os.strerror(number) in said:
                    raise OSError(number, os.strerror(number), str(self._path))
            raise RuntimeError(f"ffmpeg failed ({status}): {said or 'it said nothing'}")

    def _begin(self, height: int, width: int) -> None:
        require_size("mp4", height, width)
        height, width = height + height % 2, width + width % 2
        self._even = np.full((height, width, 3), PAPER, dtype=np.uint8)
        raw = f"-f rawvideo -pix_fmt rgb24 -s {width}x{height} -r {self._fps} -i -"
        # Browsers assume BT.709, and ffmpeg converts by BT.601 unless it is told: colours would be off.
        colours = (
            "-vf scale=out_color_matrix=bt709:out_range=tv -colorspace bt709 -color_primaries bt709 -color_trc bt709"
        )
        codec = f"-c:v libx264 -preset veryfast -crf {_QUALITY} -pix_fmt yuv420p -movflags +faststart"
        command = [ffmpeg(), "-v", "error", "-nostdin", "-y", *raw.split(), *colours.split(), *codec.split()]
        self._process = subprocess.Popen(
            [*command, "-f", "mp4", str(self._path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=self._messages,
            # Ctrl-C in a terminal goes to the whole group; this process is ended by the one that was interrupted. And
            # a file that may not grow is to be an error with a reason, not a signal: the signal stays ignored.
            start_new_session=True,
            restore_signals=False,
        )


def ffmpeg() -> str:
    """Find ffmpeg.

    Returns:
        The path of its program.

    Raises:
        UserError: If it is not installed.
    """
    try:
        from imageio_ffmpeg import get_ffmpeg_exe

        return str(get_ffmpeg_exe())
    except (ImportError, RuntimeError) as error:
        raise UserError(
            "MP4 needs ffmpeg, which is not installed: pip install 'biggan-directions[video]'. GIF and WebP do without."
        ) from error
