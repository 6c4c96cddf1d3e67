"""One palette: exact where it must be, smooth on average, and still where the images are still."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from directions.rendering.animate import PALETTE_SIZE, TRANSPARENT, Palette

FIXED = np.array([[255, 255, 255], [30, 30, 30], [7, 99, 201]], np.uint8)


def shaded(height=64, width=96, shift=0.0):
    """A smooth, colourful picture: two colours that run into each other, and a soft light."""
    down, right = np.mgrid[:height, :width] / [[[height]], [[width]]]
    light = np.exp(-8 * ((down - 0.5) ** 2 + (right - 0.5 - shift) ** 2))
    image = np.stack([60 + 120 * right, 90 + 60 * down + 60 * light, 160 - 80 * right + 40 * light], axis=-1)
    return np.clip(np.round(image), 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def palette():
    return Palette(shaded().reshape(-1, 3), FIXED)


def test_palette_holds_fixed_colours_first(palette):
    """Captions get exactly the colours that they are drawn in."""
    assert palette.colours.shape == (PALETTE_SIZE, 3)
    np.testing.assert_array_equal(palette.colours[: len(FIXED)], FIXED)
    image = FIXED[np.array([[0, 1, 2], [2, 1, 0]])]
    np.testing.assert_array_equal(palette.nearest_fixed(image, len(FIXED)), [[0, 1, 2], [2, 1, 0]])


def test_palette_never_uses_the_transparent_entry_or_far_colours(palette):
    """No pixel is shown in a colour that is far from its own: not even at the edge of the palette's range."""
    extremes = np.stack(np.meshgrid(*[np.arange(0, 256, 15)] * 3, indexing="ij"), -1).reshape(1, -1, 3).astype(np.uint8)
    for image in (shaded(), np.concatenate([extremes] * 8)):
        index = palette.index(image)
        assert index.max() < TRANSPARENT
        shown = palette.colours[index].astype(float)
        nearest = np.min(
            np.linalg.norm(palette.colours[None, 3:250] - image.reshape(-1, 1, 3)[:2000].astype(float), axis=2), 1
        )
        distance = np.linalg.norm(shown - image, axis=-1).reshape(-1)[:2000]
        assert (distance <= nearest + 40).all()


def test_index_is_right_on_average():
    """Seen from a distance, with a palette that has more to show, dithering comes closer than the nearest colours."""
    image = shaded()
    others = np.random.default_rng(0).integers(0, 256, (20_000, 3), dtype=np.uint8)
    palette = Palette(np.concatenate([image.reshape(-1, 3), others]), FIXED)
    shown = palette.colours[palette.index(image)].astype(float)
    table = palette.colours[len(FIXED) : TRANSPARENT].astype(float)
    nearest = table[np.linalg.norm(image[..., None, :] - table, axis=-1).argmin(-1)]

    def error(picture):
        return np.sqrt(np.mean((gaussian_filter(picture - image, (2, 2, 0))[4:-4, 4:-4]) ** 2))

    assert error(shown) < 0.6 * error(nearest)


def test_index_depends_on_colour_and_place_only(palette):
    """What stands still does not flicker, whatever moves beside it."""
    before, after = shaded(), shaded(shift=-0.2)
    after[:, 48:] = before[:, 48:]
    still = (before == after).all(axis=-1)
    assert 0.4 < still.mean() < 0.9
    np.testing.assert_array_equal(palette.index(before)[still], palette.index(after)[still])
