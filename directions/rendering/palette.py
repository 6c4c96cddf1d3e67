"""One palette for a whole animation, and a dithering that holds still.

Between the images (``frames.py``) and their encoding (``encode.py``). A palette chosen anew for each frame flickers,
and so does error diffusion, which carries every change on to pixels that did not change. Here a pixel's index depends
only on its colour and its place: what stands still in the images stands still in the animation. Without any dithering
the soft shading of rendered objects breaks into rings.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image
from scipy.spatial import cKDTree

SIZE = 256
"""Entries of a GIF palette."""

TRANSPARENT = SIZE - 1
"""The last entry: "as in the frame before"."""

_SHIFT = 1.0
"""Keeps the colours in a search tree above 0. There the tree looks for the next larger number, which is a denormal; in
programs that flush those to zero (``torch.set_flush_denormal``) it would never end."""

_BITS = 6
_MIX = 16
_ERROR_SHARE = 0.5
_MAX_ERROR = 12.0
_SAMPLE_WEIGHT = 0.5
_POINTS = 20_000


class Palette:
    """Colours of an animation, and the map from images to their indices.

    The dithering is ordered, after Knoll's pattern dithering: for each colour a mix of 16 palette colours that is close
    to it on average, of which an 8 × 8 Bayer matrix picks one by the pixel's place. Unlike a threshold added to the
    image, it fits an uneven palette: where colours are dense, the mix is of close ones.

    Args:
        pixels: (n, 3) uint8, a fair sample of what will be shown.
        fixed: (k, 3) uint8 colours that must be there exactly, for captions.

    Attributes:
        colours: (256, 3) uint8; the fixed colours are first, the last entry stands for transparent.
    """

    colours: np.ndarray

    def __init__(self, pixels: np.ndarray, fixed: Sequence[Sequence[int]] | np.ndarray) -> None:
        exact = np.asarray(fixed, dtype=np.uint8).reshape(-1, 3)
        chosen = _choose_colours(pixels, TRANSPARENT - len(exact))
        self.colours = np.zeros((SIZE, 3), dtype=np.uint8)
        used = np.concatenate([exact, chosen])
        self.colours[: len(used)] = used
        self._mixed = used.astype(np.float64)
        self._first = len(exact)
        # Mixes of the cells of colour space, made when a cell first appears: images fill a small part of the space.
        self._mixes = np.zeros((1 << 3 * _BITS, _MIX), dtype=np.uint8)
        self._known = np.zeros(len(self._mixes), dtype=bool)

    def index(self, images: np.ndarray) -> np.ndarray:
        """Find the palette indices that show images, dithered.

        Args:
            images: (…, height, width, 3) uint8.

        Returns:
            (…, height, width) uint8.
        """
        height, width = images.shape[-3:-1]
        matrix = np.tile(_BAYER, (height // 8 + 1, width // 8 + 1))[:height, :width]
        # Cells are 4 levels wide. A second use of the matrix, shifted, blurs the steps between them.
        step = 256 >> _BITS
        offset = (np.roll(matrix, (3, 5), (0, 1)) * step).astype(np.int16)[..., None] // 64 - step // 2
        cells = np.clip(images.astype(np.int16) + offset, 0, 255) >> (8 - _BITS)
        cell = (cells[..., 0].astype(np.int32) << 2 * _BITS) | (cells[..., 1] << _BITS) | cells[..., 2]
        new = np.unique(cell[~self._known[cell]])
        self._mixes[new] = _mix_colours(new, self._mixed, self._first)
        self._known[new] = True
        picked: np.ndarray = self._mixes[cell, matrix // (64 // _MIX)]
        return picked

    def nearest_fixed(self, image: np.ndarray, fixed: int) -> np.ndarray:
        """Find the nearest of the first colours, undithered, for captions.

        Args:
            image: (height, width, 3) uint8.
            fixed: How many colours to choose from.

        Returns:
            (height, width) uint8.
        """
        nearest = cKDTree(self.colours[:fixed] + _SHIFT).query(image + _SHIFT)[1]
        return np.asarray(nearest, dtype=np.uint8)


def _choose_colours(pixels: np.ndarray, number: int) -> np.ndarray:
    """Choose colours for a sample: median cut, then k-means, over the histogram's cells."""
    cells, member, count = np.unique(pixels >> 3, axis=0, return_inverse=True, return_counts=True)
    member = member.reshape(-1)
    means = np.stack([np.bincount(member, pixels[:, channel], len(cells)) / count for channel in range(3)], axis=1)
    # A large plain background would take most of the colours, and leave few for the object, if it counted fully.
    weight = count**_SAMPLE_WEIGHT
    repeats = np.maximum(1, np.round(weight * (_POINTS / weight.sum()))).astype(int)
    points = np.repeat(np.round(means).astype(np.uint8), repeats, axis=0)
    reduced = Image.fromarray(points[None]).quantize(number, method=Image.Quantize.MEDIANCUT, kmeans=3)
    colours = np.asarray(reduced.getpalette(), dtype=np.uint8).reshape(-1, 3)[:number]
    return np.unique(colours, axis=0)


def _mix_colours(cells: np.ndarray, palette: np.ndarray, first: int) -> np.ndarray:
    """For each cell, palette indices (cells, 16), from ``first`` on, that mix to its colour, from dark to light."""
    channels = np.stack([cells >> 2 * _BITS, cells >> _BITS, cells], axis=-1) & ((1 << _BITS) - 1)
    step = 256 >> _BITS
    # The offsets of index() run from -step / 2 to step / 2 - 1; half a level more makes up for their mean.
    wanted = channels * step + step / 2
    tree = cKDTree(palette[first:] + _SHIFT)
    error = np.zeros_like(wanted)
    mixes = np.empty((len(wanted), _MIX), dtype=np.uint8)
    for place in range(_MIX):
        # Only a part of the error is made up for each time, which gives less grain for hardly less smoothness, and
        # never much: for a colour outside the palette's range the error only grows, and would end in a far colour.
        length = np.linalg.norm(error, axis=1, keepdims=True)
        bounded = error * np.minimum(_ERROR_SHARE, _MAX_ERROR / np.maximum(length, 1e-9))
        mixes[:, place] = first + tree.query(wanted + bounded + _SHIFT)[1]
        error += wanted - palette[mixes[:, place]]
    lightness = palette @ [0.299, 0.587, 0.114]
    return np.take_along_axis(mixes, np.argsort(lightness[mixes], axis=1, kind="stable"), axis=1)


def _bayer(size: int) -> np.ndarray:
    """The ordered-dithering matrix of Bayer: the numbers below size², each as far as can be from its neighbours'."""
    matrix = np.zeros((1, 1), dtype=np.int64)
    while len(matrix) < size:
        matrix = np.block([[4 * matrix, 4 * matrix + 2], [4 * matrix + 3, 4 * matrix + 1]])
    return matrix


_BAYER = _bayer(8)
