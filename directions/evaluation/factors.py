"""Factors that are known, as a judge reads them from images: what each direction does to them, and DCI and MIG."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from directions.device import to_tensor
from directions.errors import MissingExtraError
from directions.evaluation.activeness import require_basis
from directions.evaluation.letter_factors import LETTERS, load_letter_judge
from directions.evaluation.scene_reader import SCENE_FACTORS, SHAPES, SceneReader, load_scene_reader
from directions.generators.base import Generator, Layers, chosen_layers, edited_images
from directions.sampling import derived_rng, draw_points

VARIED = 0.1
"""A factor counts as varied if its spread over the samples is at least this share of that over the data. The scene
reader's errors are 0.06 of it at most, also for images of 16 pixels."""

BINS = 20

_TRAINED_ON = 0.8
_FOREST = {"n_estimators": 20, "min_samples_leaf": 5}


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
        return load_scene_reader(device=generator.device)
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
        totals = self.effects.sum(axis=1)
        return np.divide(self.effects.max(axis=1), totals, out=np.zeros_like(totals), where=totals > 0)

    @property
    def single_factor_share(self) -> float:
        r"""Effect-weighted mean of the purities, :math:`\sum_i \max_k E_{ik} / \sum_{ik} E_{ik}`.

        It is between 1 / number of factors and 1; 0 if no direction does anything.
        """
        total = self.effects.sum()
        return float(self.effects.max(axis=1).sum() / total) if total > 0 else 0.0

    @property
    def disentanglement(self) -> float:
        """The `disentanglement` of DCI, with measured effects as importances; 0 if no direction does anything."""
        return disentanglement(self.effects) if self.effects.any() else 0.0

    def to_dict(self) -> dict[str, Any]:
        """The table and its numbers, ready for JSON."""
        columns = zip(self.names, self.path_sizes, self.effects, self.purities, strict=True)
        directions = [
            {
                "name": name,
                "path_size": path_size,
                "effects": dict(zip(self.factors, row.tolist(), strict=True)),
                "factor": self.factors[int(row.argmax())],
                "share": float(purity),
            }
            for name, path_size, row, purity in columns
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
    generator: Generator, directions: np.ndarray | Tensor, judge: Judge, *, path_sizes: float | Sequence[float],
    names: Sequence[str] | None = None, num_points: int = 192, classes: Sequence[int | str] | None = None,
    truncation: float = 1.0, layers: Layers = None, seed: int = 0, batch: int = 64,
    count: Callable[[int], object] = lambda directions: None,
) -> FactorTable:  # fmt: skip
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
    Q = to_tensor(directions).detach()
    require_basis(generator, Q)
    sizes = np.broadcast_to(path_sizes, len(Q)).astype(float).tolist()
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


@dataclass(frozen=True, eq=False)
class LatentReadings:
    """Latents and the factors of their images.

    Attributes:
        z: (n, |z|) float64.
        targets: For each factor what a regression predicts, (n, width) float64: of one on a circle, the point there; of
            one with several columns, these.
        levels: For each factor one number or class a sample, (n,), to be put into bins.
        spreads: For each factor the standard deviation over the samples in that over the data.
    """

    z: np.ndarray
    targets: dict[str, np.ndarray]
    levels: dict[str, np.ndarray]
    spreads: dict[str, float]

    @property
    def varied(self) -> tuple[str, ...]:
        """The factors that the generator varies at all; of the others only reading errors would be explained."""
        return tuple(name for name, spread in self.spreads.items() if spread >= VARIED)


