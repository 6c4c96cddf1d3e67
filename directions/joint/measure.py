"""Measure Hessians at many base points, one after the other, in a stream that can be stopped and taken up again.

Between `directions.joint.differences` or `directions.joint.gradients`, which measure at one point, and
`directions.joint.solve`. Base points are where the paper's steps measure the penalty: a latent of the prior,
moved by η ~ U[−path_size, path_size] along a direction. There the directions are those being learned; here a random
one of the searched space takes their place (any direction, for a basis that may be any), so that what is measured does
not depend on the basis that is sought.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from directions.basis import SearchSpace
from directions.devices import full_float32
from directions.distributed.ranks import Ranks
from directions.errors import NonFiniteError
from directions.joint.differences import difference_evaluations, difference_hessians
from directions.joint.gradients import gradient_evaluations, gradient_hessians
from directions.joint.moments import Moments
from directions.sampling import Points, derived_rng, draw_points, image_map

if TYPE_CHECKING:
    from directions.generators.base import Generator
    from directions.generators.layers import LayerRange

Kind = Literal["differences", "gradients"]

_DIFFERENCES_UP_TO = 24
"""Largest space that is measured by differences unless asked otherwise: 1153 evaluations a base point."""


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """Where and how Hessians are measured."""

    space: SearchSpace
    """The components of z that directions may use."""
    classes: tuple[int, ...]
    """Class indices to draw from, uniformly; empty for a generator without classes."""
    truncation: float
    """Spread of z and the generator's truncation setting, in (0, 1]."""
    layers: LayerRange | None = None
    """The layers that directions act on; ``None`` is all."""
    path_size: float
    """Base points are moved by up to this far, in units of z."""
    base_points: int
    """Number of base points."""
    kind: Kind
    """``"differences"`` of images, for all outputs, or ``"gradients"``, for random combinations of them."""
    output_probes: int
    """Combinations of the outputs at each base point; for gradients only."""
    step: float
    """Finite-difference step along an axis of z, in units of z."""
    seed: int
    """Seed of base points and combinations."""
    rows: int
    """Images to make at once, at most."""

    @property
    def evaluations(self) -> int:
        """Passes through the generator for one image, forward or backward, in all."""
        n = self.space.size
        each = difference_evaluations(n) if self.kind == "differences" else gradient_evaluations(n, self.output_probes)
        return self.base_points * each

    def report(self) -> dict[str, Any]:
        """Return what the direction file keeps of the measurement, as plain JSON types."""
        return {
            "base_points": self.base_points,
            "measurement": self.kind,
            "output_probes": self.output_probes if self.kind == "gradients" else None,
            "step": self.step,
            "evaluations": self.evaluations,
        }


def suggested_kind(size: int) -> Kind:
    """Return the kind of measurement that is worth its cost in a space of ``size`` components."""
    return "differences" if size <= _DIFFERENCES_UP_TO else "gradients"


def matching_step(epsilon: float, size: int) -> float:
    r"""Return the step along an axis that looks at curvature on the same scale as the penalty does.

    The difference of the penalty's second differences along two sign vectors is a mixed one along half of the
    coordinates each, vectors of length :math:`ε\sqrt{n/2}`; the mixed difference along two axes has two of length h.

    Args:
        epsilon: The penalty's finite-difference step, in units of z.
        size: Number n of coordinates.

    Returns:
        h, in units of z.
    """
    return epsilon * (size / 2) ** 0.5


def measure(
    generator: Generator,
    measurement: Measurement,
    *,
    resume_from: Mapping[str, Any] | None = None,
    ranks: Ranks | None = None,
) -> Iterator[Moments]:
    """Measure the Hessians, base point by base point; with several ranks, as many at a time.

    A base point's samples follow from the seed and its number alone, and the Hessians are added in the order of the
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
        NonFiniteError: If a Hessian holds NaN or infinity.
    """
    ranks = ranks or Ranks()
    vectors = measurement.base_points * measurement.output_probes if measurement.kind == "gradients" else None
    moments = Moments(measurement.space.size, vectors)
    if resume_from is not None:
        moments.load_state_dict(resume_from)
    yield moments
    numbers = range(measurement.base_points)
    while moments.base_points < measurement.base_points:
        turn = numbers[moments.base_points : moments.base_points + ranks.world_size]
        measured = [moments.condense(hessians(generator, measurement, number)) for number in ranks.share(turn)]
        for number, part in zip(turn, ranks.collect(measured), strict=True):
            if not bool(part.entries.isfinite().all()):
                raise NonFiniteError(
                    f"The Hessian at base point {number} is not finite. Stopped here. Make sure that the generator "
                    "computes in float32 and its weights are sound, or start a new run with a larger --epsilon."
                )
            moments.add_condensed(part)
        yield moments


def hessians(generator: Generator, measurement: Measurement, number: int) -> Tensor:
    """Measure the Hessians at one base point.

    Args:
        generator: Frozen and in eval mode.
        measurement: Where and how.
        number: Which base point, counted from 0.

    Returns:
        (Hessians, n(n+1)/2) half-vectors, of the outputs or of combinations of them.
    """
    points, w = draw_base_point(generator, measurement, number)
    basis = measurement.space.embed(torch.eye(w.shape[1]).to(w))
    f = image_map(generator, points, basis, measurement.truncation, measurement.layers)
    with full_float32():
        if measurement.kind == "differences":
            return difference_hessians(f, w, step=measurement.step, rows=measurement.rows)
        return gradient_hessians(
            f,
            w,
            num_probes=measurement.output_probes,
            step=measurement.step,
            rng=derived_rng(measurement.seed, number, "output probes"),
            rows=measurement.rows,
        )


def draw_base_point(generator: Generator, measurement: Measurement, number: int) -> tuple[Points, Tensor]:
    """Draw a base point; it follows from the seed and its number alone.

    Args:
        generator: Knows its prior.
        measurement: Classes, truncation, path size, searched space, seed.
        number: Which one, counted from 0.

    Returns:
        A latent of the prior with its class, and the step from there in coordinates of the searched space, (1, size).
    """
    rng = derived_rng(measurement.seed, number, "base point")
    points = draw_points(generator, 1, rng, classes=measurement.classes, truncation=measurement.truncation)
    direction = torch.randn(1, measurement.space.size, generator=rng, dtype=torch.float64)
    eta = measurement.path_size * (2 * torch.rand((), generator=rng, dtype=torch.float64) - 1)
    return points, (eta * direction / torch.linalg.vector_norm(direction)).to(points.z)
