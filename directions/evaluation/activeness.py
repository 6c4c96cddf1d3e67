"""What each direction does: how much it changes the image, how far it may go, its share of the penalty."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import torch
from torch import Tensor

from directions.basis import SearchSpace
from directions.device import full_float32
from directions.generators.base import Generator
from directions.generators.layers import LayerRange, edited_images
from directions.generators.progan import ProGAN
from directions.held_out import HeldOutSet
from directions.penalty import symmetric_sums
from directions.ranks import Ranks
from directions.sampling import derived_rng, draw_points, image_map

CARRIED = 0.95

_DRAWS = 20_000  # of z, for its deviation

_STAGES = 4
_STILL_CHANGING = 0.25  # of the fastest stage's rate; well above the noise of the mean, well below a visible slowdown


@torch.no_grad()
def activeness(
    generator: Generator,
    basis: Tensor,
    *,
    samples: int = 300,
    classes: Sequence[int] = (),
    truncation: float = 1.0,
    layers: LayerRange | None = None,
    seed: int = 0,
    rows: int = 64,
    count: Callable[[int], object] = lambda images: None,
) -> Tensor:
    r"""Measure how much the image varies along each direction.

    For a direction q and a sample z, the coordinate of z along q is set to −2t, 0 and 2t, with t the truncation (for
    t = 1, two standard deviations of the prior to either side), that is, images are made at z − (z·q)q + c·q. The
    activeness is the variance (unbiased) of each pixel over these three, averaged over pixels, channels and samples.
    For a z axis this is what the paper's code computes for a component of z.

    Args:
        generator: In eval mode.
        basis: Orthonormal rows, (ndirs, |z|).
        samples: Number of samples; the same for each direction. The paper takes 300.
        classes: Class indices that samples are drawn from, uniformly; empty for a generator without classes.
        truncation: Spread of z and the generator's setting, in (0, 1].
        layers: The layers that see the z with another coordinate, the others see z; ``None`` is all.
        seed: Seed of the samples.
        rows: Images to make at once, at most; at least three are.
        count: Called with the number of images that were just made (a progress bar).

    Returns:
        (ndirs,) float64, in units of image². Images are in [−1, 1].

    References:
        Peebles et al. 2020, arXiv:2008.10599, section 4.
    """
    rng = derived_rng(seed, purpose="activeness")
    points = draw_points(generator, samples, rng, classes=tuple(classes), truncation=truncation)
    basis = basis.to(points.z)
    coordinates = points.z.new_tensor([-2.0, 0.0, 2.0]) * truncation
    chunk = max(1, rows // len(coordinates))
    totals = torch.zeros(len(basis), dtype=torch.float64)
    for start in range(0, samples, chunk):
        part = points[start : start + chunk]
        make_images = edited_images(generator, part.z, part.y, layers=layers, truncation=truncation)
        for index, direction in enumerate(basis):
            centred = part.z - torch.outer(part.z @ direction, direction)
            images = make_images((centred + coordinates[:, None, None] * direction).flatten(0, 1))
            count(len(images))
            variance = images.double().unflatten(0, (len(coordinates), len(part))).var(dim=0)
            totals[index] += variance.flatten(1).mean(dim=1).sum().cpu()
    return totals / samples


@dataclass(frozen=True)
class ComponentActiveness:
    """Activeness of the components of z.

    Attributes:
        values: Of each component, in units of image²; images are in [−1, 1].
    """

    values: tuple[float, ...]

    @property
    def order(self) -> tuple[int, ...]:
        """The components, most active first; of equal ones the first first."""
        return tuple(sorted(range(len(self.values)), key=lambda i: -self.values[i]))

    @property
    def carrying(self) -> int:
        """The smallest number of components that have 95 % of the activeness of all; 0 if nothing is active."""
        return components_carrying(self.values)

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain JSON types."""
        return {"carrying_95": self.carrying, "order": list(self.order), "activeness": list(self.values)}


