"""What each direction does: how much it changes the image, whether by itself, how far it may go, its penalty share."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from statistics import NormalDist
from typing import Any

import torch
from torch import Tensor

from directions.basis import SearchSpace, check_orthonormal
from directions.device import full_float32
from directions.errors import NonFiniteError, UserError
from directions.generators.base import Generator, LayerRange, edited_images
from directions.generators.progan import ProGAN
from directions.held_out import HeldOutSet
from directions.joint.measure import difference_entries, evaluations_at
from directions.penalty import symmetric_sums
from directions.ranks import Ranks
from directions.sampling import derived_rng, draw_points, image_map

CARRIED = 0.95

FLOOR = 1e-3
"""Curvature, in image / latent², below which an output is taken for flat: half of it, the change of the second order
over a step of 1, is less than a tenth of a grey level of 255; and it is far above rounding in float32."""

_DRAWS = 20_000  # of z, for its deviation

_STAGES = 4
_STILL_CHANGING = 0.25  # of the fastest stage's rate; well above the noise of the mean, well below a visible slowdown


def require_basis(generator: Generator, basis: Tensor) -> None:
    """Check what is handed over from outside: orthonormal rows as wide as z.

    Raises:
        UserError: If it is something else.
    """
    if reason := check_orthonormal(basis):
        raise UserError(f"basis must have orthonormal rows: {reason}")
    if basis.shape[1] != generator.dim_z:
        width = basis.shape[1]
        raise UserError(f"basis must be as wide as the generator's z, {generator.dim_z}, got width {width}.")


@torch.no_grad()
def activeness(
    generator: Generator, basis: Tensor, *, samples: int = 300, classes: Sequence[int] = (), truncation: float = 1.0,
    layers: LayerRange | None = None, seed: int = 0, rows: int = 64,
    count: Callable[[int], object] = lambda images: None,
) -> Tensor:  # fmt: skip
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

    Raises:
        NonFiniteError: If images hold NaN or infinity.

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
    if not bool(totals.isfinite().all()):
        raise NonFiniteError("The images along the directions hold NaN or infinity. Use other weights.")
    return totals / samples


def component_activeness(
    generator: Generator, *, samples: int = 300, progan_normalised_from: int = 12, **settings: Any
) -> dict[str, Any]:
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
        ``activeness`` of each component, in units of image²; their ``order``, the most active first; ``carrying_95``,
        `components_carrying`.
    """
    if isinstance(generator, ProGAN) and generator.dim_z >= progan_normalised_from:
        generator = generator.after_norm()
    values = activeness(generator, torch.eye(generator.dim_z), samples=samples, **settings)
    order = values.argsort(descending=True, stable=True).tolist()
    return {"carrying_95": components_carrying(values.tolist()), "order": order, "activeness": values.tolist()}


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
    sums = torch.tensor([0.0, *sorted(values, reverse=True)], dtype=torch.float64).cumsum(dim=0)
    # By less than rounding: 95 of 100 equal components carry 95 %.
    return int((sums < share * sums[-1] * (1 - 1e-12)).sum())


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
    generator: Generator, basis: Tensor, *, largest: float, samples: int = 16, classes: Sequence[int] = (),
    truncation: float = 1.0, layers: LayerRange | None = None, space: SearchSpace | None = None, seed: int = 0,
    count: Callable[[int], object] = lambda images: None,
) -> tuple[float, ...]:  # fmt: skip
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
        count: Called with the number of images that were just made (a progress bar).

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
            count(len(images))
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
    for row in torch.cat(ranks.collect(energies)):  # one by one: the sum is the same however many ranks there are
        energy += row
    total = energy.sum()  # the factors 1/4 and 1/epsilon² are the same for all
    return energy / total if total > 0 else torch.full_like(energy, 1 / ndirs)


def diagonalness_evaluations(ndirs: int, samples: int) -> int:
    """Return the number of images that `diagonalness` makes: 2 ndirs² + 1 for each sample."""
    return samples * evaluations_at(ndirs, "differences", 0)