@torch.no_grad()
def read_latents(
    generator: Generator, judge: Judge, *, samples: int, classes: Sequence[int] = (), truncation: float = 1.0,
    seed: int = 0, rows: int = 64, count: Callable[[int], object] = lambda images: None,
) -> LatentReadings:  # fmt: skip
    """Draw latents, make their images and read these.

    Args:
        generator: In eval mode.
        judge: Reads its images.
        samples: Number of latents.
        classes: Class indices that samples are drawn from, uniformly; empty for a generator without classes. The class
            is no part of the code: a factor that follows from it is not explained by z.
        truncation: Spread of z and the generator's setting, in (0, 1].
        seed: Seed of the samples.
        rows: Images to make at once, at most.
        count: Called with the number of images that were just made (a progress bar).

    Returns:
        Latents and factors.
    """
    rng = derived_rng(seed, purpose="latent readings")
    points = draw_points(generator, samples, rng, classes=tuple(classes), truncation=truncation)
    parts = []
    for start in range(0, samples, rows):
        part = points[start : start + rows]
        parts.append(judge.read(generator(part.z, part.y, truncation=truncation), part.y).double().cpu())
        count(len(part))
    read = torch.cat(parts).numpy()
    targets, levels, spreads = {}, {}, {}
    for name, columns in columns_of(judge).items():
        values = read[:, columns]
        spreads[name] = math.sqrt(values.var(axis=0).sum() / judge.spread[name])
        levels[name] = values[:, 0] if len(columns) == 1 else values.argmax(axis=1)
        if period := judge.periods.get(name):
            angle = 2 * math.pi * levels[name] / period
            values = np.stack([np.cos(angle), np.sin(angle)], axis=1)
        targets[name] = values
    return LatentReadings(points.z.double().cpu().numpy(), targets, levels, spreads)


def measure_dci(
    readings: LatentReadings, *, seed: int = 0, count: Callable[[int], object] = lambda factors: None
) -> dict[str, Any]:
    r"""Measure disentanglement, completeness and informativeness of the components of z.

    For each factor a random forest predicts it from z; how much it relies on each component is a column of the
    importance matrix R, components × factors, that adds up to 1. With :math:`P_{ik}` the shares in row i and
    :math:`\tilde P_{ik}` those in column k, and entropies to the base of their number of entries,

    - **disentanglement** :math:`\sum_i \rho_i (1 - H(P_{i\cdot}))`, with :math:`\rho_i` the row's share of all of R:
      whether a component is of importance for one factor only;
    - **completeness**, the mean over factors of :math:`1 - H(\tilde P_{\cdot k})`: whether a factor depends on one
      component only;
    - **informativeness**, the mean of the regressions' R² on samples that they have not seen: whether z decides the
      factors.

    Args:
        readings: Latents and factors, of 50 samples or more; the first 80 % are trained on, the rest is predicted.
        seed: Of the forests.
        count: Called with 1 after each regression (a progress bar).

    Returns:
        The three numbers, 1 at best; NaN for the first if there is only one factor, for the second if there is only one
        component, for all if there is no factor. ``factors``: those that the generator varies, K of them; the others
        are left out. ``scores``: R² of each. ``importances``: (|z|, K) float64.

    Raises:
        MissingExtraError: If the extra ``metrics`` is not installed.

    References:
        Eastwood & Williams 2018, "A framework for the quantitative evaluation of disentangled representations", ICLR.
    """
    try:
        from sklearn.ensemble import RandomForestRegressor
        from sklearn.metrics import r2_score
    except ImportError as error:
        raise MissingExtraError("DCI", "metrics") from error
    train = int(_TRAINED_ON * len(readings.z))
    importances = np.zeros((readings.z.shape[1], len(readings.varied)))
    scores: dict[str, float] = {}
    for column, name in enumerate(readings.varied):
        target = readings.targets[name].squeeze()
        forest = RandomForestRegressor(random_state=seed, **_FOREST)
        forest.fit(readings.z[:train], target[:train])
        importances[:, column] = forest.feature_importances_
        # Of a factor with several columns, such as a point on the circle of hues, their squares are taken together.
        predicted = forest.predict(readings.z[train:])
        scores[name] = float(r2_score(target[train:], predicted, multioutput="variance_weighted"))
        count(1)
    return {
        "disentanglement": disentanglement(importances),
        "completeness": disentanglement(importances.T),
        "informativeness": float(np.mean(list(scores.values()))) if scores else math.nan,
        "factors": readings.varied,
        "scores": scores,
        "importances": importances,
    }


