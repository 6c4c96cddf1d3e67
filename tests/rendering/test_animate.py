"""GIF, WebP and MP4: read back by another program, they show what was written, at the right rate; never half a file."""

from __future__ import annotations

import os
import re
import resource
import subprocess
import threading

import numpy as np
import pytest
from imageio_ffmpeg import get_ffmpeg_exe
from pictures import shown
from PIL import Image

from directions.errors import UserError
from directions.rendering.animate import AHEAD, Encoder, overlapped

ENDINGS = ("gif", "webp", "mp4")


def smooth(seed, height=34, width=50):
    """A picture that lossy compression changes little; halving the resolution of its colours, as MP4 does, somewhat."""
    corners = Image.fromarray(np.random.default_rng(seed).integers(0, 256, (2, 2, 3), dtype=np.uint8))
    return np.asarray(corners.resize((width, height), Image.Resampling.BICUBIC))


def write(path, frames, fps=25.0, loop=True):
    """Write RGB pictures; a GIF gets their palette indices."""
    encoder = Encoder(path.suffix[1:], fps, loop=loop, pixels=smooth(0).reshape(-1, 3))
    with encoder.open(path) as add:
        for frame in frames:
            add(encoder.images(frame))


def read(path):
    """Every picture as a program shows it, and for how many milliseconds."""
    if path.suffix == ".mp4":
        probe = [get_ffmpeg_exe(), "-v", "error", "-i", str(path), "-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
        raw = subprocess.run(probe, check=True, capture_output=True).stdout
        width, height = map(int, re.search(r", (\d+)x(\d+)\b", stream_of(path)).groups())
        return [(frame, 40) for frame in np.frombuffer(raw, np.uint8).reshape(-1, height, width, 3).astype(int)]
    return list(zip(*shown(path), strict=True))


def stream_of(path):
    """What ffmpeg says of the stream."""
    said = subprocess.run([get_ffmpeg_exe(), "-i", str(path)], capture_output=True, text=True, check=False).stderr
    return next(line for line in said.splitlines() if "Video:" in line)


@pytest.mark.parametrize("ending", ENDINGS)
def test_animation_shows_what_was_written(tmp_path, ending):
    """Every frame, in order, in its place and colours, for its time; the same frames give the same bytes."""
    moved = smooth(0).copy()
    moved[11:20, 33:40] = smooth(0)[20:11:-1, 40:33:-1]
    frames = [smooth(0), moved, smooth(0)[::-1], smooth(0), moved, smooth(0)]
    for name in "ab":
        write(tmp_path / f"{name}.{ending}", frames)
    for (got, duration), frame in zip(read(tmp_path / f"a.{ending}"), frames, strict=True):
        assert np.abs(got - frame).mean() < 5
        assert duration == 40
    assert (tmp_path / f"a.{ending}").read_bytes() == (tmp_path / f"b.{ending}").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"a.{ending}", f"b.{ending}"]


@pytest.mark.parametrize("shape", [(1, 1), (37, 53), (200, 3)])
def test_gif_is_exact(tmp_path, shape):
    """Whole changes, a changed rectangle, scattered changes: every frame decodes to its indices, in one palette."""
    rng = np.random.default_rng(0)
    encoder = Encoder("gif", 25.0, loop=True, pixels=rng.integers(0, 256, (5000, 3), dtype=np.uint8))
    first, second = (rng.integers(0, 255, shape, dtype=np.uint8) for _ in range(2))
    rectangle = first.copy()
    rectangle[shape[0] // 3 : shape[0] // 2 + 1, shape[1] // 2 :] = 7
    scattered = rectangle.copy()
    scattered[:: max(1, shape[0] - 1), :: max(1, shape[1] - 1)] ^= 1
    frames = [first, second, first, rectangle, scattered, first]
    with encoder.open(tmp_path / "a.gif") as add:
        for frame in frames:
            add(frame)
    pages, times = shown(tmp_path / "a.gif")
    assert sum(times) == 6 * 40
    colours = encoder._palette.colours
    np.testing.assert_array_equal(pages, colours[np.stack(frames)])
    with Image.open(tmp_path / "a.gif") as image:
        assert image.info["loop"] == 0
    assert (tmp_path / "a.gif").read_bytes()[13 : 13 + 768] == colours.tobytes()


@pytest.mark.parametrize(("fps", "loop"), [(30.0, True), (25.0, False)])
def test_webp_keeps_time(tmp_path, fps, loop):
    """Durations in whole milliseconds add up to the true rate; it plays for ever, or once."""
    write(tmp_path / "a.webp", [smooth(k % 3) for k in range(31)], fps, loop)
    times = [duration for _, duration in read(tmp_path / "a.webp")]
    assert sum(times) == pytest.approx(31 * 1000 / fps, abs=1)
    assert max(times) - min(times) <= 1
    with Image.open(tmp_path / "a.webp") as image:
        assert image.info["loop"] == (0 if loop else 1)


# Where ffmpeg ends first, imageio-ffmpeg leaves its end of the pipe to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError, UserError])
def test_animation_that_fails_keeps_the_old_file(tmp_path, ending, error, capfd):
    """Ctrl-C or any failure passes on; a full disk is one sentence; the old file is as it was, no process is left."""
    path = tmp_path / f"a.{ending}"
    path.write_bytes(b"old")
    full = error is UserError
    cause = "ffmpeg could not finish it, as on a full disk" if ending == "mp4" else "File too large"

    def frames():
        for seed in range(2):
            yield np.random.default_rng(seed).integers(0, 256, (160, 160, 3), dtype=np.uint8)
        if not full:
            raise error

    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    if full:
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))
    try:
        with pytest.raises(error, match=rf"Cannot write .*a\.{ending}: {cause}" if full else None):
            write(path, frames())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert [left.name for left in tmp_path.iterdir()] == [path.name]
    assert path.read_bytes() == b"old"
    assert capfd.readouterr() == ("", "")
    listed = subprocess.run(["ps", "-wweo", "args"], capture_output=True, text=True, check=True).stdout
    assert not [line for line in listed.splitlines() if str(tmp_path) in line and "libx264" in line]
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("encode")]


def test_mp4_plays_in_browsers(tmp_path):
    """H.264, yuv420p, BT.709, even sizes, the rate, and the index at the front; Ctrl-C does not reach ffmpeg."""
    encoder = Encoder("mp4", 30.0, loop=True)
    with encoder.open(tmp_path / "a.mp4") as add:
        for _ in range(5):
            add(smooth(0, 33, 51))
        listed = subprocess.run(["ps", "-wweo", "pgid,args"], capture_output=True, text=True, check=True).stdout
        (line,) = [line for line in listed.splitlines() if str(tmp_path) in line]
        assert int(line.split()[0]) != os.getpgrp(), "in the group that the terminal interrupts"
    stream = stream_of(tmp_path / "a.mp4")
    for part in ("52x34", "h264", "yuv420p(tv, bt709", "30 fps"):
        assert part in stream
    data = (tmp_path / "a.mp4").read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")


def test_overlapped_uses_everything_in_order_and_waits_for_the_consumer():
    """Only a few items are kept at a time, however many there are."""
    got = []

    def items():
        for number in range(200):
            assert number - len(got) <= AHEAD + 2
            yield number

    overlapped(items(), got.append)
    assert got == list(range(200))
