"""What each direction does to factors that are known, as a judge reads them: a table, and how purely it does it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from directions.basis import check_orthonormal
from directions.errors import UserError
from directions.evaluation.letter_factors import LETTERS, load_letter_judge
from directions.evaluation.scene_reader import SCENE_FACTORS, SHAPES, SceneReader, load_scene_judge
from directions.generators.base import Generator
from directions.generators.layers import Layers, chosen_layers, edited_images


class Judge(Protocol):
    """Reads known factors from a generator's images.

    Attributes:
        names: The factor of each column that `read` returns. A name that stands several times in a row is one factor
            with several columns, such as the probabilities of a scene's shapes.
        spread: Variance of each factor over the data, in its unit squared, summed over its columns.
        periods: Period of each factor that lies on a circle, such as a scene's hue, in its unit; others are left out.
    """

    names: tuple[str, ...]
    spread: Mapping[str, float]
    periods: Mapping[str, float]

    def read(self, images: Tensor, y: Tensor | None) -> Tensor:
        """Read images (n, 3, height, width) in [−1, 1] of classes (n,), or of none; returns (n, columns)."""


def judge_of(generator: Generator) -> Judge | None:
    """Return the judge of a generator's images, if there is one: its own ``judge``, or one of the package's."""
    own: Judge | None = getattr(generator, "judge", None)
    if own is None and generator.class_names == SHAPES and generator.resolution == SceneReader.resolution:
        return load_scene_judge(generator.device)
    if own is None and generator.class_names == tuple(LETTERS):
        return load_letter_judge()
    return own


def columns_of(judge: Judge) -> dict[str, list[int]]:
    """Return the columns of each factor that a judge reads."""
    return {name: [i for i, other in enumerate(judge.names) if other == name] for name in dict.fromkeys(judge.names)}


@dataclass(frozen=True, eq=False)
class FactorTable:
    r"""Effects of directions on factors.

    An effect :math:`E_{ik}` is the mean squared change of factor k when z moves along direction i, in variances of that
    factor over the data:

    .. math:: E_{ik} = \operatorname{mean}_{z, y, \eta}\; \tfrac12 \sum_{\pm}
              |f_k(G(z \pm \eta q_i, y)) - f_k(G(z, y))|^2 / \operatorname{Var} f_k

    with step lengths η spread evenly over (0, path size]. Two unrelated scenes differ by 2 in every factor.

    **Why squares.** Variances add. For small steps the sum of a column over a complete orthonormal basis is the squared
    gradient of the factor, the same in every basis: a rotation only shares it out otherwise, and one that mixes pure
    directions of different factors lowers the number. With absolute changes the total itself would depend on the basis.

    Attributes:
        names: The directions.
        path_sizes: Longest step along each, in latent units.
        effects: (ndirs, factors), float64, mean squared change of each factor, in variances over the data.
        points: Number of base points.
        truncation: Truncation of the latents and of the generator.
        seed: Seed of the base points.
        factors: The names of the columns.
    """

    names: tuple[str, ...]
    path_sizes: tuple[float, ...]
    effects: np.ndarray
    points: int
    truncation: float
    seed: int
    factors: tuple[str, ...] = SCENE_FACTORS

    @property
    def purities(self) -> np.ndarray:
        """(ndirs,), the largest share of each direction's effect that falls on one factor; 0 if it has none."""
        return self._shares().max(axis=1)

    @property
    def single_factor_share(self) -> float:
        r"""Effect-weighted mean of the purities, :math:`\sum_i \max_k E_{ik} / \sum_{ik} E_{ik}`.

        It is between 1 / number of factors and 1; 0 if no direction does anything.
        """
        return self._weighted_mean(self.purities)

    @property
    def disentanglement(self) -> float:
        """Effect-weighted mean of one minus the entropy of the shares, to the base of their number, in [0, 1].

        It is the D of DCI (Eastwood & Williams 2018), with measured effects as importances.
        """
        shares = self._shares()
        logarithms = np.log(shares, out=np.zeros_like(shares), where=shares > 0)
        return self._weighted_mean(1 + (shares * logarithms).sum(axis=1) / math.log(len(self.factors)))

    def _shares(self) -> np.ndarray:
        """Each factor's share of the direction's effect; zeros for a direction that does nothing."""
        totals = self.effects.sum(axis=1, keepdims=True)
        return np.divide(self.effects, totals, out=np.zeros_like(self.effects), where=totals > 0)

    def _weighted_mean(self, values: np.ndarray) -> float:
        total = self.effects.sum()
        return float(values @ self.effects.sum(axis=1) / total) if total > 0 else 0.0

    def to_dict(self) -> dict[str, Any]:
        """The table and its numbers, ready for JSON."""
        directions = [
            {
                "name": name,
                "path_size": path_size,
                "effects": dict(zip(self.factors, row.tolist(), strict=True)),
                "factor": self.factors[int(row.argmax())],
                "share": float(purity),
            }
            for name, path_size, row, purity in zip(
                self.names, self.path_sizes, self.effects, self.purities, strict=True
            )
        ]
        keys = ("single_factor_share", "disentanglement", "points", "truncation", "seed")
        return {key: getattr(self, key) for key in keys} | {"directions": directions}