def disentanglement(importances: np.ndarray) -> float:
    """Compute D of an importance matrix; C is that of its transpose.

    Args:
        importances: (components, factors), not negative.

    Returns:
        In [0, 1]: 1 if every component is of importance for one factor only; NaN for fewer than two factors or a matrix
        of zeros.

    Example:
        >>> disentanglement(np.array([[1.0, 0.0], [0.0, 0.5], [0.0, 0.5]]))
        1.0
        >>> round(disentanglement(np.array([[1.0, 0.5], [0.0, 0.5]])), 4)  # 3/4 · (1 − H(⅔, ⅓)) + 1/4 · 1
        0.3113
    """
    # The mean of one minus the entropy of each row's shares, weighted by the rows' sums.
    totals = importances.sum(axis=1)
    if importances.shape[1] < 2 or not totals.sum() > 0:
        return math.nan
    shares = np.divide(importances, totals[:, None], out=np.zeros(importances.shape), where=totals[:, None] > 0)
    logarithms = np.log(shares, out=np.zeros_like(shares), where=shares > 0)
    entropies = -(shares * logarithms).sum(axis=1) / math.log(importances.shape[1])
    return float(((1 - entropies) * totals).sum() / totals.sum())


def measure_mig(readings: LatentReadings) -> dict[str, Any]:
    r"""Measure the mutual information gap: how much more the best component says about a factor than the second best.

    With I the mutual information between a component of z and a factor of its image, and H the factor's entropy,

    .. math:: \mathrm{MIG} = \frac1K \sum_k \frac{I(z_{(1)}; v_k) - I(z_{(2)}; v_k)}{H(v_k)},

    :math:`z_{(1)}` and :math:`z_{(2)}` being the two components that say most. Components and continuous factors are
    put into 20 bins of equally many samples, where a continuous factor has the entropy log 20.

    Args:
        readings: Latents and factors.

    Returns:
        ``mig``: the mean gap over the factors, in [0, 1]; NaN if the generator varies none. ``factors``: those that it
        varies; the others are left out. ``gaps``: the gap of each. ``information``: (|z|, K) in shares of the factor's
        entropy.

    Raises:
        MissingExtraError: If the extra ``metrics`` is not installed.

    References:
        Chen et al. 2018, arXiv:1802.04942, section 4.1.
    """
    try:
        from sklearn.metrics import mutual_info_score
    except ImportError as error:
        raise MissingExtraError("MIG", "metrics") from error
    factors = readings.varied
    codes = [equal_bins(component) for component in readings.z.T]
    # One row more than there are components: with one component the second best says nothing.
    information = np.zeros((len(codes) + 1, len(factors)))
    for column, name in enumerate(factors):
        levels = readings.levels[name]
        labels = equal_bins(levels) if levels.dtype.kind == "f" else levels
        entropy = mutual_info_score(labels, labels)
        for row, code in enumerate(codes):
            information[row, column] = mutual_info_score(labels, code) / entropy if entropy > 0 else 0.0
    second, best = np.sort(information, axis=0)[-2:]
    gaps = dict(zip(factors, (best - second).tolist(), strict=True))
    value = float(np.mean(best - second)) if factors else math.nan
    return {"mig": value, "factors": factors, "gaps": gaps, "information": information[:-1]}


def equal_bins(values: np.ndarray, bins: int = BINS) -> np.ndarray:
    """Put numbers into bins of equally many.

    Args:
        values: (n,).
        bins: Number of bins; fewer come out where equal values stay together.

    Returns:
        (n,) indices of bins, in the order of the values.

    Example:
        >>> equal_bins(np.array([5.0, 1.0, 3.0, 9.0]), bins=2)
        array([1, 0, 0, 1])
    """
    edges = np.quantile(values, np.linspace(0, 1, bins + 1)[1:-1])
    return np.searchsorted(edges, values, side="left")
