r"""The factor table: what each direction does to the known factors of a scene, and one number for how purely.

Takes a generator of scenes, directions and the scene reader; gives a table directions x factors. It comes after
discovery, and is the same for any orthonormal set, so that found directions can be held against random ones and the
latent axes. A direction is pure when all it does falls on one factor.

**Effect.** :math:`E_{ik}` is the mean squared change of factor k when z moves along direction i, in variances of that
factor over the data:

.. math:: E_{ik} = \operatorname{mean}_{z, y, \eta}\; \tfrac12 \sum_{\pm}
          |f_k(G(z \pm \eta q_i, y)) - f_k(G(z, y))|^2 / \operatorname{Var} f_k

with step lengths η spread evenly over (0, path size]. Changes of hue go the short way round the colour circle. Shape is
the vector of the reader's three probabilities, its variance that of the true shape as a one-hot vector, 2/3. So two
unrelated scenes differ by 2 in every column, shape included (by 1.6 in hue, because of the circle). Both signs are
measured against the centre and not against each other: a direction that bends back still counts as moving.

**Why squares.** Variances add. For small steps the sum of a column over a complete orthonormal basis is the squared
gradient of the factor, the same in every basis: a rotation only shares it out otherwise, and one that mixes pure
directions of different factors lowers the number. With absolute changes the total itself would depend on the basis.

**Reading errors** add to every column and are not subtracted, because the reader's are far below the changes
that are measured (its card gives them).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from directions.basis import check_orthonormal
from directions.errors import UserError
from directions.evaluation.factor_table import COLUMNS, FactorTable
from directions.evaluation.scene_reader import FACTORS, HUE_PERIOD, SHAPES, SceneReading
from directions.generators.edits import chosen_layers, edited_images
from directions.generators.layers import Layers

if TYPE_CHECKING:
    from directions.generators.base import Generator


class Reader(Protocol):
    """What the table needs of a scene reader.

    Attributes:
        deviations: Standard deviation of each continuous factor over the data, in its unit.
    """

    deviations: dict[str, float]

    def read(self, images: Tensor, *, batch: int = 256) -> SceneReading:
        """Read images (n, 3, height, width) in [-1, 1], ``batch`` at a time."""


@dataclass(frozen=True)
class BasePoints:
    """Where the directions are measured; the same for every direction and every set of directions.

    Attributes:
        z: (n, dim_z), latents.
        y: (n,), class indices; ``None`` for an unconditional generator.
        fraction: (n,), step length as a fraction of the direction's path size, in (0, 1].
    """

    z: Tensor
    y: Tensor | None
    fraction: Tensor


def draw_base_points(
    generator: Generator, num_points: int, *, classes: Sequence[int | str] | None, truncation: float, seed: int
) -> BasePoints:
    """Draw base points, with classes and step lengths spread evenly over the points.

    Args:
        generator: Whose latents to draw.
        num_points: How many, n.
        classes: Class indices or names to take in turn; ``None`` takes all.
        truncation: Truncation of the latents, in (0, 1].
        seed: Seed of everything drawn.

    Returns:
        The points, on the CPU.

    Raises:
        UserError: If ``num_points`` < 1 or ``classes`` is empty.
    """
    if num_points < 1:
        raise UserError(f"num_points must be at least 1, got {num_points}.")
    rng = torch.Generator().manual_seed(seed)
    z = generator.sample_z_from(num_points, rng, truncation)
    rank = torch.randperm(num_points, generator=rng)
    # 1 - u is in (0, 1]: a step of length zero would measure nothing.
    fraction = (rank + 1 - torch.rand(num_points, generator=rng, dtype=torch.float64)) / num_points
    y = None
    if generator.num_classes:
        wanted = list(range(generator.num_classes)) if classes is None else list(classes)
        if not wanted:
            raise UserError("classes must name at least one class, got none; leave it out to use all.")
        order = torch.randperm(num_points, generator=rng) % len(wanted)
        y = generator.class_indices(wanted, len(wanted)).cpu()[order]
    return BasePoints(z, y, fraction)


def measure_factors(
    generator: Generator,
    directions: np.ndarray | Tensor,
    reader: Reader,
    *,
    path_sizes: float | Sequence[float],
    names: Sequence[str] | None = None,
    num_points: int = 192,
    classes: Sequence[int | str] | None = None,
    truncation: float = 1.0,
    layers: Layers = None,
    seed: int = 0,
    batch: int = 64,
    progress: bool = False,
    count: Callable[[int], object] = lambda directions: None,
) -> FactorTable:
    """Measure what directions do to the factors; see the module for the definition.

    To compare sets of directions, give them the same path size, number of points and seed: they are then measured at
    the same base points with the same steps. The cost is (2 ndirs + 1) x num_points images.

    Args:
        generator: Generator of the scenes that the reader reads.
        directions: (ndirs, dim_z), orthonormal rows.
        reader: Scene reader.
        path_sizes: Longest step along each direction, or along all of them, in latent units.
        names: Names of the directions; ``None`` gives d0, d1, ….
        num_points: Base points.
        classes: Class indices or names to use in turn; ``None`` uses all.
        truncation: Truncation of the latents and of the generator, in (0, 1].
        layers: The layers that see the moved z, such as ``directions.layers`` of a file; ``None`` is all.
        seed: Seed of the base points.
        batch: Images at a time.
        progress: Whether to show a progress bar on stderr.
        count: Called with 1 after each direction (a progress bar of one's own).

    Returns:
        The table.

    Raises:
        UserError: If the directions are not orthonormal or not as wide as z, or a path size, a name, the number of
            points or the batch does not fit.
    """
    Q = torch.as_tensor(directions)
    sizes = [float(path_sizes)] * len(Q) if isinstance(path_sizes, (int, float)) else [float(s) for s in path_sizes]
    labels = tuple(names) if names is not None else tuple(f"d{i}" for i in range(len(Q)))
    _check(Q, generator.dim_z, sizes, labels, batch)
    points = draw_base_points(generator, num_points, classes=classes, truncation=truncation, seed=seed)
    Q = Q.detach().cpu().to(points.z.dtype)

    batches = [slice(start, start + batch) for start in range(0, num_points, batch)]
    chosen = chosen_layers(generator, layers)
    with torch.no_grad():
        maps = [
            edited_images(
                generator,
                points.z[rows].to(generator.device),
                None if points.y is None else points.y[rows].to(generator.device),
                layers=chosen,
                truncation=truncation,
            )
            for rows in batches
        ]

    def read(z: Tensor) -> Tensor:
        """Factors of the base points moved to ``z``, in standard deviations: (n, 4 + 3)."""
        parts = []
        for rows, make_images in zip(batches, maps, strict=True):
            with torch.no_grad():
                images = make_images(z[rows].to(generator.device))
            parts.append(_standard_scores(reader.read(images, batch=batch), reader.deviations))
        return torch.cat(parts)

    centre = read(points.z)
    effects = np.zeros((len(Q), len(COLUMNS)))
    with tqdm(total=len(Q), unit="direction", desc="Measuring factors", disable=not progress) as bar:
        for i, q in enumerate(Q):
            step = (points.fraction * sizes[i]).to(q.dtype)[:, None] * q
            changes = [_squared_changes(read(points.z + sign * step) - centre, reader.deviations) for sign in (1, -1)]
            effects[i] = torch.cat(changes).mean(dim=0).numpy()
            bar.update()
            count(1)
    return FactorTable(labels, tuple(sizes), effects, num_points, truncation, seed)


def _check(Q: Tensor, dim_z: int, sizes: list[float], names: tuple[str, ...], batch: int) -> None:
    """Raise a UserError for directions, path sizes, names or a batch that do not fit one another."""
    if reason := check_orthonormal(Q):
        raise UserError(f"directions must have orthonormal rows: {reason}")
    if Q.shape[1] != dim_z:
        raise UserError(f"directions must be as wide as the generator's z, {dim_z}, got width {Q.shape[1]}.")
    if len(sizes) != len(Q) or len(names) != len(Q):
        raise UserError(
            f"path_sizes and names must have one entry for each of the {len(Q)} directions, got {len(sizes)} and "
            f"{len(names)}."
        )
    for size in sizes:
        if not (math.isfinite(size) and size > 0):
            raise UserError(f"path_sizes must be finite and above 0, got {size:g}.")
    if batch < 1:
        raise UserError(f"batch must be at least 1, got {batch}.")


def _standard_scores(reading: SceneReading, deviations: dict[str, float]) -> Tensor:
    """Continuous factors (n, 4) over their deviations, and shape probabilities (n, 3) over theirs, in float64."""
    columns = [getattr(reading, name).double().cpu()[:, None] / deviations[name] for name in FACTORS]
    variance = 1 - 1 / len(SHAPES)  # of a one-hot vector over equally frequent shapes, summed over its entries
    return torch.cat([*columns, reading.shape_probabilities.double().cpu() / math.sqrt(variance)], dim=1)


def _squared_changes(change: Tensor, deviations: dict[str, float]) -> Tensor:
    """From changes of standard scores (n, 4 + 3) to squared changes of `COLUMNS` (n, 5)."""
    period = HUE_PERIOD / deviations["hue"]
    hue = torch.remainder(change[:, :1] + period / 2, period) - period / 2
    shape = change[:, len(FACTORS) :].square().sum(dim=1, keepdim=True)
    return torch.cat([hue.square(), change[:, 1 : len(FACTORS)].square(), shape], dim=1)
