"""Read what typeface capital letters are set in by closed formulas: weight, slant, width and three more."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
LETTER_FACTORS = ("weight", "slant", "width", "contrast", "serif", "crossbar")
TOP, BASELINE = 0.10, 0.70  # of the side: where scripts/render_letters.py puts capitals
# Letters in which a factor can be seen; in others it counts as unchanged.
SEEN_IN = {
    "weight": LETTERS,
    "slant": LETTERS,
    "width": "ABCDEFGHKLMNOPQRSTUVWXYZ",
    "contrast": "BCDFGHLOPQRTUZ",
    "serif": "ABDEFHIKLMPRTUVWXY",
    "crossbar": "ABEFHPR",
}
ENDS_BELOW, ENDS_ABOVE, LEFT_STEM = "AFHIKMPRTXY", "HIKUVWXY", "BDEL"
TABLE = Path(__file__).with_name("letter_factors.json")
FAINT = 0.02  # ink below this is the paper's


def letter_factors(images: Tensor, y: Tensor) -> Tensor:
    """Measure letters, each factor in its own unit.

    Args:
        images: (n, channels, side, side) in [-1, 1]: A–Z, dark on white, cap height and baseline as the renders have.
        y: (n,) which letter of A–Z each shows.

    Returns:
        (n, 6) float32, columns as `LETTER_FACTORS`: thickness of the strokes, shear, width without shear, logarithm of
        thick over thin, how far strokes spread at their ends, height of the crossbar. Lengths are in cap heights. A
        factor that is not `SEEN_IN` the letter is 0.
    """
    ink = ((1 - images.float().mean(dim=1)) / 2 - FAINT).clamp(min=0) / (1 - FAINT)
    side = ink.shape[-1]
    cap = (BASELINE - TOP) * side
    area = ink.sum(dim=(1, 2)).clamp(min=1e-3)
    # A hairline thinner than a pixel is grey; its edges are as long as those of a black one.
    peak = ink.flatten(1).amax(dim=1).clamp(min=1e-3)
    across, down = F.pad(ink, (0, 1)).diff(dim=2), F.pad(ink, (0, 0, 0, 1)).diff(dim=1)
    # A stroke of length L and thickness t has area L t and, being long, edges 2 L; |∇ink| sums to their length.
    edges = (across.square() + down.square() + 1e-10).sqrt().sum(dim=(1, 2)).clamp(min=1e-3)
    weight = 2 * area * peak / edges

    place = torch.arange(side, dtype=ink.dtype, device=ink.device)
    columns, rows = ink.sum(dim=1), ink.sum(dim=2)
    x, r = (columns @ place / area)[:, None], (rows @ place / area)[:, None]
    var_x = (columns * (place - x).square()).sum(dim=1) / area
    var_r = ((rows * (place - r).square()).sum(dim=1) / area).clamp(min=1e-3)
    covariance = ((ink @ place - x * rows) * (place - r)).sum(dim=1) / area
    # Shearing by s adds s times the variance of the height to the covariance, and leaves what width² it has without.
    slant = -covariance / var_r
    width = 12**0.5 * (var_x - covariance.square() / var_r).clamp(min=0).sqrt()

    def span(low: float, high: float) -> slice:
        """Rows between two heights, in cap heights above the baseline."""
        return slice(round((BASELINE - high * 0.6) * side), round((BASELINE - low * 0.6) * side))

    # Mean run of ink in a row: its ink over half the sum of its steps. Stems cross rows, and bars and bows columns.
    inside = span(0.05, 0.95)
    stem = _short_run(rows[:, inside], across.abs().sum(dim=2)[:, inside])
    bar = _short_run(columns, down.abs().sum(dim=1))
    contrast = (stem / bar).log()

    above, below = span(0.94, 1.01), span(-0.01, 0.06)
    widest_below = rows[:, below].amax(dim=1) - rows[:, span(0.18, 0.26)].mean(dim=1)
    widest_above = rows[:, above].amax(dim=1) - rows[:, span(0.74, 0.82)].mean(dim=1)
    # White in a row before its first half pixel of ink; a straight stem's is on a line, serifs stand out to its left.
    left = (1 - (ink.cumsum(dim=2) / 0.5).clamp(max=1)).sum(dim=2)
    low, high = left[:, span(0.15, 0.25)].mean(dim=1), left[:, span(0.75, 0.85)].mean(dim=1)
    slope = (low - high) / 0.6
    stands_out = low + 0.2 * slope - left[:, below].amin(dim=1) + high - 0.2 * slope - left[:, above].amin(dim=1)
    where = torch.tensor([[letter in ends for ends in (ENDS_BELOW, ENDS_ABOVE, LEFT_STEM)] for letter in LETTERS])
    y = y.to(ink.device)
    serif = (where.to(ink)[y] * torch.stack((widest_below, widest_above, stands_out), dim=1)).sum(dim=1)

    middle = span(0.2, 0.8)
    excess = (rows[:, middle] - rows[:, middle].median(dim=1, keepdim=True).values).clamp(min=0).square() + 1e-6
    centre = (excess * place[middle]).sum(dim=1) / excess.sum(dim=1)
    crossbar = (BASELINE * side - centre - 0.5) / cap

    values = torch.stack((weight / cap, slant, width / cap, contrast, serif / cap, crossbar), dim=1)
    return torch.where(seen_in().to(ink.device)[y], values, 0.0)


def seen_in() -> Tensor:
    """(26, 6) whether a factor can be seen in a letter."""
    return torch.tensor([[letter in SEEN_IN[name] for name in LETTER_FACTORS] for letter in LETTERS])


def _short_run(ink: Tensor, steps: Tensor) -> Tensor:
    """Lower quartile over the rows that have ink of the mean run in a row: (n, rows), (n, rows) to (n,), in pixels."""
    runs = torch.where(steps > 0.3, 2 * ink / steps.clamp(min=1e-3), torch.nan)
    # Not the median: in bold letters the rows of a bar and the columns of a stem, with their long runs, are the more.
    return runs.nanquantile(0.25, dim=1).nan_to_num(1.0).clamp(min=0.3)


class LetterJudge:
    """Judges letters by `letter_factors`, each against the same letter in the data; a `Judge` as the factor table asks.

    Args:
        means: (26, 6), of each letter and factor over the typefaces of the data.
        deviations: (26, 6), standard deviations likewise; 1 where a factor cannot be seen.

    Attributes:
        names: The factors.
        spread: Variance of each factor over the data, as `read` gives it: the share of letters in which it is seen.
        periods: None of them lies on a circle.
    """

    names: tuple[str, ...] = LETTER_FACTORS
    spread: Mapping[str, float] = {name: len(letters) / len(LETTERS) for name, letters in SEEN_IN.items()}
    periods: Mapping[str, float] = {}

    def __init__(self, means: Tensor, deviations: Tensor) -> None:
        self.means, self.deviations = means, deviations

    @torch.no_grad()
    def read(self, images: Tensor, y: Tensor | None) -> Tensor:
        """Read images.

        Args:
            images: (n, 3, side, side) in [-1, 1].
            y: (n,) which letter each shows.

        Returns:
            (n, 6): each factor in standard deviations from the letter's mean over the data, 0 where it is not seen.
        """
        assert y is not None, "letters are classes"
        index = y.cpu()
        parts = zip(images.split(512), index.split(512), strict=True)
        return torch.cat([self.standard(letter_factors(*part).cpu(), part[1]) for part in parts])

    def standard(self, values: Tensor, y: Tensor) -> Tensor:
        """Turn factors (n, 6) of letters (n,) into standard deviations from the letter's mean, 0 where not seen."""
        return (values - self.means[y]) / self.deviations[y] * seen_in()[y]

    @classmethod
    def of(cls, values: Tensor, y: Tensor) -> LetterJudge:
        """Make the judge of a data set from its factors (n, 6) and letters (n,)."""
        parts = [values[y == index] for index in range(len(LETTERS))]
        means = torch.stack([part.mean(dim=0) for part in parts])
        deviations = torch.stack([part.std(dim=0) for part in parts])
        return cls(means, torch.where(seen_in(), deviations, 1.0))


def load_letter_judge() -> LetterJudge:
    """Load the judge of letters, with the table of the package."""
    table = json.loads(TABLE.read_text())
    values = torch.tensor([[table[letter].get(name, [0.0, 1.0]) for name in LETTER_FACTORS] for letter in LETTERS])
    return LetterJudge(*values.unbind(-1))
