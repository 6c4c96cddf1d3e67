"""Where along a direction each frame is: amounts, in latent units, for an animation or for a strip of stills.

First in rendering; ``frames.py`` makes the images at these amounts.
"""

from __future__ import annotations

import numpy as np

from directions.errors import UserError

MIN_FRAMES = 4
"""Centre, one end, the other end, centre."""


def there_and_back(frames: int, path_size: float) -> np.ndarray:
    """Go from the centre to one end, through the centre to the other end, and back to the centre.

    The speed changes smoothly and is zero at both ends and at the first and last frame. These two are the same place,
    where the motion rests for a moment, so the animation loops without a jump at an even frame rate. The frames are
    laid so that one of them is exactly at each end, and so that the second half mirrors the first.

    Args:
        frames: Number of frames, at least 4.
        path_size: Distance from the centre to each end, in latent units.

    Returns:
        (frames,) float64: exactly 0 first and last, with ``path_size`` and ``-path_size`` reached exactly.

    Raises:
        UserError: If there are too few frames.

    Example:
        >>> there_and_back(7, 2.0)
        array([ 0.,  1.,  2.,  0., -2., -1.,  0.])
    """
    if frames < MIN_FRAMES:
        raise UserError(f"frames must be at least {MIN_FRAMES} (centre, end, other end, centre), got {frames}.")
    last = frames - 1
    # A quarter of the time out, half of it from end to end, a quarter back, in whole frames.
    turn = max(1, round(last / 4))
    index = np.arange(frames)
    out = _ease(index / turn)
    across = 1 - 2 * _ease((index - turn) / (last - 2 * turn))
    first_half = np.where(index <= turn, out, across)
    # The first half decides and the second is its negative: the middle of an odd number of frames is then exactly 0.
    return path_size * np.where(2 * index < last, first_half, np.where(2 * index > last, -first_half[::-1], 0.0)) + 0.0


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


def _ease(time: np.ndarray) -> np.ndarray:
    """Go from 0 to 1 with zero speed at both (the cubic Hermite step)."""
    clipped = np.clip(time, 0, 1)
    return clipped * clipped * (3 - 2 * clipped)
