"""The typeface factors of capital letters: closed forms on drawn letters, the judge, and the generator of letters."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from directions.evaluation.factors import judge_of
from directions.evaluation.letter_factors import (
    LETTER_FACTORS,
    LETTERS,
    LetterJudge,
    letter_factors,
    load_letter_judge,
    seen_in,
)
from directions.generators.registry import load_generator

SIDE, TOP, BASELINE, CAP = 64, 6.4, 44.8, 38.4


def strokes(*boxes: tuple[float, float, float, float], shear: float = 0.0) -> Tensor:
    """Draw boxes (left, right, top, bottom in pixels), antialiased, sheared to the right about the baseline."""
    fine = 8
    place = (torch.arange(SIDE * fine) + 0.5) / fine
    y, x = place[:, None], place[None, :] - shear * (BASELINE - place[:, None])
    ink = torch.zeros(SIDE * fine, SIDE * fine, dtype=torch.bool)
    for left, right, top, bottom in boxes:
        ink |= (x >= left) & (x < right) & (y >= top) & (y < bottom)
    grey = ink.float().unflatten(0, (SIDE, fine)).unflatten(2, (SIDE, fine)).mean(dim=(1, 3))
    return (1 - 2 * grey).expand(1, 3, -1, -1)


def letter_h(stem: float = 5.0, bar: float = 3.0, width: float = 30.0, height: float = 0.5, **options: float) -> Tensor:
    """An H without serifs; ``height`` of its crossbar in cap heights."""
    left, right = 32 - width / 2, 32 + width / 2
    middle = BASELINE - height * CAP
    return strokes(
        (left, left + stem, TOP, BASELINE),
        (right - stem, right, TOP, BASELINE),
        (left, right, middle - bar / 2, middle + bar / 2),
        **options,
    )


def measured(image: Tensor, letter: str = "H") -> dict[str, float]:
    """The factors of one image."""
    values = letter_factors(image, torch.tensor([LETTERS.index(letter)]))[0].tolist()
    return dict(zip(LETTER_FACTORS, values, strict=True))


@pytest.mark.parametrize("thickness", [0.5, 2.0, 8.0])
def test_weight_of_an_i_is_the_thickness_of_its_stem(thickness):
    """A bar of thickness t and height h has area t h and edges 2 (t + h); a hairline is thinner than a pixel."""
    got = measured(strokes((20, 20 + thickness, TOP, BASELINE)), "I")["weight"]
    assert got == pytest.approx(thickness * CAP / (thickness + CAP) / CAP, rel=0.12)


@pytest.mark.parametrize("shear", [-0.1, 0.25])
def test_slant_is_the_shear_and_width_does_not_see_it(shear):
    """Shearing adds the shear to the slant, exactly, and changes no other factor by much."""
    upright, slanted = measured(letter_h()), measured(letter_h(shear=shear))
    assert slanted["slant"] - upright["slant"] == pytest.approx(shear, abs=0.01)
    assert slanted["width"] == pytest.approx(upright["width"], rel=0.01)
    assert slanted["crossbar"] == pytest.approx(upright["crossbar"], abs=0.02)


def test_width_of_a_solid_block_is_its_width():
    """A box's standard deviation is its width over √12."""
    assert measured(strokes((16, 46, TOP, BASELINE)))["width"] == pytest.approx(30 / CAP, rel=0.01)


@pytest.mark.parametrize(("stem", "bar"), [(6.0, 2.0), (4.0, 4.0)])
def test_contrast_is_the_logarithm_of_thick_over_thin(stem, bar):
    """The shorter runs in rows are stems, in columns the crossbar."""
    assert measured(letter_h(stem=stem, bar=bar))["contrast"] == pytest.approx(math.log(stem / bar), abs=0.1)


@pytest.mark.parametrize("height", [0.4, 0.5, 0.6])
def test_crossbar_is_where_the_bar_is(height):
    """In cap heights above the baseline."""
    assert measured(letter_h(height=height))["crossbar"] == pytest.approx(height, abs=0.02)


def test_serif_is_what_stands_out_at_the_ends():
    """Four serifs of 8 pixels beyond stems of 5 add 2 x 2 x 3 pixels below and above."""
    plain = measured(letter_h())["serif"]
    serifs = [(left - 1.5, left + 6.5, top, top + 2) for left in (17.0, 42.0) for top in (TOP, BASELINE - 2)]
    boxes = [(17.0, 22.0, TOP, BASELINE), (42.0, 47.0, TOP, BASELINE), (17.0, 47.0, 24.0, 27.0)]
    assert plain == pytest.approx(0, abs=0.01)
    assert measured(strokes(*boxes, *serifs))["serif"] == pytest.approx(12 / CAP, rel=0.1)


def test_factors_do_not_depend_on_the_batch_and_blank_images_are_finite():
    """Each image is measured by itself; an image without ink gives numbers."""
    images = torch.cat((letter_h(), letter_h(stem=8), torch.ones(1, 3, SIDE, SIDE)))
    y = torch.tensor([7, 7, 0])
    together = letter_factors(images, y)
    assert together.isfinite().all()
    assert torch.equal(together[:1], letter_factors(images[:1], y[:1]))


def test_factors_that_are_not_seen_in_a_letter_are_zero():
    """An O has no crossbar; read against the data it has not changed."""
    y = torch.tensor([LETTERS.index("O")])
    assert measured(letter_h(), "O")["crossbar"] == 0
    assert load_letter_judge().read(letter_h(), y)[0, LETTER_FACTORS.index("crossbar")] == 0


def test_judge_reads_the_mean_as_zero_and_its_data_with_its_spread():
    """Over the data that it was made of, each factor has mean 0 and the variance that `spread` says."""
    rng = torch.Generator().manual_seed(0)
    y = torch.arange(26).repeat(40)
    values = torch.randn(len(y), 6, generator=rng) * seen_in()[y]
    judge = LetterJudge.of(values, y)
    scores = judge.standard(values, y)
    assert scores.mean(dim=0).abs().max() < 1e-5
    for k, name in enumerate(LETTER_FACTORS):
        assert float(scores[:, k].square().mean()) == pytest.approx(judge.spread[name], rel=0.05)


def test_a_z_is_one_weight_in_all_letters():
    """Stroke weights of two letters, over z, go together."""
    letters = load_generator("letters")
    z, judge = letters.sample_z(24, seed=0), judge_of(letters)
    assert isinstance(judge, LetterJudge)
    weights = [judge.read(letters(z, y=name), torch.full((24,), LETTERS.index(name)))[:, 0] for name in "HS"]
    assert np.corrcoef(torch.stack(weights))[0, 1] > 0.8
