"""Where the frames are: the promises of the path, for every number of frames."""

from __future__ import annotations

import numpy as np
import pytest

from directions.rendering.frames import dwell, one_way, strip, there_and_back


@pytest.mark.parametrize("frames", [*range(4, 40), 100, 199, 200])
def test_there_and_back_starts_ends_and_turns_exactly(frames):
    """Exactly 0 first and last, exactly ±path_size in between, + before −, never beyond, straight between the turns."""
    path = there_and_back(frames, 2.7)
    assert path.shape == (frames,)
    assert path[0] == path[-1] == 0
    assert (path.max(), path.min()) == (2.7, -2.7)
    top, bottom = path.argmax(), path.argmin()
    assert 0 < top < bottom < frames - 1
    np.testing.assert_array_equal(path, -path[::-1])
    assert (np.diff(path[: top + 1]) > 0).all()
    assert (np.diff(path[top : bottom + 1]) < 0).all()
    assert (np.diff(path[bottom:]) > 0).all()


def test_there_and_back_follows_the_cubic_step():
    """Against the formula written out: quarters of 30 frames, a half of 60; which joins smoothly."""
    step = lambda t: 3 * t**2 - 2 * t**3  # noqa: E731 - a formula
    there, turn = step(np.arange(30) / 30), step(np.arange(60) / 60)
    expected = 3 * np.concatenate([there, 1 - 2 * turn, [-1.0], -there[:0:-1], [0.0]])
    np.testing.assert_allclose(there_and_back(121, 3.0), expected, atol=1e-12)


@pytest.mark.parametrize("columns", range(2, 12))
def test_strip_is_even_and_exact(columns):
    """From exactly −s to exactly s in equal steps, through exactly 0 where there is a middle."""
    places = strip(columns, 3.3)
    assert (places[0], places[-1]) == (-3.3, 3.3)
    np.testing.assert_allclose(np.diff(places), 6.6 / (columns - 1))
    if columns % 2:
        assert places[columns // 2] == 0


@pytest.mark.parametrize("motion", ["smooth", "linear"])
@pytest.mark.parametrize("frames", [2, 3, 7, 60])
def test_one_way_goes_from_end_to_end(frames, motion):
    """Exactly −s first, exactly s last, always on; its middle is the centre."""
    path = one_way(frames, 1.7, motion)
    assert (path[0], path[-1]) == (-1.7, 1.7)
    assert (np.diff(path) > 0).all()
    np.testing.assert_array_equal(path, -path[::-1])


@pytest.mark.parametrize("motion", ["smooth", "linear"])
def test_dwell_is_the_time_of_the_trip(motion):
    """Against a trip cut into very many moments, each of which belongs to the nearest still."""
    places = np.linspace(-1, 1, 9)
    time = (np.arange(90_000) + 0.5) / 90_000
    trip = -np.cos(np.pi * time) if motion == "smooth" else 2 * time - 1
    nearest = np.abs(trip[:, None] - places).argmin(axis=1)
    np.testing.assert_allclose(dwell(places, motion), np.bincount(nearest) / len(time), atol=1e-4)


@pytest.mark.parametrize("frames", [24, 60, 200])
def test_there_and_back_loops_smoothly(frames):
    """No change of speed from frame to frame, over the join too, is more than a smooth path of that length needs."""
    path = there_and_back(frames, 1.0)
    speed = np.diff(path, append=path[0])
    change = np.abs(np.diff(speed, append=speed[0]))
    assert change.max() <= 6 / round((frames - 1) / 4) ** 2 * 1.01

