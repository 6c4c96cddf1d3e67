"""DCI and MIG: how the components of z share out the factors that a judge reads from a generator's images."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from directions.errors import MissingExtraError, UserError
from directions.evaluation.factors import Judge, columns_of
from directions.generators.base import Generator
from directions.sampling import derived_rng, draw_points

VARIED = 0.1
"""A factor counts as varied if its spread over the samples is at least this share of that over the data. The scene
reader's errors are 0.06 of it at most, also for images of 16 pixels."""

BINS = 20

_TRAINED_ON = 0.8
_FOREST = {"n_estimators": 20, "min_samples_leaf": 5}


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
    generator: Generator,
    judge: Judge,
    *,
    samples: int,
    classes: Sequence[int] = (),
    truncation: float = 1.0,
    seed: int = 0,
    rows: int = 64,
    count: Callable[[int], object] = lambda images: None,
) -> LatentReadings:
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


@dataclass(frozen=True, eq=False)
class DCI:
    r"""Disentanglement, completeness and informativeness, and what they come from.

    For each factor a random forest predicts it from z; how much it relies on each component is a column of the
    importance matrix R, components × factors, that adds up to 1. With :math:`P_{ik}` the shares in row i and
    :math:`\tilde P_{ik}` those in column k, and entropies to the base of their number of entries,

    - **disentanglement** :math:`\sum_i \rho_i (1 - H(P_{i\cdot}))`, with :math:`\rho_i` the row's share of all of R:
      whether a component is of importance for one factor only;
    - **completeness**, the mean over factors of :math:`1 - H(\tilde P_{\cdot k})`: whether a factor depends on one
      component only;
    - **informativeness**, the mean of the regressions' R² on samples that they have not seen: whether z decides the
      factors.

    Attributes:
        disentanglement: In [0, 1]; NaN if there is only one factor.
        completeness: In [0, 1]; NaN if there is only one component, or no factor.
        informativeness: Mean of the scores, 1 at best; NaN if there is no factor.
        factors: The factors that the generator varies, K of them; the others are left out.
        scores: R² of each factor's regression on samples that it has not seen.
        importances: (|z|, K) float64; every column adds up to 1.

    References:
        Eastwood & Williams 2018, "A framework for the quantitative evaluation of disentangled representations", ICLR.
    """

    disentanglement: float
    completeness: float
    informativeness: float
    factors: tuple[str, ...]
    scores: dict[str, float]
    importances: np.ndarray

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain JSON types, ``None`` for NaN."""
        return _plain(vars(self))


def measure_dci(
    readings: LatentReadings, *, seed: int = 0, count: Callable[[int], object] = lambda factors: None
) -> DCI:
    """Fit a regression for every factor that varies and compute the numbers.

    Args:
        readings: Latents and factors; the first 80 % are trained on, the rest is predicted.
        seed: Of the forests.
        count: Called with 1 after each regression (a progress bar).

    Returns:
        The numbers.

    Raises:
        MissingExtraError: If the extra ``metrics`` is not installed.
        UserError: If there are fewer than 50 samples.
    """
    try:
        from sklearn.ensemble import RandomForestRegressor
    except ImportError as error:
        raise MissingExtraError("DCI", "metrics") from error
    n, dim_z = readings.z.shape
    if n < 50:
        raise UserError(f"DCI needs at least 50 samples, got {n}.")
    train = int(_TRAINED_ON * n)
    factors = readings.varied
    importances = np.zeros((dim_z, len(factors)))
    scores: dict[str, float] = {}
    for column, name in enumerate(factors):
        target = readings.targets[name]
        target = target[:, 0] if target.shape[1] == 1 else target
        forest = RandomForestRegressor(random_state=seed, **_FOREST)
        forest.fit(readings.z[:train], target[:train])
        importances[:, column] = forest.feature_importances_
        unseen, missed = target[train:], target[train:] - forest.predict(readings.z[train:])
        scores[name] = float(1 - np.square(missed).sum() / np.square(unseen - unseen.mean(axis=0)).sum())
        count(1)
    informativeness = float(np.mean(list(scores.values()))) if scores else math.nan
    return DCI(disentanglement(importances), completeness(importances), informativeness, factors, scores, importances)


def disentanglement(importances: np.ndarray) -> float:
    """Compute D of an importance matrix.

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


def completeness(importances: np.ndarray) -> float:
    """Compute C of an importance matrix.

    Args:
        importances: (components, factors), not negative.

    Returns:
        In [0, 1]: 1 if every factor depends on one component only; NaN for fewer than two components or a matrix of
        zeros. Factors count by their column's sum, which is 1 for each in what `measure_dci` makes.

    Example:
        >>> round(completeness(np.array([[1.0, 0.0], [0.0, 0.5], [0.0, 0.5]])), 4)  # H(½, ½, 0) to base 3 is 0.6309
        0.6845
    """
    return disentanglement(importances.T)


@dataclass(frozen=True, eq=False)
class MIG:
    r"""The mutual information gap: how much more the best component says about a factor than the second best.

    With I the mutual information between a component of z and a factor of its image, and H the factor's entropy,

    .. math:: \mathrm{MIG} = \frac1K \sum_k \frac{I(z_{(1)}; v_k) - I(z_{(2)}; v_k)}{H(v_k)},

    :math:`z_{(1)}` and :math:`z_{(2)}` being the two components that say most. Components and continuous factors are
    put into 20 bins of equally many samples, where a continuous factor has the entropy log 20.

    Attributes:
        mig: Mean gap over the factors, in [0, 1]; NaN if the generator varies none.
        factors: The factors that the generator varies; the others are left out.
        gaps: The gap of each.
        information: (|z|, K), mutual information in shares of the factor's entropy.

    References:
        Chen et al. 2018, arXiv:1802.04942, section 4.1.
    """

    mig: float
    factors: tuple[str, ...]
    gaps: dict[str, float]
    information: np.ndarray

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain JSON types, ``None`` for NaN."""
        return _plain(vars(self))


def measure_mig(readings: LatentReadings) -> MIG:
    """Compute the mutual information gap.

    Args:
        readings: Latents and factors.

    Returns:
        The gap.

    Raises:
        MissingExtraError: If the extra ``metrics`` is not installed.
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
    gaps = best - second
    value = float(gaps.mean()) if factors else math.nan
    return MIG(value, factors, dict(zip(factors, gaps.tolist(), strict=True)), information[:-1])


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


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    """Turn arrays and tuples into lists, and NaN into ``None``."""
    plain = {name: np.asarray(v).tolist() if isinstance(v, (np.ndarray, tuple)) else v for name, v in values.items()}
    return {name: None if isinstance(v, float) and math.isnan(v) else v for name, v in plain.items()}
