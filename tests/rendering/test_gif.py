"""GIFs: read back by another program, they show exactly what was written, at an even and true rate."""

from __future__ import annotations

import resource
import tracemalloc

import numpy as np
import pytest
from PIL import Image

from directions.errors import UserError
from directions.rendering.encode import gif_delay, gif_writer
from directions.rendering.palette import TRANSPARENT

COLOURS = np.random.default_rng(0).permutation(256 * 3).reshape(256, 3).astype(np.uint8)


def noise(seed, shape=(37, 53)):
    return np.random.default_rng(seed).integers(0, TRANSPARENT, shape, dtype=np.uint8)


def read(path):
    with Image.open(path) as image:
        for index in range(image.n_frames):
            image.seek(index)
            yield np.asarray(image.convert("RGB")), image.info["duration"]


def write(path, frames, delay=4):
    with gif_writer(path, COLOURS, delay) as writer:
        for frame in frames:
            writer.add(frame)


@pytest.mark.parametrize("shape", [(1, 1), (16, 16), (37, 53), (200, 3)])
def test_gif_shows_what_was_written(tmp_path, shape):
    """Whole changes, a changed rectangle, scattered changes, none at all: every frame decodes to its indices."""
    first = noise(0, shape)
    rectangle = first.copy()
    rectangle[shape[0] // 3 : shape[0] // 2 + 1, shape[1] // 2 :] = 7
    scattered = rectangle.copy()
    scattered[:: max(1, shape[0] - 1), :: max(1, shape[1] - 1)] ^= 1
    frames = [first, noise(1, shape), first, rectangle, scattered, scattered, first]
    write(tmp_path / "a.gif", frames)
    decoded = list(read(tmp_path / "a.gif"))
    assert len(decoded) == len(frames)
    for (shown, duration), frame in zip(decoded, frames, strict=True):
        np.testing.assert_array_equal(shown, COLOURS[frame])
        assert duration == 40


def test_gif_constant_frames_stay_constant(tmp_path):
    """A sequence of equal frames decodes to equal pixels, keeps its timing, and costs almost nothing."""
    write(tmp_path / "one.gif", [noise(0)])
    write(tmp_path / "many.gif", [noise(0)] * 50)
    shown = [frame for frame, _ in read(tmp_path / "many.gif")]
    assert len(shown) == 50
    assert all((frame == shown[0]).all() for frame in shown)
    assert (tmp_path / "many.gif").stat().st_size - (tmp_path / "one.gif").stat().st_size < 50 * 40


def test_gif_has_one_palette_and_loops_forever(tmp_path):
    """No frame brings a palette of its own."""
    write(tmp_path / "a.gif", [noise(0), noise(1)])
    with Image.open(tmp_path / "a.gif") as image:
        assert image.info["loop"] == 0
        assert image.size == (53, 37)
        for index in range(2):
            image.seek(index)
            assert all(tile.args[0] == 8 and not tile.args[1] for tile in image.tile), "interlaced, or a local palette"
    assert (tmp_path / "a.gif").read_bytes()[13 : 13 + 768] == COLOURS.tobytes()


def test_gif_is_deterministic(tmp_path):
    """The same frames give the same bytes."""
    for name in "ab":
        write(tmp_path / name, [noise(0), noise(1)])
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_gif_writing_does_not_keep_frames(tmp_path):
    """Memory does not grow with the number of frames."""

    def peak(number):
        tracemalloc.start()
        write(tmp_path / "a.gif", (noise(seed, (128, 128)) for seed in range(number)))
        top = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return top

    peak(4)
    assert peak(80) < 1.1 * peak(8)


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError, MemoryError])
def test_gif_failure_leaves_nothing(tmp_path, error):
    """Ctrl-C or any failure in the block leaves no file, and passes on."""

    def interrupted():
        yield noise(0)
        raise error

    with pytest.raises(error):
        write(tmp_path / "a.gif", interrupted())
    assert list(tmp_path.iterdir()) == []


def test_gif_full_disk_is_a_user_error(tmp_path):
    """A file that cannot grow is reported by name, and nothing is left of it."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))
    try:
        with pytest.raises(UserError, match=r"Cannot write .*a\.gif: File too large"):
            write(tmp_path / "a.gif", (noise(seed, (128, 128)) for seed in range(9)))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert list(tmp_path.iterdir()) == []


def test_gif_refuses_more_pixels_than_the_format_holds(tmp_path):
    """The format counts in 16 bits."""
    with pytest.raises(UserError, match="at most 65535 pixels wide and high, got 65536 × 1"):
        write(tmp_path / "a.gif", [np.zeros((1, 65536), np.uint8)])


@pytest.mark.parametrize(
    ("fps", "delay"), [(1, 100), (10, 10), (24, 4), (25, 4), (30, 3), (33.4, 3), (50, 2), (12.5, 8)]
)
def test_gif_delay_is_the_nearest(fps, delay):
    """Hundredths of a second."""
    assert gif_delay(fps) == delay


@pytest.mark.parametrize("fps", [0, 0.5, 51, -1, float("nan"), float("inf")])
def test_gif_delay_refuses(fps):
    """A rate that browsers would not show."""
    with pytest.raises(UserError, match="fps must be from 1 to 50"):
        gif_delay(fps)