def component_activeness(
    generator: Generator, *, samples: int = 300, progan_normalised_from: int = 12, **settings: Any
) -> ComponentActiveness:
    """Measure the activeness of each component of z, as the paper's code does.

    For each of 300 latents the component is set to −2, 0 and 2, the others staying as they are; activeness is the
    variance of the three images (unbiased), averaged over pixels and latents. The latents of a ProGAN are normalised
    before and not after, as by the paper's ``figures.py`` (else the others would not stay); below 12 components, where
    it advises ``--interpolate_pre_norm``, components are set in the latents as drawn.

    Args:
        generator: In eval mode.
        samples: Number of latents.
        progan_normalised_from: Components from which on those of a ProGAN are set behind its normalisation.
        **settings: Classes, truncation, seed, rows and count, as for `activeness`.

    Returns:
        The activeness of each component.
    """
    if isinstance(generator, ProGAN) and generator.dim_z >= progan_normalised_from:
        generator = generator.after_norm()
    measured = activeness(generator, torch.eye(generator.dim_z), samples=samples, **settings)
    return ComponentActiveness(tuple(measured.tolist()))


def components_carrying(values: Sequence[float], share: float = CARRIED) -> int:
    """Count the components that carry a share of the activeness.

    Args:
        values: Activeness of each component, not negative.
        share: The share of the sum wanted, in (0, 1].

    Returns:
        The smallest number of components, most active first, whose activeness adds up to it; 0 if all are 0.

    Example:
        >>> components_carrying([0.0, 6.0, 1.0, 3.0], share=0.9)
        2
    """
    wanted, total = share * sum(values), 0.0
    for number, value in enumerate(sorted(values, reverse=True)):
        # By less than rounding: 95 of 100 equal components carry 95 %.
        if total >= wanted * (1 - 1e-12):
            return number
        total += value
    return len(values)


def prior_radius(
    generator: Generator, truncation: float = 1.0, *, space: SearchSpace | None = None, likely: float = 0.95
) -> float:
    r"""Return how far z may go along one direction and still be where the prior draws.

    Along n orthonormal directions a draw has n coordinates; how far z may go is what the largest of them reaches in
    all but a share of the draws: beyond that, the prior hardly ever goes, along whichever direction. Coordinates along
    directions other than the axes are sums of many components, and nearly normal with the prior's deviation σ, which
    gives :math:`σ\,Φ^{-1}\bigl((1 + p^{1/n})/2\bigr)`. The length of z alone would allow more where z is long: its
    square varies by :math:`\sqrt{2n}`, so that one coordinate could take up what the others leave.

    Args:
        generator: Draws z.
        truncation: Spread of z, in (0, 1].
        space: The components of z that are moved; ``None`` is all.
        likely: Share p of the draws that stay within it along all directions.

    Returns:
        Distance in units of z. For the normal prior 2.86 for 12 dimensions, 3.47 for 100; for the one that is cut off
        at 2, 2.52 for 12.
    """
    z = generator.sample_z_from(_DRAWS, derived_rng(0, purpose="prior radius"), truncation).double()
    z = z if space is None else z[:, space.start : space.stop]
    deviation = float(z.square().mean().sqrt())
    return deviation * NormalDist().inv_cdf((1 + likely ** (1 / z.shape[1])) / 2)


