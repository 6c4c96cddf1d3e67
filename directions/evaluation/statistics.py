"""Plain statistics of pictures, a judge where no factors are known: brightness, colour, light, and what stands out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional as F

from directions.generators.base import Generator, Layers, chosen_layers, edited_images, resolve_classes
from directions.sampling import derived_rng, draw_points

if TYPE_CHECKING:
    from directions.direction_file import Directions

ENDS = {
    "brightness": ("darker", "brighter"),
    "contrast": ("less contrast", "more contrast"),
    "saturation": ("greyer", "more colourful"),
    "hue": ("hue turned back", "hue turned on"),
    "warmth": ("cooler", "warmer"),
    "light left-right": ("brighter on the left", "brighter on the right"),
    "light top-bottom": ("brighter at the top", "brighter at the bottom"),
    "sharpness": ("softer", "sharper"),
    "object x": ("object to the left", "object to the right"),
    "object y": ("object higher", "object lower"),
    "object size": ("object smaller", "object larger"),
    "centre against border": ("darker centre", "brighter centre"),
}
"""Each statistic, and what a picture is called at its low and high end. Hue grows from red over green to blue."""

_STANDS_OUT = 0.1  # difference from the border's colour, of 1 at most, below which a pixel is background
_NAMED = 0.45  # share of a direction's squared effects from which on it is called by one statistic
_SEEN = 0.5  # standard deviations over samples by which that statistic must change
_SPREAD_SAMPLES = 64
_LUMA = (0.299, 0.587, 0.114)


@torch.no_grad()
def image_statistics(images: Tensor) -> Tensor:
    """Measure pictures.

    Args:
        images: (n, 3, height, width) in [-1, 1].

    Returns:
        (n, 12) float64 on the CPU, in the order of `ENDS`. Hue is in turns, in [0, 1); places and balances are in
        halves of the side, to the right and down; sharpness is the mean step between neighbours in standard deviations.
    """
    rgb = (images.detach().double().cpu() + 1) / 2
    red, green, blue = rgb.unbind(dim=1)
    luma = (rgb * rgb.new_tensor(_LUMA)[:, None, None]).sum(dim=1)
    height, width = luma.shape[1:]
    down, right = (2 * (torch.arange(side, dtype=rgb.dtype) + 0.5) / side - 1 for side in (height, width))
    contrast = luma.flatten(1).std(dim=1)
    steps = luma.diff(dim=1).abs().flatten(1).mean(dim=1) + luma.diff(dim=2).abs().flatten(1).mean(dim=1)
    opponent = (red - (green + blue) / 2).flatten(1).mean(dim=1), (green - blue).flatten(1).mean(dim=1)
    hue = torch.atan2(math.sqrt(0.75) * opponent[1], opponent[0]) / (2 * math.pi)

    edge = torch.ones(height, width, dtype=torch.bool)
    rim = max(1, min(height, width) // 16)
    edge[rim:-rim, rim:-rim] = False
    colour = rgb[:, :, edge].median(dim=2).values[:, :, None, None]
    weight = F.relu((rgb - colour).abs().mean(dim=1) - _STANDS_OUT)
    mass = weight.flatten(1).sum(dim=1).clamp_min(1e-9)
    size = (weight > 0).double().flatten(1).mean(dim=1)
    middle = (down.abs()[:, None] < 0.5) & (right.abs()[None] < 0.5)
    columns = (
        luma.flatten(1).mean(dim=1),
        contrast,
        (rgb.amax(dim=1) - rgb.amin(dim=1)).flatten(1).mean(dim=1),
        hue.remainder(1.0),
        (red - blue).flatten(1).mean(dim=1),
        (luma * right).flatten(1).mean(dim=1),
        (luma * down[:, None]).flatten(1).mean(dim=1),
        steps / contrast.clamp_min(1e-3),
        (weight * right).flatten(1).sum(dim=1) / mass,
        (weight * down[:, None]).flatten(1).sum(dim=1) / mass,
        size,
        luma[:, middle].mean(dim=1) - luma[:, edge].mean(dim=1),
    )
    return torch.stack(columns, dim=1)


@dataclass
class Statistics:
    """`image_statistics` as a `directions.evaluation.factors.Judge`, by their spread over a generator's samples.

    It knows pixels and nothing of what is shown: a direction that turns a head moves several statistics at once.

    Attributes:
        spread: Variance of each statistic over the samples.
        names: The statistics.
        periods: Hue lies on a circle.
    """

    spread: Mapping[str, float]
    names: tuple[str, ...] = tuple(ENDS)
    periods: Mapping[str, float] = field(default_factory=lambda: {"hue": 1.0})

    @classmethod
    @torch.no_grad()
    def of(
        cls, generator: Generator, *, samples: int = 256, classes: tuple[int, ...] = (), truncation: float = 1.0,
        seed: int = 0, rows: int = 32,
    ) -> Statistics:  # fmt: skip
        """Measure the spread over samples of a generator.

        Args:
            generator: In eval mode.
            samples: How many.
            classes: Class indices to draw from, uniformly; empty for a generator without classes.
            truncation: Spread of z and the generator's setting, in (0, 1].
            seed: Seed of the samples.
            rows: Images to make at once.

        Returns:
            The judge.
        """
        rng = derived_rng(seed, purpose="image statistics")
        points = draw_points(generator, samples, rng, classes=classes, truncation=truncation)
        parts = (points[start : start + rows] for start in range(0, samples, rows))
        read = torch.cat([image_statistics(generator(part.z, part.y, truncation=truncation)) for part in parts])
        angle = 2 * math.pi * read[:, 3]
        middle = torch.atan2(angle.sin().mean(), angle.cos().mean()) / (2 * math.pi)
        read[:, 3] = (read[:, 3] - middle + 0.5).remainder(1.0)  # cut opposite to the mean
        # A statistic that hardly changes over the samples would count by what nobody sees: 0.01 is the least deviation.
        return cls(dict(zip(ENDS, read.var(dim=0).clamp_min(1e-4).tolist(), strict=True)))

    def read(self, images: Tensor, y: Tensor | None = None) -> Tensor:
        """Read images (n, 3, height, width) in [-1, 1]; returns (n, 12)."""
        return image_statistics(images)

    @torch.no_grad()
    def effects(
        self, generator: Generator, basis: Tensor, *, path_size: float | Sequence[float] = 2.0, samples: int = 16,
        classes: tuple[int, ...] = (), truncation: float = 1.0, layers: Layers = None, seed: int = 0,
    ) -> list[dict[str, float]]:  # fmt: skip
        """Measure which way each statistic goes along directions, for `describe`.

        Args:
            generator: In eval mode.
            basis: (ndirs, |z|) orthonormal rows.
            path_size: How far to either side, of all or of each.
            samples: Number of samples, the same for each direction.
            classes: Class indices to draw from, uniformly; empty for a generator without classes.
            truncation: Spread of z and the generator's setting, in (0, 1].
            layers: The layers that see the moved z; ``None`` is all.
            seed: Seed of the samples.

        Returns:
            For each direction the mean change of each statistic from its − to its + end, in standard deviations.
        """
        rng = derived_rng(seed, purpose="statistics of directions")
        points = draw_points(generator, samples, rng, classes=classes, truncation=truncation)
        chosen = chosen_layers(generator, layers)
        make_images = edited_images(generator, points.z, points.y, layers=chosen, truncation=truncation)
        sizes = torch.as_tensor(path_size).expand(len(basis)).tolist()
        deviations = torch.tensor([self.spread[name] for name in ENDS], dtype=torch.float64).sqrt()
        found = []
        for row, size in zip(basis.to(points.z), sizes, strict=True):
            ends = [image_statistics(make_images(points.z + sign * size * row)) for sign in (-1, 1)]
            change = ends[1] - ends[0]
            change[:, 3] = (change[:, 3] + 0.5).remainder(1.0) - 0.5
            found.append(dict(zip(ENDS, (change.mean(dim=0) / deviations).tolist(), strict=True)))
        return found


@dataclass(frozen=True)
class Suggestion:
    """What a direction changes most, to be offered as its name.

    Attributes:
        statistic: A key of `ENDS`.
        low: What a picture becomes towards the − end of the direction.
        high: What it becomes towards the + end.
        share: The statistic's share of the direction's squared effects, in [0, 1].
        effect: Mean change from the − to the + end, in standard deviations over samples.
    """

    statistic: str
    low: str
    high: str
    share: float
    effect: float

    @property
    def words(self) -> str:
        """Both ends, the − end first; a name that a direction may have."""
        return f"{self.low} ↔ {self.high}"


def suggest_names(
    generator: Generator, directions: Directions, *, samples: int = 5, seed: int = 0, judge: Statistics | None = None
) -> list[Suggestion | None]:
    """Suggest a name for each direction: the one statistic of pictures that it changes most, if one stands out.

    On the classes, truncation and layers that the file names, out to each direction's path size. It makes 2 ``samples``
    images for each direction, and 64 for the judge.

    Args:
        generator: In which they were found, in eval mode.
        directions: One or more; the same samples are used however many there are.
        samples: Number of samples, the same for each direction.
        seed: Seed of the samples.
        judge: From `Statistics.of`, to measure the spread of statistics once for many calls; ``None`` measures it.

    Returns:
        For each direction its suggestion; ``None`` where `suggestion` makes none.

    Raises:
        UserError: If the directions do not belong to the generator.
    """
    directions.require_fits(generator)
    listed = directions.header["classes"]
    where: dict[str, Any] = {
        "classes": resolve_classes(generator, tuple(listed) if isinstance(listed, list) else "all"),
        "truncation": directions.header["truncation"] or 1.0,
        "seed": seed,
    }
    judge = judge or Statistics.of(generator, samples=_SPREAD_SAMPLES, **where)
    basis = directions.tensor
    where |= {"path_size": directions.path_sizes, "layers": directions.layers, "samples": samples}
    return [suggestion(effects) for effects in judge.effects(generator, basis, **where)]


def suggestion(effects: Mapping[str, float]) -> Suggestion | None:
    """Find the statistic that stands out among a direction's effects.

    Of 60 random directions of the built-in generator 10 have one, by 5 samples (``docs/evaluating.md`` counts them).

    Args:
        effects: Change of each statistic from the − to the + end, in standard deviations, as `Statistics.effects` has.

    Returns:
        It; ``None`` if less than 45% of the squared change is on it, or it changes by less than half a standard
        deviation over samples, which few would see.
    """
    total = math.fsum(value**2 for value in effects.values())
    name = max(effects, key=lambda key: abs(effects[key]))
    effect = effects[name]
    if abs(effect) < _SEEN or effect**2 < _NAMED * total:
        return None
    low, high = ENDS[name] if effect > 0 else ENDS[name][::-1]
    return Suggestion(name, low, high, effect**2 / total, effect)


def describe(effects: Mapping[str, float]) -> str | None:
    """Put the `suggestion` for a direction's effects into words.

    Args:
        effects: As for `suggestion`.

    Returns:
        Both ends, the − end first; ``None`` without a suggestion.

    Example:
        >>> describe({"brightness": 2.0, "warmth": -0.5})
        'darker ↔ brighter'
        >>> describe({"brightness": -2.0, "warmth": -0.5})
        'brighter ↔ darker'
    """
    found = suggestion(effects)
    return None if found is None else found.words
