r"""MIG, the mutual information gap: how much more the best component says about a factor than the second best.

After training. With I the mutual information between a component of z and a factor of its image, and H the factor's
entropy,

.. math:: \mathrm{MIG} = \frac1K \sum_k \frac{I(z_{(1)}; v_k) - I(z_{(2)}; v_k)}{H(v_k)},

:math:`z_{(1)}` and :math:`z_{(2)}` being the two components that say most. Components and continuous factors are put
into 20 bins of equally many samples, where a continuous factor has the entropy log 20. scikit-learn (extra ``metrics``)
computes the information of the table of counts.

References:
    Chen et al. 2018, arXiv:1802.04942, section 4.1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from directions.errors import MissingExtraError
from directions.evaluation.latent_readings import LatentReadings
from directions.evaluation.scene_reader import FACTORS

BINS = 20


@dataclass(frozen=True, eq=False)
class MIG:
    """The gap and what it comes from.

    Attributes:
        value: Mean gap over the factors, in [0, 1]; NaN if the generator varies none.
        factors: The factors that the generator varies; the others are left out.
        gaps: The gap of each.
        information: (|z|, K), mutual information in shares of the factor's entropy.
    """

    value: float
    factors: tuple[str, ...]
    gaps: dict[str, float]
    information: np.ndarray

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain JSON types, ``None`` for NaN."""
        return {
            "mig": None if math.isnan(self.value) else self.value,
            "factors": list(self.factors),
            "gaps": self.gaps,
            "information": self.information.tolist(),
        }


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
    information = np.zeros((len(codes), len(factors)))
    for column, name in enumerate(factors):
        levels = readings.levels[name]
        labels = equal_bins(levels) if name in FACTORS else levels
        entropy = mutual_info_score(labels, labels)
        for row, code in enumerate(codes):
            information[row, column] = mutual_info_score(labels, code) / entropy if entropy > 0 else 0.0
    # With one component the second best says nothing.
    ordered = np.sort(np.vstack([information, np.zeros(len(factors))]), axis=0)
    gaps = ordered[-1] - ordered[-2] if len(codes) > 1 else ordered[-1]
    value = float(gaps.mean()) if len(factors) else math.nan
    return MIG(value, factors, dict(zip(factors, gaps.tolist(), strict=True)), information)


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
