"""WebP and MP4: read back by another program, they show what was written, at the right rate; never half a file."""

from __future__ import annotations

import os
import re
import resource
import subprocess

import numpy as np
import pytest
from PIL import Image

from directions.errors import UserError
from directions.rendering.encode import check_rate, make_encoder
from directions.rendering.mp4 import ffmpeg
from directions.rendering.webp import WebpWriter

ENDINGS = ("webp", "mp4")


def smooth(seed, height=34, width=50):
    """A picture that lossy compression changes little; halving the resolution of its colours, as MP4 does, somewhat."""
    rng = np.random.default_rng(seed)
    corners = Image.fromarray(rng.integers(0, 256, (2, 2, 3), dtype=np.uint8))
    return np.asarray(corners.resize((width, height), Image.Resampling.BICUBIC))


def write(path, frames, fps=25.0, loop=True):
    with make_encoder(path.suffix[1:], fps, loop=loop, pixels=None).open(path) as add:
        for frame in frames:
            add(frame)


def read(path):
    if path.suffix == ".webp":
        with Image.open(path) as image:
            for index in range(image.n_frames):
                image.seek(index)
                yield np.asarray(image.convert("RGB")).astype(int)
        return
    probe = [ffmpeg(), "-v", "error", "-i", str(path), "-f", "rawvideo", "-pix_fmt", "rgb24"]
    raw = subprocess.run([*probe, "-"], check=True, capture_output=True).stdout
    width, height = mp4_facts(path)["size"]
    yield from np.frombuffer(raw, np.uint8).reshape(-1, height, width, 3).astype(int)


def mp4_facts(path):
    """What ffmpeg says of the stream."""
    said = subprocess.run([ffmpeg(), "-i", str(path)], capture_output=True, text=True, check=False).stderr
    stream = next(line for line in said.splitlines() if "Video:" in line)
    width, height = re.search(r", (\d+)x(\d+)\b", stream).groups()
    return {"said": stream, "size": (int(width), int(height))}


@pytest.mark.parametrize("ending", ENDINGS)
def test_animation_shows_what_was_written(tmp_path, ending):
    """Every frame, in order, in its place and colours; equal frames too."""
    moved = smooth(0).copy()
    moved[11:20, 33:40] = smooth(1)[11:20, 33:40]
    frames = [smooth(0), smooth(1), smooth(1), smooth(0), moved, smooth(2)]
    write(tmp_path / f"a.{ending}", frames)
    shown = list(read(tmp_path / f"a.{ending}"))
    assert len(shown) == len(frames)
    for got, frame in zip(shown, frames, strict=True):
        assert np.abs(got - frame).mean() < 5
    assert [path.name for path in tmp_path.iterdir()] == [f"a.{ending}"]


@pytest.mark.parametrize("ending", ENDINGS)
def test_animation_is_deterministic(tmp_path, ending):
    """The same frames give the same bytes."""
    for name in "ab":
        write(tmp_path / f"{name}.{ending}", [smooth(0), smooth(1)])
    assert (tmp_path / f"a.{ending}").read_bytes() == (tmp_path / f"b.{ending}").read_bytes()


def durations(path):
    with Image.open(path) as image:
        times = []
        for index in range(image.n_frames):
            image.seek(index)
            image.load()
            times.append(image.info["duration"])
        return times, image.info["loop"]


@pytest.mark.parametrize(("fps", "loop"), [(30.0, True), (25.0, False), (60.0, True)])
def test_webp_keeps_time(tmp_path, fps, loop):
    """Durations in whole milliseconds add up to the true rate; it plays for ever, or once."""
    write(tmp_path / "a.webp", [smooth(k % 3) for k in range(31)], fps, loop)
    times, loops = durations(tmp_path / "a.webp")
    assert sum(times) == pytest.approx(31 * 1000 / fps, abs=1)
    assert max(times) - min(times) <= 1
    assert loops == (0 if loop else 1)


def test_webp_shows_frames_again(tmp_path):
    """A copied frame looks like the first time, for another while, also after partial ones."""
    with (tmp_path / "a.webp").open("w+b") as file:
        writer = WebpWriter(file)
        writer.add(smooth(0), 50, whole=True)
        writer.add(smooth(1), 60, whole=True)
        writer.again(0, 70)
        writer.add(smooth(2), 80)
        writer.again(1, 90)
        writer.finish()
    shown = list(read(tmp_path / "a.webp"))
    np.testing.assert_array_equal(shown[0], shown[2])
    np.testing.assert_array_equal(shown[1], shown[4])
    assert np.abs(shown[3] - smooth(2)).mean() < 3
    assert durations(tmp_path / "a.webp")[0] == [50, 60, 70, 80, 90]


