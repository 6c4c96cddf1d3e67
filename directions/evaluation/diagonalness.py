r"""Diagonalness: how nearly diagonal the Hessians of a generator's outputs are along a set of directions.

After discovery, and after training a generator with the penalty, where the directions are the axes of z. The penalty
weighs everything by its size; these two numbers ask what the paper is about, whether directions act by themselves. With
:math:`H^p` the n × n Hessian of output p (one pixel of one channel) by the steps along the directions:

- the **share**: of how many outputs the entry of :math:`H^p` that is largest by absolute value lies on the diagonal.
  In a symmetric matrix of independent entries of one spread it would do so with probability 2 / (n + 1);
- the **ratio**: the mean of :math:`|H^p_{ii}|` over the mean of :math:`|H^p_{ij}|, i ≠ j`, both over all outputs and
  samples.

Outputs that hardly bend at all (a pixel of the background) have no largest entry to speak of but rounding; they are
left out of the share, and how many count is given beside it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from directions.basis import check_orthonormal
from directions.devices import full_float32
from directions.errors import NonFiniteError, UserError
from directions.joint.differences import difference_entries, difference_evaluations
from directions.sampling import derived_rng, draw_points, image_map

if TYPE_CHECKING:
    from directions.generators.base import Generator
    from directions.generators.layers import LayerRange

FLOOR = 1e-3
"""Curvature, in image / latent², below which an output is taken for flat: half of it, the change of the second order
over a step of 1, is less than a tenth of a grey level of 255; and it is far above rounding in float32."""


@dataclass(frozen=True)
class Diagonalness:
    """How nearly diagonal Hessians are.

    Attributes:
        share: Of the outputs that bend, the share whose largest entry is on the diagonal, in [0, 1]; NaN if none bends.
        ratio: Mean absolute diagonal entry over the mean absolute other one; infinite if all others are exactly 0, NaN
            if all entries are.
        mean_diagonal: Mean of the absolute diagonal entries, in image / latent².
        mean_off_diagonal: Mean of the other entries' absolute values, in image / latent².
        counted: Share of the outputs that bend, in [0, 1].
        ndirs: Number of directions.
        samples: Number of places.
        step: Finite-difference step, in latent units.
    """

    share: float
    ratio: float
    mean_diagonal: float
    mean_off_diagonal: float
    counted: float
    ndirs: int
    samples: int
    step: float

    @property
    def chance(self) -> float:
        """The share for symmetric matrices of independent entries of one spread: 2 / (ndirs + 1)."""
        return 2 / (self.ndirs + 1)

    def to_dict(self) -> dict[str, Any]:
        """Return the numbers as plain JSON types, ``None`` for what is not finite."""
        return {
            name: None if isinstance(value, float) and not math.isfinite(value) else value
            for name, value in (vars(self) | {"chance": self.chance}).items()
        }


def diagonalness_evaluations(ndirs: int, samples: int) -> int:
    """Return the number of images that `diagonalness` makes: 2 ndirs² + 1 for each sample."""
    return samples * difference_evaluations(ndirs)


def diagonalness(
    generator: Generator,
    basis: Tensor,
    *,
    samples: int = 16,
    step: float = 0.1,
    classes: Sequence[int] = (),
    truncation: float = 1.0,
    layers: LayerRange | None = None,
    seed: int = 0,
    rows: int = 64,
    floor: float = FLOOR,
    count: Callable[[int], object] = lambda images: None,
) -> Diagonalness:
    """Measure the Hessian of every pixel at some samples, and say how nearly diagonal they are.

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
        The numbers.

    Raises:
        UserError: If the rows are not orthonormal, too few or not as wide as z, or a setting is out of range.
        NonFiniteError: If the images hold NaN or infinity.
    """
    _check(basis, generator.dim_z, samples=samples, step=step, rows=rows)
    rng = derived_rng(seed, purpose="diagonalness")
    points = draw_points(generator, samples, rng, classes=tuple(classes), truncation=truncation)
    basis = basis.to(points.z)
    totals = _Totals()
    for sample in range(samples):
        images = image_map(generator, points[sample : sample + 1], basis, truncation, layers)

        def counted(w: Tensor, images: Callable[[Tensor], Tensor] = images) -> Tensor:
            made = images(w)
            count(len(made))
            return made

        totals.add(_sizes(counted, points.z.new_zeros(1, len(basis)), step, rows), floor)
    return totals.result(len(basis), samples, step)


@torch.no_grad()
def _sizes(f: Callable[[Tensor], Tensor], w: Tensor, step: float, rows: int) -> Tensor:
    """Sizes of each output's Hessian at a point, (4, outputs) float64.

    Returns:
        Sum and maximum of the absolute diagonal entries, sum and maximum of the others'.
    """
    n = w.shape[1]
    first, second = torch.triu_indices(n, n, device=w.device)
    parts: list[list[Tensor]] = [[], []]
    with full_float32():
        for part, entries in difference_entries(f, w, step=step, rows=rows):
            off = int(first[part[0]] != second[part[0]])
            sizes = entries.double().abs() / (2**0.5 if off else 1.0)  # half-vectors have others times √2
            # Each entry above the diagonal stands for one below it as well.
            parts[off].append(torch.stack((sizes.sum(dim=0) * (1 + off), sizes.amax(dim=0))))
    both = [torch.stack(sizes) for sizes in parts]
    return torch.stack([value for sizes in both for value in (sizes[:, 0].sum(dim=0), sizes[:, 1].amax(dim=0))])


class _Totals:
    """Sums over samples and outputs."""

    def __init__(self) -> None:
        self._sum_on = self._sum_off = 0.0
        self._outputs = self._bending = self._on = 0

    def add(self, sizes: Tensor, floor: float) -> None:
        if not bool(sizes.isfinite().all()):
            raise NonFiniteError(
                "The images around a sample hold NaN or infinity. Use a smaller truncation or other weights."
            )
        sum_on, largest_on, sum_off, largest_off = sizes
        bending = torch.maximum(largest_on, largest_off) >= floor
        self._sum_on += float(sum_on.sum())
        self._sum_off += float(sum_off.sum())
        self._outputs += len(bending)
        self._bending += int(bending.sum())
        self._on += int((bending & (largest_on > largest_off)).sum())

    def result(self, ndirs: int, samples: int, step: float) -> Diagonalness:
        mean_on = self._sum_on / (self._outputs * ndirs)
        mean_off = self._sum_off / (self._outputs * ndirs * (ndirs - 1))
        return Diagonalness(
            share=self._on / self._bending if self._bending else math.nan,
            ratio=mean_on / mean_off if mean_off else (math.inf if mean_on else math.nan),
            mean_diagonal=mean_on,
            mean_off_diagonal=mean_off,
            counted=self._bending / self._outputs,
            ndirs=ndirs,
            samples=samples,
            step=step,
        )


def _check(basis: Tensor, dim_z: int, *, samples: int, step: float, rows: int) -> None:
    """Raise a UserError for what does not fit."""
    if reason := check_orthonormal(basis):
        raise UserError(f"basis must have orthonormal rows: {reason}")
    if basis.shape[1] != dim_z:
        raise UserError(f"basis must be as wide as the generator's z, {dim_z}, got width {basis.shape[1]}.")
    if len(basis) < 2:
        raise UserError("basis must have at least 2 directions, got 1: one alone has a Hessian of one entry.")
    if samples < 1:
        raise UserError(f"samples must be at least 1, got {samples}.")
    if not (step > 0 and math.isfinite(step)):
        raise UserError(f"step must be a positive number (in latent units), got {step}.")
    if rows < 1:
        raise UserError(f"rows must be at least 1, got {rows}.")
