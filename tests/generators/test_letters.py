"""The generator of letters that comes with the package: grey images, classes that are letters, and its judge."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from directions.evaluation.factors import judge_of, measure_factors
from directions.evaluation.letter_factors import LETTER_FACTORS, LETTERS, LetterJudge
from directions.generators.registry import load_generator


@pytest.fixture(scope="module")
def letters():
    """The generator."""
    return load_generator("letters")


def test_images_are_grey_letters_named_by_one_character(letters):
    """The three channels are one; dark on white, and nothing at the edge."""
    images = letters(letters.sample_z(4, seed=0), y="Q")
    assert letters.class_names == tuple(LETTERS)
    assert torch.equal(images[:, 0], images[:, 1])
    assert torch.equal(images[:, 0], images[:, 2])
    assert images[:, :, 0].min() > 0.5
    assert images.min() < -0.5


def test_a_z_is_one_weight_in_all_letters(letters):
    """Stroke weights of two letters, over z, go together."""
    z, judge = letters.sample_z(24, seed=0), judge_of(letters)
    assert isinstance(judge, LetterJudge)
    weights = [judge.read(letters(z, y=name), torch.full((24,), LETTERS.index(name)))[:, 0] for name in "HS"]
    assert np.corrcoef(torch.stack(weights))[0, 1] > 0.8


def test_factor_table_has_the_factors_of_letters(letters):
    """Through the same interface as the scenes'."""
    table = measure_factors(letters, torch.eye(letters.dim_z)[:2], judge_of(letters), path_sizes=2.0, num_points=26)
    assert table.factors == LETTER_FACTORS
    assert table.effects.shape == (2, 6)
    assert np.isfinite(table.effects).all()
