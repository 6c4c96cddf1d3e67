"""Where along a direction each frame is: amounts, in latent units, for an animation or for stills."""

from __future__ import annotations

import numpy as np

from directions.settings.render import MIN_FRAMES, Motion


def there_and_back(frames: int, path_size: float, motion: Motion = "smooth") -> np.ndarray:
    """Go from the centre to one end, through the centre to the other end, and back to the centre.

    A smooth motion changes its speed smoothly, to zero at both ends and at the first and last frame. These two are the
    same place, where the motion rests for a moment, so the animation loops without a jump at an even frame rate. The
    frames are laid so that one of them is exactly at each end, and so that the second half mirrors the first.

    Args:
        frames: Number of frames, at least 4.
        path_size: Distance from the centre to each end, in latent units.
        motion: How the speed changes.

    Returns:
        (frames,) float64: exactly 0 first and last, with ``path_size`` and ``-path_size`` reached exactly.

    Example:
        >>> there_and_back(7, 2.0)
        array([ 0.,  1.,  2.,  0., -2., -1.,  0.])
    """
    assert frames >= MIN_FRAMES
    last = frames - 1
    # A quarter of the time out, half of it from end to end, a quarter back, in whole frames.
    turn = max(1, round(last / 4))
    index = np.arange(frames)
    out = _paced(index / turn, motion)
    across = 1 - 2 * _paced((index - turn) / (last - 2 * turn), motion)
    first_half = np.where(index <= turn, out, across)
    # The first half decides and the second is its negative: the middle of an odd number of frames is then exactly 0.
    return path_size * np.where(2 * index < last, first_half, np.where(2 * index > last, -first_half[::-1], 0.0)) + 0.0


def one_way(frames: int, path_size: float, motion: Motion = "smooth") -> np.ndarray:
    """Go from one end through the centre to the other.

    Args:
        frames: Number of frames, at least 2.
        path_size: Distance from the centre to each end, in latent units.
        motion: How the speed changes.

    Returns:
        (frames,) float64 from exactly ``-path_size`` to exactly ``path_size``, and as far from both ends in the middle.

    Example:
        >>> one_way(5, 2.0, "linear")
        array([-2., -1.,  0.,  1.,  2.])
    """
    assert frames >= 2
    going = _paced(np.arange(frames) / (frames - 1), motion)
    return path_size * (going - going[::-1])


def strip(columns: int, path_size: float) -> np.ndarray:
    """Place stills evenly from one end to the other.

    Args:
        columns: Number of stills, at least 2.
        path_size: Distance from the centre to each end, in latent units.

    Returns:
        (columns,) float64 from exactly ``-path_size`` to exactly ``path_size``, with exactly 0 in the middle of an odd
        number.

    Example:
        >>> strip(5, 3.0)
        array([-3. , -1.5,  0. ,  1.5,  3. ])
    """
    twice = 2 * np.arange(columns) - (columns - 1)
    return path_size * (twice / (columns - 1))


def dwell(places: np.ndarray, motion: Motion) -> np.ndarray:
    """Return for how much of a one-way trip each of some stills stands for the place that is passed.

    The gallery shows the same evenly spaced stills on its slider and in its animations; what makes these smooth is how
    long each is shown.

    Args:
        places: (n,) increasing from −1 to 1, at least 2.
        motion: How the speed changes.

    Returns:
        (n,) float64 shares of the time, positive, with the sum 1.

    Example:
        >>> dwell(np.array([-1.0, 0.0, 1.0]), "linear")
        array([0.25, 0.5 , 0.25])
    """
    borders = np.concatenate([[-1.0], (places[1:] + places[:-1]) / 2, [1.0]])
    # A smooth trip's place at time t, from 0 to 1, is −cos(πt): the time at a place is the inverse of that.
    times = np.arccos(-borders) / np.pi if motion == "smooth" else (borders + 1) / 2
    return np.diff(times)


def _paced(time: np.ndarray, motion: Motion) -> np.ndarray:
    """Go from 0 to 1: evenly, or with zero speed at both ends (the cubic Hermite step)."""
    clipped = np.clip(time, 0, 1)
    return clipped * clipped * (3 - 2 * clipped) if motion == "smooth" else clipped
