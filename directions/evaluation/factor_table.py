r"""The table directions x factors and the numbers that sum it up; `directions.evaluation.factors` measures it.

An entry :math:`E_{ik}` is the effect of direction i on factor k: its mean squared change, in variances over the data.

**One number.** :math:`\sum_i \max_k E_{ik} / \sum_{ik} E_{ik}`, which is the mean over directions of the share of a
direction's effect that falls on one factor, weighted by the effect: between 1/5 and 1. A direction that does nothing
carries no weight. It is the *disentanglement* of Eastwood & Williams (2018, "A framework for the quantitative
evaluation of disentangled representations", DCI), with measured effects as importances and the largest share in the
place of one minus the entropy of the shares; theirs is given beside it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from directions.evaluation.scene_reader import FACTORS

COLUMNS = (*FACTORS, "shape")


@dataclass(frozen=True, eq=False)
class FactorTable:
    """Effects of directions on factors.

    Attributes:
        names: The directions.
        path_sizes: Longest step along each, in latent units.
        effects: (ndirs, 5), float64, mean squared change of each of `COLUMNS`, in variances over the data.
        points: Number of base points.
        truncation: Truncation of the latents and of the generator.
        seed: Seed of the base points.
    """

    names: tuple[str, ...]
    path_sizes: tuple[float, ...]
    effects: np.ndarray
    points: int
    truncation: float
    seed: int

    @property
    def totals(self) -> np.ndarray:
        """(ndirs,), the effect of each direction on all factors together."""
        return self.effects.sum(axis=1)

    @property
    def shares(self) -> np.ndarray:
        """(ndirs, 5), each factor's share of the direction's effect; zeros for a direction that does nothing."""
        totals = self.totals[:, None]
        return np.divide(self.effects, totals, out=np.zeros_like(self.effects), where=totals > 0)

    @property
    def purities(self) -> np.ndarray:
        """(ndirs,), the largest share of each direction."""
        return self.shares.max(axis=1)

    @property
    def single_factor_share(self) -> float:
        """Effect-weighted mean of the purities, in [1/5, 1]; 0 if no direction does anything."""
        return self._weighted_mean(self.purities)

    @property
    def disentanglement(self) -> float:
        """DCI's: effect-weighted mean of one minus the entropy (base 5) of the shares, in [0, 1]."""
        shares = self.shares
        logarithms = np.log(shares, out=np.zeros_like(shares), where=shares > 0)
        return self._weighted_mean(1 + (shares * logarithms).sum(axis=1) / math.log(len(COLUMNS)))

    def _weighted_mean(self, values: np.ndarray) -> float:
        total = self.totals.sum()
        return float(values @ self.totals / total) if total > 0 else 0.0

    def to_dict(self) -> dict[str, Any]:
        """The table and its numbers, ready for JSON."""
        directions = [
            {
                "name": name,
                "path_size": path_size,
                "effects": dict(zip(COLUMNS, row.tolist(), strict=True)),
                "factor": COLUMNS[int(row.argmax())],
                "share": float(purity),
            }
            for name, path_size, row, purity in zip(
                self.names, self.path_sizes, self.effects, self.purities, strict=True
            )
        ]
        return {
            "single_factor_share": self.single_factor_share,
            "disentanglement": self.disentanglement,
            "points": self.points,
            "truncation": self.truncation,
            "seed": self.seed,
            "directions": directions,
        }

    def to_text(self) -> str:
        """The table as aligned plain text, a row a direction, with the numbers beneath."""
        width = max(len("direction"), *(len(name) for name in self.names))
        head = "".join(f"{column:>8}" for column in COLUMNS)
        lines = [f"{'direction':<{width}}    path{head}   total  on one factor"]
        for name, path_size, row, purity in zip(self.names, self.path_sizes, self.effects, self.purities, strict=True):
            cells = "".join(f"{value:8.3f}" for value in row)
            lines.append(
                f"{name:<{width}}{path_size:8.2f}{cells}{row.sum():8.3f}  {purity:5.1%} {COLUMNS[int(row.argmax())]}"
            )
        cells = "".join(f"{value:8.3f}" for value in self.effects.sum(axis=0))
        lines += [
            f"{'all':<{width}}{'':8}{cells}{self.effects.sum():8.3f}  {self.single_factor_share:5.1%}",
            "",
            (
                f"Mean squared change in variances over the data; {self.points} base points, truncation "
                f"{self.truncation:g}, seed {self.seed}."
            ),
            (
                "Share of a direction's effect that falls on one factor (weighted mean): "
                f"{self.single_factor_share:.3f}; DCI disentanglement: {self.disentanglement:.3f}."
            ),
        ]
        return "\n".join(lines)