def test_webp_refuses_more_pixels_than_the_format_holds(tmp_path):
    """The format counts in 14 bits."""
    with pytest.raises(UserError, match="at most 16383 pixels wide and high, got 16384 × 1"):
        write(tmp_path / "a.webp", [np.zeros((1, 16384, 3), np.uint8)])
    assert list(tmp_path.iterdir()) == []


def test_mp4_plays_in_browsers(tmp_path):
    """H.264, yuv420p, BT.709, even sizes, the rate, and the index at the front."""
    write(tmp_path / "a.mp4", [smooth(0, 33, 51)] * 5, fps=30.0)
    facts = mp4_facts(tmp_path / "a.mp4")
    assert facts["size"] == (52, 34)
    assert "h264" in facts["said"]
    assert "yuv420p(tv, bt709" in facts["said"]
    assert "30 fps" in facts["said"]
    data = (tmp_path / "a.mp4").read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")


def test_mp4_refuses_what_players_refuse(tmp_path):
    """Before ffmpeg starts."""
    with pytest.raises(UserError, match="at most 4096 pixels wide and high, or many players refuse it; got 4098 × 2"):
        write(tmp_path / "a.mp4", [np.zeros((2, 4098, 3), np.uint8)])


def running_encoders():
    listed = subprocess.run(["ps", "-wweo", "args"], capture_output=True, text=True, check=True).stdout
    return [line for line in listed.splitlines() if "partial.mp4" in line and "libx264" in line]


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_interrupted_animation_keeps_the_old_file(tmp_path, ending, error):
    """Ctrl-C or any failure passes on; the old file is as it was, no process is left."""
    path = tmp_path / f"a.{ending}"
    path.write_bytes(b"old")

    def interrupted():
        yield smooth(0)
        yield smooth(1)
        raise error

    with pytest.raises(error):
        write(path, interrupted())
    assert [left.name for left in tmp_path.iterdir()] == [path.name]
    assert path.read_bytes() == b"old"
    assert not [line for line in running_encoders() if str(tmp_path) in line]


@pytest.mark.parametrize("ending", ENDINGS)
def test_animation_on_a_full_disk_keeps_the_old_file(tmp_path, ending):
    """A file that cannot grow is reported by name, and nothing is left of it."""
    path = tmp_path / f"a.{ending}"
    path.write_bytes(b"old")
    rng = np.random.default_rng(0)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, limits[1]))
    try:
        with pytest.raises(UserError, match=rf"Cannot write .*a\.{ending}: File too large"):
            write(path, (rng.integers(0, 256, (160, 160, 3), dtype=np.uint8) for _ in range(60)))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert [left.name for left in tmp_path.iterdir()] == [path.name]
    assert path.read_bytes() == b"old"


def test_mp4_survives_the_terminals_interrupt(tmp_path):
    """Ctrl-C goes to the whole process group; ffmpeg must not be in it, or it would end before its pipe does."""
    with make_encoder("mp4", 20.0, loop=True, pixels=None).open(tmp_path / "a.mp4") as add:
        add(smooth(0))
        listed = subprocess.run(["ps", "-wweo", "pgid,args"], capture_output=True, text=True, check=True).stdout
        (line,) = [line for line in listed.splitlines() if str(tmp_path) in line]
        assert int(line.split()[0]) != os.getpgrp()


@pytest.mark.parametrize(("kind", "fps", "held"), [("gif", 30, 100 / 3), ("webp", 60, 60), ("mp4", 23.976, 23.976)])
def test_check_rate_says_what_the_format_holds(kind, fps, held):
    """A GIF rounds."""
    assert check_rate(kind, fps) == pytest.approx(held)


@pytest.mark.parametrize("fps", [0, 61, float("nan")])
@pytest.mark.parametrize("ending", ENDINGS)
def test_check_rate_refuses(ending, fps):
    """Outside of what makes sense."""
    with pytest.raises(UserError, match="fps must be from 1 to 60"):
        check_rate(ending, fps)
