r"""How nearly diagonal the Hessians of a generator's outputs are along a set of directions."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from directions.basis import check_orthonormal
from directions.device import full_float32
from directions.errors import NonFiniteError, UserError
from directions.generators.base import Generator
from directions.generators.layers import LayerRange
from directions.joint.measure import difference_entries, evaluations_at
from directions.sampling import derived_rng, draw_points, image_map

FLOOR = 1e-3
"""Curvature, in image / latent², below which an output is taken for flat: half of it, the change of the second order
over a step of 1, is less than a tenth of a grey level of 255; and it is far above rounding in float32."""


@dataclass(frozen=True)
class Diagonalness:
    """How nearly diagonal Hessians are, whatever their size (the penalty weighs everything by its size).

    Outputs that hardly bend at all (a pixel of the background) have no largest entry to speak of but rounding; they are
    left out of the share, and how many count is given beside it.

    Attributes:
        share: Of the outputs that bend, the share whose entry of largest absolute value is on the diagonal, in [0, 1];
            NaN if none bends.
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
        values = vars(self) | {"chance": self.chance}
        return {name: value if math.isfinite(value) else None for name, value in values.items()}


def diagonalness_evaluations(ndirs: int, samples: int) -> int:
    """Return the number of images that `diagonalness` makes: 2 ndirs² + 1 for each sample."""
    return samples * evaluations_at(ndirs, "differences", 0)


@torch.no_grad()
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
        UserError: If the rows are not orthonormal, too few or not as wide as z.
        NonFiniteError: If the images hold NaN or infinity.
    """
    if reason := check_orthonormal(basis):
        raise UserError(f"basis must have orthonormal rows: {reason}")
    ndirs, width = basis.shape
    if width != generator.dim_z:
        raise UserError(f"basis must be as wide as the generator's z, {generator.dim_z}, got width {width}.")
    if ndirs < 2:
        raise UserError("basis must have at least 2 directions, got 1: one alone has a Hessian of one entry.")
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
    return Diagonalness(
        share=on_diagonal / bending if bending else math.nan,
        ratio=mean_on / mean_off if mean_off else (math.inf if mean_on else math.nan),
        mean_diagonal=mean_on,
        mean_off_diagonal=mean_off,
        counted=bending / outputs,
        ndirs=ndirs,
        samples=samples,
        step=step,
    )


def _sizes(f: Callable[[Tensor], Tensor], w: Tensor, step: float, rows: int) -> tuple[Tensor, Tensor]:
    """Return sum and maximum of each output's absolute entries, (2, outputs) float64 each: on the diagonal, and off."""
    first, second = torch.triu_indices(w.shape[1], w.shape[1], device=w.device)
    totals: list[list[Tensor]] = [[], []]
    largest: list[list[Tensor]] = [[], []]
    with full_float32():
        for part, entries in difference_entries(f, w, step=step, rows=rows):
            off = int(first[part[0]] != second[part[0]])
            sizes = entries.double().abs() / (2**0.5 if off else 1.0)  # half-vectors have others times √2
            totals[off].append(sizes.sum(dim=0) * (1 + off))  # each entry above the diagonal has one below it
            largest[off].append(sizes.amax(dim=0))
    return (
        torch.stack([torch.stack(parts).sum(dim=0) for parts in totals]),
        torch.stack([torch.stack(parts).amax(dim=0) for parts in largest]),
    )
