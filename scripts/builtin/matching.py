"""What a generator is asked to share with its data, beyond what its opponents see: texture, colours, factors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from images import Images
from torch import Tensor
from torch.nn import functional as F

from directions.evaluation.letter_factors import LETTER_FACTORS, LetterJudge, letter_factors, seen_in
from directions.sampling import derived_rng

if TYPE_CHECKING:
    from train import Settings

GREY_LEVELS = 127.5
RECENT = 40  # steps among whose factors those of a new one are ranked


class TextureMatching:
    """How far the texture of generated images is from that of real ones: feature matching on the finest scale.

    A grid that stays at the same pixels shows in the mean, grain in the mean square. The discriminator, smooth by its
    spectral norm, gives a weak gradient for either; this gives a direct one.

    References:
        Salimans et al. 2016, arXiv:1606.03498, section 3.1 (feature matching).
    """

    recent: Sequence[Tensor] = ()  # what a resumed run must know

    def __init__(self, data: Images, settings: Settings) -> None:
        sums = data.measured(lambda images, y: texture(images)[None] * len(images))
        self.wanted = sums.sum(dim=0) / len(data)

    def __call__(self, images: Tensor, y: Tensor) -> Tensor:
        """Compare images of any number."""
        (mean, square), (wanted_mean, wanted_square) = texture(images), self.wanted
        return (mean - wanted_mean).square().mean() + ((square - wanted_square).abs() / (wanted_square + 1)).mean()


def texture(images: Tensor) -> Tensor:
    """Mean and mean square, pixel by pixel, of images less their mean over 3 by 3 pixels: (2, channels, h, w)."""
    padded = F.pad(images, (1, 1, 1, 1), mode="replicate")
    residual = (images - F.avg_pool2d(padded, 3, stride=1)) * GREY_LEVELS
    return torch.stack((residual.mean(dim=0), residual.square().mean(dim=0)))


class ColourMatching:
    """Squared sliced Wasserstein distance between two sets of mean colours, in variances of the real one.

    The tails of a distribution are what a small generator leaves out first. Here each image is held against the real
    one of its rank, so that the extremes are asked for.

    References:
        Bonneel et al. 2015, doi:10.1007/s10851-014-0506-3.
    """

    recent: Sequence[Tensor] = ()

    def __init__(self, data: Images, settings: Settings) -> None:
        self.real = data.measured(lambda images, y: chroma(images))

    def __call__(self, images: Tensor, y: Tensor) -> Tensor:
        """Compare images of any number."""
        fake, real = chroma(images), self.real
        ranks = (torch.arange(len(fake), dtype=real.dtype) + 0.5) / len(fake)
        wanted = torch.quantile(real, ranks, dim=0)
        return ((fake.sort(dim=0).values - wanted).square().mean(dim=0) / real.var(dim=0)).mean()


def chroma(images: Tensor, angles: int = 8) -> Tensor:
    """Mean colour of each image without its brightness, projected on axes around half a turn of the colour circle."""
    red, green, blue = (images.mean(dim=(2, 3)) * GREY_LEVELS).unbind(dim=1)
    plane = torch.stack(((2 * red - green - blue) / 6**0.5, (green - blue) / 2**0.5), dim=1)
    angle = torch.arange(angles) * (torch.pi / angles)
    return plane @ torch.stack((angle.cos(), angle.sin()))


class FactorMatching:
    """Each factor of letters against the data's, and its difference between two letters of one z against a face's.

    The first asks for the spread, tails too, which a small generator leaves out; the second that it comes from z.

    Args:
        data: Letters.
        settings: ``together`` letters of one z follow one another; ``agree`` is what part of the data's differences is
            asked for.
    """

    def __init__(self, data: Images, settings: Settings) -> None:
        values = data.measured(letter_factors)
        self.judge, self.together = LetterJudge.of(values, data.labels), settings.together
        standard = self._standard(values, data.labels)
        others = data.of_same_face(torch.arange(len(data)), derived_rng(0, 0, "pairs"))
        # The height of a crossbar is more the letter's than the face's, in the data too.
        agree = torch.tensor([1.0 if name == "crossbar" else settings.agree for name in LETTER_FACTORS])
        differences = (standard - standard[others]) * agree
        self.wanted = [standard, differences] if self.together > 1 else [standard]
        self.recent = [values[:0] for _ in self.wanted]

    def __call__(self, images: Tensor, y: Tensor) -> Tensor:
        """Squared Wasserstein distances, one for each factor, in variances of the data's; the mean of those."""
        values = self._standard(letter_factors(images, y), y)
        pairs = values.unflatten(0, (-1, self.together))
        total = values.new_zeros(())
        for index, now in enumerate([values, pairs[:, 0] - pairs[:, -1]][: len(self.wanted)]):
            self.recent[index] = torch.cat((self.recent[index], now.detach()))[-RECENT * len(now) :]
            columns = zip(now.unbind(1), self.recent[index].unbind(1), self.wanted[index].unbind(1), strict=True)
            for column in columns:
                own, among, wanted = (values[~values.isnan()] for values in column)
                if len(own) and len(among) >= RECENT:  # a crossbar is seldom in both letters
                    total = total + rank_matching(own, among, wanted)
        return total / values.shape[1]

    def _standard(self, values: Tensor, y: Tensor) -> Tensor:
        """In standard deviations over the letters of the data, NaN where a letter does not show the factor."""
        return torch.where(seen_in()[y], self.judge.standard(values, y).clamp(-5, 5), torch.nan)


def rank_matching(values: Tensor, among: Tensor, data: Tensor) -> Tensor:
    """Squared Wasserstein distance between two sets of numbers: each against the one of the data at its rank.

    Args:
        values: (n,), what to differentiate for.
        among: (m,), of which they are a part; a few values alone would be ranked by chance.
        data: (N,).

    Returns:
        The mean, weighted by how much the set lacks in spread.
    """
    ranks = (among < values.detach()[:, None]).double().mean(dim=1)
    wanted = data.sort().values[(ranks * len(data)).long()]
    # Opponents pull to the middle; with one weight for all, what a generator finds hard would stay half as wide.
    tenths = torch.tensor((0.1, 0.9))  # without the tails, where a stain is read as a crossbar
    lack = (data.quantile(tenths).diff() / among.quantile(tenths).diff()).clamp(1, 2) ** 2
    return lack[0] * (values - wanted).square().mean()
