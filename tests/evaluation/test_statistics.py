"""Image statistics read what they are named after, and a direction is called by the one that it changes."""

from __future__ import annotations

import pytest
import torch
from closed import ClosedFormGenerator

from directions import Directions
from directions.evaluation.statistics import ENDS, Statistics, describe, image_statistics, suggest_names
from directions.sampling import derived_rng


def read(images):
    return dict(zip(ENDS, image_statistics(images[None])[0].tolist(), strict=True))


def square(x=0, y=0, half=6, colour=(0.9, 0.2, 0.2), ground=(0.1, 0.1, 0.1)):
    """A square on a plain ground, 48 pixels, colours in [0, 1]."""
    image = torch.tensor(ground, dtype=torch.float64)[:, None, None].expand(3, 48, 48).clone()
    rows, columns = slice(24 + y - half, 24 + y + half), slice(24 + x - half, 24 + x + half)
    image[:, rows, columns] = torch.tensor(colour).double()[:, None, None]
    return 2 * image - 1


CHANGES = {
    "brightness": (square(), square().add(0.2)),
    "contrast": (square(colour=(0.5, 0.5, 0.5)), square(colour=(1.0, 1.0, 1.0))),
    "saturation": (square(colour=(0.5, 0.5, 0.5)), square(colour=(0.9, 0.4, 0.1))),
    "hue": (square(colour=(0.9, 0.1, 0.1)), square(colour=(0.1, 0.9, 0.1))),
    "warmth": (square(colour=(0.1, 0.2, 0.9)), square(colour=(0.9, 0.2, 0.1))),
    "light left-right": (square(x=-8), square(x=8)),
    "light top-bottom": (square(y=-8), square(y=8)),
    "object x": (square(x=-8), square(x=8)),
    "object y": (square(y=-8), square(y=8)),
    "object size": (square(half=4), square(half=10)),
    "centre against border": (square(colour=(0.3, 0.3, 0.3)), square(colour=(0.9, 0.9, 0.9))),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_statistic_grows_with_what_it_is_named_after(name):
    low, high = map(read, CHANGES[name])
    assert high[name] > low[name] + 0.01


def test_sharpness_of_a_blurred_picture_is_less():
    image = torch.rand(3, 48, 48, generator=torch.Generator().manual_seed(0)) * 2 - 1
    blurred = torch.nn.functional.avg_pool2d(image, 5, stride=1, padding=2)
    assert read(blurred)["sharpness"] < 0.6 * read(image)["sharpness"]


class Knobs(ClosedFormGenerator):
    """z turns brightness and the square's place, each by one component."""

    def __init__(self):
        super().__init__(dim_z=2, resolution=48, num_classes=0)

    def forward(self, z, y=0, *, truncation=1.0):
        axis = torch.arange(48.0)
        across = torch.exp(-((axis - 24 - 3 * z[:, 1:].float()) / 6).square())[:, None, :]
        down = torch.exp(-((axis - 24) / 6).square())[None, :, None]
        image = 0.6 * across * down + 0.15 * z[:, :1, None].float().tanh() - 0.2
        return image[:, None].expand(-1, 3, -1, -1).to(z)


def test_a_direction_is_called_by_what_it_changes():
    generator = Knobs()
    judge = Statistics.of(generator, samples=64)
    z = generator.sample_z_from(64, derived_rng(0, purpose="image statistics"))
    assert judge.spread["brightness"] == pytest.approx(float(image_statistics(generator(z)).var(dim=0)[0]))
    effects = judge.effects(generator, torch.eye(2), path_size=1.5)
    assert describe(effects[0]) == "darker ↔ brighter"
    assert "left ↔" in describe(effects[1])
    assert describe(dict.fromkeys(ENDS, 1.0)) is None


def test_a_suggestion_says_what_changes_at_either_end_and_the_rest_gets_none():
    generator = Knobs()
    turned = torch.tensor([[-1.0, 0.0], [0.0, 1.0]])
    dark, place = suggest_names(generator, Directions.from_basis(turned, generator, path_sizes=1.5))
    assert (dark.statistic, dark.words) == ("brightness", "brighter ↔ darker")
    assert dark.effect < -0.5 < 0.5 <= dark.share <= 1
    assert place.statistic in ("object x", "light left-right")
    assert "left ↔" in place.words
    short = Directions.from_basis(turned, generator, path_sizes=0.01)  # nobody would see it
    assert suggest_names(generator, short) == [None, None]
    one = Directions.from_basis(turned, generator, path_sizes=1.5)[[0]]
    judge = Statistics.of(generator, samples=64)
    assert suggest_names(generator, one, judge=judge) == [dark]