@torch.no_grad()
def diagonalness(
    generator: Generator, basis: Tensor, *, samples: int = 16, step: float = 0.1, classes: Sequence[int] = (),
    truncation: float = 1.0, layers: LayerRange | None = None, seed: int = 0, rows: int = 64, floor: float = FLOOR,
    count: Callable[[int], object] = lambda images: None,
) -> dict[str, float]:  # fmt: skip
    """Measure the Hessian of every pixel at some samples, and say how nearly diagonal they are, whatever their size.

    The Hessians are those of w ↦ G(z + wQ) at w = 0, by finite differences of images, at z drawn from the prior. It
    takes 2 ndirs² + 1 images a sample: 289 for 12 directions, 32,769 for 128. To look at a part of many directions,
    give the rows that matter: their Hessian is a block of the whole one.

    Args:
        generator: In eval mode.
        basis: Orthonormal rows, (ndirs, |z|), at least 2; ``torch.eye(|z|)`` for the components of z.
        samples: Number of places.
        step: Finite-difference step, in latent units; on a network with kinks the scale on which curvature is measured.
            The penalty's epsilon by default.
        classes: Class indices that samples are drawn from, uniformly; empty for a generator without classes.
        truncation: Spread of z and the generator's setting, in (0, 1].
        layers: The layers that see the moved z, the others see z; ``None`` is all.
        seed: Seed of the samples.
        rows: Images to make at once, at most; at least four are.
        floor: Outputs whose largest absolute entry is below this do not count for the share, in image / latent².
        count: Called with the number of images that were just made (a progress bar).

    Returns:
        ``share``: of the outputs that bend, the share whose entry of largest absolute value is on the diagonal (outputs
        that hardly bend, such as a pixel of the background, have no largest entry to speak of but rounding); NaN if
        none bends. ``chance``: that share for symmetric matrices of independent entries of one spread. ``ratio``: mean
        absolute diagonal entry over the mean absolute other one; infinite if all others are 0, NaN if all entries are.
        ``mean_diagonal`` and ``mean_off_diagonal``: these two, in image / latent². ``counted``: the share of the
        outputs that bend. And ``ndirs``, ``samples``, ``step``.

    Raises:
        UserError: If the rows are not orthonormal or not as wide as z.
        NonFiniteError: If the images hold NaN or infinity.
    """
    require_basis(generator, basis)
    ndirs = len(basis)
    rng = derived_rng(seed, purpose="diagonalness")
    points = draw_points(generator, samples, rng, classes=tuple(classes), truncation=truncation)
    sums = torch.zeros(2, dtype=torch.float64)  # of absolute entries on and off the diagonal
    outputs = bending = on_diagonal = 0
    for sample in range(samples):
        make_images = image_map(generator, points[sample : sample + 1], basis.to(points.z), truncation, layers)

        def f(w: Tensor, make_images: Callable[[Tensor], Tensor] = make_images) -> Tensor:
            images = make_images(w)
            count(len(images))
            return images

        totals, largest = _sizes(f, points.z.new_zeros(1, ndirs), step, rows)
        if not bool(totals.isfinite().all()):
            raise NonFiniteError(
                "The images around a sample hold NaN or infinity. Use a smaller truncation or other weights."
            )
        bends = largest.amax(dim=0) >= floor
        sums += totals.sum(dim=1).cpu()
        outputs += len(bends)
        bending += int(bends.sum())
        on_diagonal += int((bends & (largest[0] > largest[1])).sum())
    mean_on, mean_off = float(sums[0]) / (outputs * ndirs), float(sums[1]) / (outputs * ndirs * (ndirs - 1))
    return {
        "share": on_diagonal / bending if bending else math.nan,
        "ratio": mean_on / mean_off if mean_off else (math.inf if mean_on else math.nan),
        "mean_diagonal": mean_on,
        "mean_off_diagonal": mean_off,
        "counted": bending / outputs,
        "chance": 2 / (ndirs + 1),
        "ndirs": ndirs,
        "samples": samples,
        "step": step,
    }


def _sizes(f: Callable[[Tensor], Tensor], w: Tensor, step: float, rows: int) -> tuple[Tensor, Tensor]:
    """Return sum and maximum of each output's absolute entries, (2, outputs) float64 each: on the diagonal, and off."""
    first, second = torch.triu_indices(w.shape[1], w.shape[1], device=w.device)
    totals: list[Any] = [0.0, 0.0]
    largest: list[Any] = [torch.zeros(()), torch.zeros(())]
    with full_float32():
        for part, entries in difference_entries(f, w, step=step, rows=rows):
            off = int(first[part[0]] != second[part[0]])
            sizes = entries.double().abs() / (2**0.5 if off else 1.0)  # half-vectors have others times √2
            totals[off] = totals[off] + sizes.sum(dim=0) * (1 + off)  # each above the diagonal has one below it
            largest[off] = torch.maximum(largest[off].to(sizes), sizes.amax(dim=0))
    return torch.stack(totals), torch.stack(largest)