def draw_base_points(
    generator: Generator, num_points: int, *, classes: Sequence[int | str] | None, truncation: float, seed: int
) -> tuple[Tensor, Tensor | None, Tensor]:
    """Draw base points, with classes and step lengths spread evenly over the points: the same for every direction.

    Args:
        generator: Whose latents to draw.
        num_points: How many, n.
        classes: Class indices or names to take in turn; ``None`` takes all.
        truncation: Truncation of the latents, in (0, 1].
        seed: Seed of everything drawn.

    Returns:
        Latents (n, dim_z) and class indices (n,), on the generator's device, no classes for a generator without; and
        step lengths as a fraction of the direction's path size, in (0, 1], (n,) float64.
    """
    rng = torch.Generator().manual_seed(seed)
    z = generator.sample_z_from(num_points, rng, truncation).to(generator.device)
    rank = torch.randperm(num_points, generator=rng)
    # 1 - u is in (0, 1]: a step of length zero would measure nothing.
    fraction = (rank + 1 - torch.rand(num_points, generator=rng, dtype=torch.float64)) / num_points
    y = None
    if generator.num_classes:
        wanted = list(range(generator.num_classes)) if classes is None else list(classes)
        order = torch.randperm(num_points, generator=rng) % len(wanted)
        y = generator.class_indices(wanted, len(wanted)).cpu()[order].to(generator.device)
    return z, y, fraction


@torch.no_grad()
def measure_factors(
    generator: Generator,
    directions: np.ndarray | Tensor,
    judge: Judge,
    *,
    path_sizes: float | Sequence[float],
    names: Sequence[str] | None = None,
    num_points: int = 192,
    classes: Sequence[int | str] | None = None,
    truncation: float = 1.0,
    layers: Layers = None,
    seed: int = 0,
    batch: int = 64,
    count: Callable[[int], object] = lambda directions: None,
) -> FactorTable:
    """Measure what directions do to the factors; see `FactorTable` for the definition.

    To compare sets of directions, give them the same path size, number of points and seed: they are then measured at
    the same base points with the same steps. The cost is (2 ndirs + 1) x num_points images. Errors of reading add to
    every column and are not subtracted.

    Args:
        generator: Generator of images that the judge reads.
        directions: (ndirs, dim_z), orthonormal rows.
        judge: Reads the factors.
        path_sizes: Longest step along each direction, or along all of them, in latent units.
        names: Names of the directions; ``None`` gives d0, d1, ….
        num_points: Base points.
        classes: Class indices or names to use in turn; ``None`` uses all.
        truncation: Truncation of the latents and of the generator, in (0, 1].
        layers: The layers that see the moved z, such as ``directions.layers`` of a file; ``None`` is all.
        seed: Seed of the base points.
        batch: Images at a time.
        count: Called with 1 after each direction (a progress bar).

    Returns:
        The table.

    Raises:
        UserError: If the directions are not orthonormal or not as wide as z.
    """
    Q = torch.as_tensor(directions).detach()
    if reason := check_orthonormal(Q):
        raise UserError(f"directions must have orthonormal rows: {reason}")
    if Q.shape[1] != generator.dim_z:
        raise UserError(f"directions must be as wide as the generator's z, {generator.dim_z}, got width {Q.shape[1]}.")
    sizes = [float(path_sizes)] * len(Q) if isinstance(path_sizes, (int, float)) else [float(s) for s in path_sizes]
    labels = tuple(names) if names is not None else tuple(f"d{i}" for i in range(len(Q)))
    z, classes_of, fraction = draw_base_points(generator, num_points, classes=classes, truncation=truncation, seed=seed)
    chosen, columns, Q = chosen_layers(generator, layers), columns_of(judge), Q.to(z)
    parts = []
    for start in range(0, num_points, batch):
        rows = slice(start, start + batch)
        y = None if classes_of is None else classes_of[rows]
        parts.append((rows, y, edited_images(generator, z[rows], y, layers=chosen, truncation=truncation)))

    def read(moved: Tensor) -> Tensor:
        """Factors of the moved base points, (n, columns) float64."""
        return torch.cat([judge.read(make_images(moved[rows]), y).double().cpu() for rows, y, make_images in parts])

    centre = read(z)

    def squared_changes(moved: Tensor) -> Tensor:
        """Squared change of each factor, in variances over the data, (n, factors)."""
        change = read(moved) - centre
        for name, period in judge.periods.items():  # the short way round the circle
            change[:, columns[name]] = (change[:, columns[name]] + period / 2).remainder(period) - period / 2
        squares = [change[:, part].square().sum(dim=1) / judge.spread[name] for name, part in columns.items()]
        return torch.stack(squares, dim=1)

    effects = np.zeros((len(Q), len(columns)))
    for i, q in enumerate(Q):
        step = (fraction * sizes[i]).to(z)[:, None] * q
        # Both signs against the centre and not against each other: a direction that bends back counts as moving.
        changes = [squared_changes(z + sign * step) for sign in (1, -1)]
        effects[i] = torch.cat(changes).mean(dim=0).numpy()
        count(1)
    return FactorTable(labels, tuple(sizes), effects, num_points, truncation, seed, tuple(columns))
