r"""DCI: disentanglement, completeness and informativeness of a generator's components, by the scene reader.

After training. For each factor a regression predicts it from z; how much it relies on each component is a column of the
importance matrix R, components × factors, that adds up to 1. With :math:`P_{ik}` the shares in row i and
:math:`\tilde P_{ik}` those in column k, and entropies to the base of their number of entries,

- **disentanglement** :math:`\sum_i \rho_i (1 - H(P_{i\cdot}))`, with :math:`\rho_i` the row's share of all of R:
  whether a component is of importance for one factor only;
- **completeness**, the mean over factors of :math:`1 - H(\tilde P_{\cdot k})`: whether a factor depends on one only;
- **informativeness**, the mean of the regressions' R² on samples that they have not seen: whether z decides the
  factors.

The regression is a random forest, as in the paper below, from scikit-learn (extra ``metrics``).

References:
    Eastwood & Williams 2018, "A framework for the quantitative evaluation of disentangled representations", ICLR.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from directions.errors import MissingExtraError, UserError
from directions.evaluation.latent_readings import LatentReadings

_TRAINED_ON = 0.8
_TREES = 20
_SMALLEST_LEAF = 5


@dataclass(frozen=True, eq=False)
class DCI:
    """The three numbers and what they come from.

    Attributes:
        factors: The factors that the generator varies, K of them; the others are left out.
        importances: (|z|, K) float64; every column adds up to 1.
        scores: R² of each factor's regression on samples that it has not seen.
        disentanglement: In [0, 1]; NaN if there is only one factor.
        completeness: In [0, 1]; NaN if there is only one component, or no factor.
        informativeness: Mean of the scores, 1 at best; NaN if there is no factor.
    """

    factors: tuple[str, ...]
    importances: np.ndarray
    scores: dict[str, float]
    disentanglement: float
    completeness: float
    informativeness: float

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain JSON types, ``None`` for NaN."""
        return {
            "disentanglement": _or_none(self.disentanglement),
            "completeness": _or_none(self.completeness),
            "informativeness": _or_none(self.informativeness),
            "factors": list(self.factors),
            "scores": self.scores,
            "importances": self.importances.tolist(),
        }


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
        forest = RandomForestRegressor(_TREES, min_samples_leaf=_SMALLEST_LEAF, random_state=seed)
        forest.fit(readings.z[:train], target[:train])
        importances[:, column] = forest.feature_importances_
        scores[name] = _r_squared(forest.predict(readings.z[train:]), target[train:])
        count(1)
    informativeness = float(np.mean(list(scores.values()))) if scores else math.nan
    return DCI(factors, importances, scores, disentanglement(importances), completeness(importances), informativeness)


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
    return _one_minus_entropy(importances)


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
    return _one_minus_entropy(importances.T)


def _one_minus_entropy(matrix: np.ndarray) -> float:
    """Mean of one minus the entropy of each row's shares, weighted by the rows' sums."""
    totals = matrix.sum(axis=1)
    if matrix.shape[1] < 2 or not totals.sum() > 0:
        return math.nan
    shares = np.divide(matrix, totals[:, None], out=np.zeros_like(matrix, dtype=float), where=totals[:, None] > 0)
    logarithms = np.log(shares, out=np.zeros_like(shares), where=shares > 0)
    entropies = -(shares * logarithms).sum(axis=1) / math.log(matrix.shape[1])
    return float(((1 - entropies) * totals).sum() / totals.sum())


def _r_squared(predicted: np.ndarray, target: np.ndarray) -> float:
    """1 − squared error / variance, both summed over the target's columns."""
    return float(1 - np.square(predicted - target).sum() / np.square(target - target.mean(axis=0)).sum())


def _or_none(value: float) -> float | None:
    return None if math.isnan(value) else value
