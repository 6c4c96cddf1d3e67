"""Measure Hessians or Jacobian matrices at many base points, in a stream that can be stopped and taken up again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor

from directions.device import full_float32
from directions.errors import NonFiniteError
from directions.generators.base import Generator
from directions.joint.moments import Moments, half_size, half_vectors
from directions.penalty import symmetric_sums
from directions.ranks import Ranks
from directions.sampling import Points, derived_rng, draw_points, image_map
from directions.search import Search
from directions.settings.discover import DiscoverConfig

Kind = Literal["differences", "gradients", "jacobian"]

# Largest space that is measured by differences unless asked otherwise: 1153 evaluations a base point.
_DIFFERENCES_UP_TO = 24


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """Where and how matrices are measured.

    Attributes:
        config: Truncation, path size, by up to which base points are moved, and epsilon.
        search: The components of z that directions may use, classes and layers.
        kind: Hessians by ``"differences"`` of images, for all outputs, or by ``"gradients"``, for random combinations
            of them; ``"jacobian"``: JᵀJ by differences of images.
        base_points: Number of base points.
        output_probes: Combinations of the outputs at each base point; for gradients only.
        seed: Seed of base points and combinations.
    """

    config: DiscoverConfig
    search: Search
    kind: Kind
    base_points: int
    output_probes: int
    seed: int

    @property
    def size(self) -> int:
        """Number of components of the searched space."""
        return self.search.space.size

    @property
    def step(self) -> float:
        r"""Finite-difference step h along an axis of z, in units of z: on the scale on which the penalty looks.

        The difference of the penalty's second differences along two sign vectors is a mixed one along half of the
        coordinates each, vectors of length :math:`ε\sqrt{n/2}`; the mixed difference along two axes has two of length
        h.
        """
        return self.config.epsilon * (self.size / 2) ** 0.5

    @property
    def rows(self) -> int:
        """Images to make at once, at most."""
        return 2 * self.config.num_probes * (self.config.micro_batch or self.config.batch_size)

    @property
    def evaluations(self) -> int:
        """Passes through the generator for one image, forward or backward, in all."""
        return self.base_points * evaluations_at(self.size, self.kind, self.output_probes)

    def report(self) -> dict[str, Any]:
        """Return what the direction file keeps of the measurement, as plain JSON types."""
        return {
            "base_points": self.base_points,
            "measurement": self.kind,
            "output_probes": self.output_probes if self.kind == "gradients" else None,
            "step": self.step,
            "evaluations": self.evaluations,
        }


def planned_measurement(config: DiscoverConfig, search: Search, kind: Kind | None = None) -> Measurement:
    """Fill in what a configuration leaves to the searched space.

    Args:
        config: Base points, output probes, way of measuring; sampling and epsilon are those of the penalty.
        search: The searched space and the classes.
        kind: What to measure; ``None`` as the configuration says.

    Returns:
        Where and how matrices will be measured.
    """
    if kind is None:
        kind = suggested_kind(search.space.size) if config.measurement == "auto" else config.measurement
    counts = {"base_points": config.base_points, "output_probes": config.output_probes}
    return Measurement(config=config, search=search, kind=kind, seed=config.seed, **counts)


def planned_measurements(config: DiscoverConfig, search: Search) -> dict[str, Measurement]:
    """Fill in what is measured for a criterion.

    Args:
        config: As for `planned_measurement`; and the criterion.
        search: The searched space and the classes.

    Returns:
        A measurement each for ``"jacobian"`` and ``"hessian"``, or the one of them that the criterion looks at.
    """
    kinds: dict[str, Kind | None] = {"jacobian": "jacobian", "hessian": None}
    asked = [name for name in kinds if config.criterion in (name, "both")]
    found = {name: planned_measurement(config, search, kinds[name]) for name in asked}
    if config.criterion == "both":
        found["hessian"] = replace(found["hessian"], base_points=config.hessian_points or config.base_points)
    return found


def measurement_report(measurements: Mapping[str, Measurement]) -> dict[str, Any]:
    """Return what the direction file keeps of `planned_measurements`, as plain JSON types."""
    reports = [one.report() for one in measurements.values()]
    merged = reports[-1] | {name: sum(report[name] for report in reports) for name in ("base_points", "evaluations")}
    return merged | {"measurement": " and ".join(report["measurement"] for report in reports)}


def suggested_kind(size: int) -> Kind:
    """Return the way of measuring Hessians that is worth its cost in a space of ``size`` components."""
    return "differences" if size <= _DIFFERENCES_UP_TO else "gradients"


def measure(
    generator: Generator,
    measurement: Measurement,
    *,
    resume_from: Mapping[str, Any] | None = None,
    ranks: Ranks | None = None,
) -> Iterator[Moments]:
    """Measure the matrices, base point by base point; with several ranks, as many at a time.

    A base point's samples follow from the seed and its number alone, and matrices are added in the order of the
    base points: a measurement that is resumed or shared is the same bit by bit, as far as the machines round alike, and
    one with more base points begins with the same ones.

    Args:
        generator: Frozen and in eval mode.
        measurement: Where and how.
        resume_from: `Moments.state_dict` of an earlier measurement with the same settings; ``None`` starts anew.
        ranks: Those that share the base points; ``None`` is this process alone.

    Yields:
        The moments so far, at the start and after each round of a base point for every rank: always the same object,
        which changes.

    Raises:
        NonFiniteError: If a matrix holds NaN or infinity.
    """
    ranks = ranks or Ranks()
    each = {"differences": None, "gradients": measurement.output_probes, "jacobian": 1}[measurement.kind]
    moments = Moments(measurement.size, None if each is None else each * measurement.base_points)
    if resume_from is not None:
        moments.load_state_dict(resume_from)
    yield moments
    numbers = range(measurement.base_points)
    while moments.base_points < measurement.base_points:
        turn = numbers[moments.base_points : moments.base_points + ranks.world_size]
        measured = [moments.condense(measure_point(generator, measurement, number)) for number in ranks.share(turn)]
        for number, (count, entries) in zip(turn, ranks.collect(measured), strict=True):
            if not bool(entries.isfinite().all()):
                what = "Jacobian" if measurement.kind == "jacobian" else "Hessian"
                raise NonFiniteError(
                    f"The {what} at base point {number} is not finite. Stopped here. Make sure that the generator "
                    "computes in float32 and its weights are sound, or start a new run with a larger --epsilon."
                )
            moments.add_condensed(count, entries)
        yield moments


def measure_point(
    generator: Generator,
    measurement: Measurement,
    number: int,
    count: Callable[[int], object] = lambda images: None,
) -> Tensor:
    """Measure the matrices at one base point.

    Args:
        generator: Frozen and in eval mode.
        measurement: Where and how.
        number: Which base point, counted from 0.
        count: Called with the number of images after each batch of them; what it raises ends the measurement.

    Returns:
        (matrices, n(n+1)/2) half-vectors: Hessians of the outputs or of combinations of them, or the one JᵀJ over its
        trace, so that places where images change much do not outweigh the others.
    """
    points, w = draw_base_point(generator, measurement, number)
    search = measurement.search
    basis = search.space.embed(torch.eye(measurement.size).to(w))
    make_images = image_map(generator, points, basis, measurement.config.truncation, search.layers)

    def f(w: Tensor) -> Tensor:
        images = make_images(w)
        count(len(images))
        return images

    step, rows = measurement.step, measurement.rows
    with full_float32():
        if measurement.kind == "differences":
            return difference_hessians(f, w, step=step, rows=rows)
        if measurement.kind == "jacobian":
            M = jacobian_matrix(f, w, step=step, rows=rows)
            return half_vectors(M / M.trace().clamp_min(torch.finfo(M.dtype).tiny)).unsqueeze(0)
        rng = derived_rng(measurement.seed, number, "output probes")
        return gradient_hessians(f, w, num_probes=measurement.output_probes, step=step, rng=rng, rows=rows)


def draw_base_point(generator: Generator, measurement: Measurement, number: int) -> tuple[Points, Tensor]:
    """Draw a base point; it follows from the seed and its number alone.

    The paper's steps measure the penalty at a latent of the prior, moved by η ~ U[−path_size, path_size] along one of
    the directions that are being learned. Here a random direction of the searched space takes their place, so that
    what is measured does not depend on the basis that is sought.

    Args:
        generator: Knows its prior.
        measurement: Classes, truncation, path size, searched space, seed.
        number: Which one, counted from 0.

    Returns:
        A latent of the prior with its class, and the step from there in coordinates of the searched space, (1, size).
    """
    rng = derived_rng(measurement.seed, number, "base point")
    config = measurement.config
    points = draw_points(generator, 1, rng, classes=measurement.search.classes, truncation=config.truncation)
    direction = torch.randn(1, measurement.size, generator=rng, dtype=torch.float64)
    eta = config.path_size * (2 * torch.rand((), generator=rng, dtype=torch.float64) - 1)
    return points, (eta * direction / torch.linalg.vector_norm(direction)).to(points.z)


def evaluations_at(n: int, kind: Kind, output_probes: int) -> int:
    """Return the number of passes at a point in n dimensions, forward or backward, through one image each."""
    return {"differences": 2 * n * n + 1, "gradients": 2 * n * (1 + output_probes), "jacobian": 2 * n}[kind]


@torch.no_grad()
def difference_hessians(f: Callable[[Tensor], Tensor], w: Tensor, *, step: float, rows: int = 64) -> Tensor:
    r"""Measure the Hessian of each output by differences of outputs: for latents of few dimensions.

    Args:
        f: Map from (m, n) to (m, …), row by row.
        w: (1, n) the point.
        step: Finite-difference step h along each axis, in units of ``w``; like the penalty's epsilon, on a network
            with kinks it sets the scale on which curvature is measured.
        rows: Evaluations at once, at most; at least four are.

    Returns:
        (outputs, n(n+1)/2) half-vectors (`directions.joint.moments.half_vectors`), in float32 or wider.

    Example:
        >>> f = lambda w: 3 * w[:, :1] * w[:, 1:] + w[:, :1] ** 2
        >>> difference_hessians(f, torch.zeros(1, 2, dtype=torch.float64), step=0.5)  # √2 · 3 off the diagonal
        tensor([[2.0000, 4.2426, 0.0000]], dtype=torch.float64)
    """
    H: Tensor | None = None
    for part, entries in difference_entries(f, w, step=step, rows=rows):
        if H is None:
            H = entries.new_empty(half_size(w.shape[1]), entries.shape[1])
        H[part] = entries
    assert H is not None, "a point has at least one coordinate"
    return H.mT


@torch.no_grad()
def difference_entries(
    f: Callable[[Tensor], Tensor], w: Tensor, *, step: float, rows: int = 64
) -> Iterator[tuple[Tensor, Tensor]]:
    """Measure the Hessian of each output, some entries at a time: for who need not hold them all.

    Args:
        f: As for `difference_hessians`.
        w: (1, n) the point.
        step: Finite-difference step along each axis, in units of ``w``.
        rows: Evaluations at once, at most; at least four are.

    Yields:
        Places (some,) in the half-vector, and the entries there, (some, outputs); those of the diagonal come first,
        and a part never holds entries of both kinds.
    """
    n = w.shape[1]
    first, second = torch.triu_indices(n, n, device=w.device)
    axes = torch.eye(n, dtype=w.dtype, device=w.device)
    centre = f(w).flatten(1)
    wide = torch.promote_types(centre.dtype, torch.float32)

    def sums(vectors: Tensor) -> Tensor:
        """f(w + h v) + f(w − h v) for each vector, (vectors, outputs)."""
        return symmetric_sums(f, w, vectors.unsqueeze(1), step)[0].flatten(1)

    # H_ii from steps along e_i; H_ij from steps along e_i + e_j and e_i − e_j, in which the diagonal cancels.
    for part in (first == second).nonzero().flatten().split(max(1, rows // 2)):
        yield part, (sums(axes[first[part]]) - 2 * centre.to(wide)) / step**2
    for part in (first != second).nonzero().flatten().split(max(1, rows // 4)):
        if len(part):
            i, j = axes[first[part]], axes[second[part]]
            along, across = sums(torch.cat((i + j, i - j))).chunk(2)
            yield part, (along - across) * (2**0.5 / (4 * step**2))


def gradient_hessians(
    f: Callable[[Tensor], Tensor], w: Tensor, *, num_probes: int, step: float, rng: torch.Generator, rows: int = 64
) -> Tensor:
    r"""Measure Hessians of random combinations of the outputs by differences of gradients: for many dimensions.

    For :math:`r ∼ N(0, I)` over the outputs, :math:`f_r(w) = \langle r, f(w) \rangle` has a Hessian :math:`H_r` with
    :math:`E_r\,(H_r)_{ij}(H_r)_{kl} = \sum_p (H_p)_{ij} (H_p)_{kl}`, so that a few such Hessians stand for those of all
    outputs. The price: few probes are noisy, and a kink (ReLU) is seen along the axis of the step only.

    Args:
        f: Map from (m, n) to (m, …), row by row, differentiable.
        w: (1, n) the point.
        num_probes: Number of combinations; all of them share the forward passes.
        step: Distance h between the point and each gradient, in units of ``w``.
        rng: Source of the combinations, on the CPU.
        rows: Evaluations at once, at most.

    Returns:
        (num_probes, n(n+1)/2) half-vectors of the symmetric part of
        :math:`[∇f_r(w + h e_i) - ∇f_r(w - h e_i)]_j / 2h`, with :math:`r` divided by the square root of the number of
        outputs, so that their mean square is the mean over outputs.
    """
    n = w.shape[1]
    axes = step * torch.eye(n, dtype=w.dtype, device=w.device)
    probes: Tensor | None = None
    parts = []
    for x in torch.cat((w + axes, w - axes)).split(max(1, rows)):
        x = x.clone().requires_grad_()
        with torch.enable_grad():
            outputs = f(x).flatten(1)
        if probes is None:
            drawn = torch.randn(num_probes, outputs.shape[1], generator=rng, dtype=w.dtype)
            probes = drawn.to(outputs) / outputs.shape[1] ** 0.5
        gradients = [
            torch.autograd.grad(outputs, x, probe.expand_as(outputs), retain_graph=number < num_probes - 1)[0]
            for number, probe in enumerate(probes)
        ]
        parts.append(torch.stack(gradients))
    forwards, backwards = torch.cat(parts, dim=1).chunk(2, dim=1)
    H = (forwards - backwards) / (2 * step)
    return half_vectors((H + H.mT) / 2)


@torch.no_grad()
def jacobian_matrix(f: Callable[[Tensor], Tensor], w: Tensor, *, step: float, rows: int = 64) -> Tensor:
    r"""Measure :math:`J^\top J / P` of a map with P outputs, by central differences along the axes.

    Args:
        f: Map from (m, n) to (m, …), row by row.
        w: (1, n) the point.
        step: Finite-difference step h along each axis, in units of ``w``.
        rows: Evaluations at once, at most; at least two are. There are 2n in all.

    Returns:
        (n, n), in float32 or wider. Beside the images of one call, J itself is held: n rows of P numbers.

    Example:
        >>> f = lambda w: torch.cat((2 * w[:, :1], w[:, :1] + w[:, 1:]), dim=1)
        >>> jacobian_matrix(f, torch.ones(1, 2), step=0.5)
        tensor([[2.5000, 0.5000],
                [0.5000, 0.5000]])
    """
    parts = []
    for axes in (step * torch.eye(w.shape[1], dtype=w.dtype, device=w.device)).split(max(1, rows // 2)):
        images = f(torch.cat((w + axes, w - axes))).flatten(1)
        forwards, backwards = images.to(torch.promote_types(images.dtype, torch.float32)).chunk(2)
        parts.append((forwards - backwards) / (2 * step))
    J = torch.cat(parts)
    return J @ J.mT / J.shape[1]