@torch.no_grad()
def suggested_path_sizes(
    generator: Generator,
    basis: Tensor,
    *,
    largest: float,
    samples: int = 16,
    classes: Sequence[int] = (),
    truncation: float = 1.0,
    layers: LayerRange | None = None,
    space: SearchSpace | None = None,
    seed: int = 0,
) -> tuple[float, ...]:
    """Suggest how far to move along each direction.

    The longest is the smaller of `prior_radius` and ``largest``. It is cut into four stages. From a z without its
    part along the direction, images are made at the ends of the stages, to either side, and a stage's rate is the root
    mean square difference of its two images. Stages at the end that change the image less than a quarter as fast as the
    fastest stage are left out: there the image is saturated.

    Args:
        generator: In eval mode.
        basis: Orthonormal rows, (ndirs, |z|).
        largest: Upper limit, in units of z; discovery gives the distance it trained for.
        samples: Number of samples; the same for each direction.
        classes: Class indices that samples are drawn from, uniformly; empty for a generator without classes.
        truncation: Spread of z and the generator's setting, in (0, 1].
        layers: The layers that see the moved z, the others see z; ``None`` is all.
        space: The components of z that directions use; ``None`` is all.
        seed: Seed of the samples.

    Returns:
        A path size for each direction, in units of z, rounded to 0.01.
    """
    rng = derived_rng(seed, purpose="path size")
    points = draw_points(generator, samples, rng, classes=tuple(classes), truncation=truncation)
    basis = basis.to(points.z)
    limit = min(largest, prior_radius(generator, truncation, space=space))
    amounts = torch.linspace(-limit, limit, 2 * _STAGES + 1).to(points.z)
    squared = torch.zeros(len(basis), 2 * _STAGES, dtype=torch.float64)
    for sample in range(samples):
        point = points[sample : sample + 1]
        make_images = edited_images(generator, point.z, point.y, layers=layers, truncation=truncation)
        for index, direction in enumerate(basis):
            centred = point.z - (point.z @ direction) * direction
            images = make_images(centred + amounts[:, None] * direction).double()
            squared[index] += images.diff(dim=0).square().flatten(1).mean(dim=1).cpu()
    rates = (squared[:, _STAGES:] + squared[:, :_STAGES].flip(1)).sqrt()
    changing = rates >= _STILL_CHANGING * rates.amax(dim=1, keepdim=True)
    return tuple(round(limit * (int(row.nonzero()[-1]) + 1) / _STAGES, 2) for row in changing)


@torch.no_grad()
def penalty_shares(
    generator: Generator, basis: Tensor, held_out: HeldOutSet, *, num_probes: int = 1, ranks: Ranks | None = None
) -> Tensor:
    r"""Divide the off-diagonal curvature :math:`\sum_{a≠b} H_{ab}^2` among the directions that take part in it.

    Direction i takes part with :math:`\sum_{j≠i} H_{ij}^2`; each pair of directions thus counts half for either. To see
    that sum without the whole Hessian, one sign of a probe v is flipped: with :math:`v'` equal to v but for
    :math:`v'_i = -v_i`,

    .. math:: \tfrac14 (v^\top H v - v'^\top H v') = v_i \sum_{j≠i} H_{ij} v_j,

    whose square has that sum as its mean over v. The second differences are those of the penalty, with the same
    epsilon, so kinks count here as they do there. It costs 2(ndirs + 1) images per probe and place.

    Args:
        generator: In eval mode.
        basis: Orthonormal rows, (ndirs, |z|).
        held_out: Places, epsilon and probes.
        num_probes: Probes per place, at most those of the held-out set.
        ranks: Those that share the places; ``None`` is this process alone.

    Returns:
        (ndirs,) float64, not negative, with sum 1; all equal when there is no penalty at all.
    """
    ranks = ranks or Ranks()
    ndirs = len(basis)
    basis = basis.to(held_out.points.z)
    w, all_probes = held_out.steps(basis), held_out.probes(basis)
    # Row 0 leaves the probe as it is, row i + 1 flips the sign of direction i.
    flips = torch.cat((torch.ones(1, ndirs), 1 - 2 * torch.eye(ndirs))).to(basis)
    energies: list[Tensor] = []  # (probes, ndirs) for each place
    with full_float32():
        for place in ranks.share(range(len(w))):
            step, point = w[place : place + 1], held_out.points[place : place + 1]
            f = image_map(generator, point, basis, held_out.truncation, held_out.layers)
            rows = []
            for probe in all_probes[:num_probes, place]:
                parts = (flips * probe).unsqueeze(1).split(max(2, held_out.rows // 2))
                sums = [symmetric_sums(f, step, part, held_out.epsilon)[0] for part in parts]
                squares = [(part - sums[0][0]).double().square().flatten(1).mean(dim=1).cpu() for part in sums]
                rows.append(torch.cat(squares)[1:])
            energies.append(torch.stack(rows))
    energy = torch.zeros(ndirs, dtype=torch.float64)
    for row in torch.cat(ranks.collect(energies)):
        energy += row
    # The factors 1/4 and 1/epsilon² are the same for all.
    total = energy.sum()
    return energy / total if total > 0 else torch.full_like(energy, 1 / ndirs)
