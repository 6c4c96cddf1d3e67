"""Measure a direction file against random directions and the axes of z, with several seeds, and report it."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from directions.direction_file import Directions
from directions.errors import UserError, nearest
from directions.evaluation.activeness import activeness
from directions.evaluation.diagonalness import diagonalness, diagonalness_evaluations
from directions.evaluation.factors import FactorTable, Judge, measure_factors
from directions.generators.base import Generator
from directions.generators.layers import chosen_layers
from directions.held_out import HeldOutHessians, axis_directions, draw_held_out, held_out_penalty, random_directions
from directions.search import Search
from directions.settings.discover import DiscoverConfig

METRICS = ("penalty", "hessians", "diagonalness", "activeness", "factors")
SETS = {"found": "found", "random": "random", "axes": "axes of z"}
"""The sets of directions that are measured, and what to call them."""

NUMBERS: dict[str, tuple[str, Literal["lower", "higher"] | None]] = {
    "penalty": ("held-out penalty", "lower"),
    "off_diagonal": ("off-diagonal energy", "lower"),
    "on_diagonal": ("energy on the diagonal", "higher"),
    "diagonal_share": ("diagonal share", "higher"),
    "diagonal_ratio": ("diagonal ratio", "higher"),
    "active_directions": ("active directions", None),
    "on_one_factor": ("on one factor", "higher"),
    "disentanglement": ("disentanglement", "higher"),
}
"""What each number is called, and which way is better."""

CONFIDENCE = 0.95

PROBES = 8
"""Probes at each place of the held-out penalty."""

HESSIAN_DIRECTIONS = 16
"""Directions that diagonalness looks at, at most, the most active: its cost grows with their square."""

FACTOR_PATH = 2.0
"""Longest step of the factor table along every direction, in latent units: the same for all sets."""


@dataclass(frozen=True)
class Interval:
    """A number that was measured once for each seed, with Student's 95% interval for its mean.

    Attributes:
        values: What was measured, seed by seed.
        mean: Their mean.
        low: Lower end of the interval for the mean; ``None`` with a single value.
        high: Its upper end.
    """

    values: tuple[float, ...]
    mean: float
    low: float | None
    high: float | None

    @classmethod
    def of(cls, values: Sequence[float]) -> Interval:
        """Sum up values, for independent seeds.

        Args:
            values: At least one.

        Returns:
            Their mean and interval.

        Example:
            >>> Interval.of([1.0, 2.0, 3.0]).to_text()
            '2 (-0.484 to 4.48)'
        """
        number = len(values)
        mean = math.fsum(values) / number
        if number < 2:
            return cls(tuple(values), mean, None, None)
        from scipy.stats import t

        half = float(t.ppf((1 + CONFIDENCE) / 2, number - 1)) * float(np.std(values, ddof=1)) / math.sqrt(number)
        return cls(tuple(values), mean, mean - half, mean + half)

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain JSON types."""
        return {"mean": self.mean, "low": self.low, "high": self.high, "values": list(self.values)}

    def to_text(self) -> str:
        """Write it as ``mean (low to high)``, with three figures."""
        return f"{self.mean:.3g}" + ("" if self.low is None else f" ({self.low:.3g} to {self.high:.3g})")


def verdict(number: str, difference: Interval) -> str:
    """Say what a difference, found less another set's, means.

    Args:
        number: A key of `NUMBERS`.
        difference: Seed by seed.

    Returns:
        ``better``, ``worse``, ``more``, ``less``; or ``no clear difference``, where the interval holds 0 or is unknown.
    """
    if difference.low is None or difference.high is None or difference.low <= 0 <= difference.high:
        return "no clear difference"
    more, better = difference.low > 0, NUMBERS[number][1]
    if better is None:
        return "more" if more else "less"
    return "better" if more == (better == "higher") else "worse"


@dataclass
class SetScores:
    """What was measured of one set of directions.

    Attributes:
        numbers: For each number its values, seed by seed; NaN where it has none.
        activeness: For each seed (ndirs,), in the set's order; empty if it was not measured.
        factors: For each seed the factor table; empty if it was not measured.
    """

    numbers: dict[str, list[float]] = field(default_factory=dict)
    activeness: list[np.ndarray] = field(default_factory=list)
    factors: list[FactorTable] = field(default_factory=list)

    def spectrum(self) -> list[Interval]:
        """Return the activeness of the directions, the largest first, each with its interval over seeds."""
        ordered = np.sort(np.stack(self.activeness), axis=1)[:, ::-1]
        return [Interval.of(column.tolist()) for column in ordered.T]


@dataclass(frozen=True)
class Evaluation:
    """Everything that was measured, and how.

    Attributes:
        names: The directions of the file.
        sets: For each of `SETS` its scores.
        metrics: What was measured, among `METRICS`.
        settings: Number of seeds and samples, and what the file decided.
    """

    names: tuple[str, ...]
    sets: dict[str, SetScores]
    metrics: tuple[str, ...]
    settings: dict[str, Any]

    def intervals(self) -> dict[str, dict[str, Interval]]:
        """Sum up every number that has a value for all sets and seeds: an interval for each set."""
        values = {
            number: {name: self.sets[name].numbers.get(number, [math.nan]) for name in SETS} for number in NUMBERS
        }
        return {
            number: {name: Interval.of(listed) for name, listed in by_set.items()}
            for number, by_set in values.items()
            if all(map(math.isfinite, itertools.chain(*by_set.values())))
        }

    def differences(self, number: str) -> dict[str, Interval]:
        """Return the found directions' values less each other set's, seed by seed.

        Seeds measure all sets at the same places: this interval is narrower than two beside each other suggest.
        """
        found = self.sets["found"].numbers[number]
        others = {name: self.sets[name].numbers[number] for name in SETS if name != "found"}
        return {name: Interval.of([a - b for a, b in zip(found, o, strict=True)]) for name, o in others.items()}

    def per_direction(self) -> list[dict[str, Any]]:
        """Tell of each direction of the file what was measured of it.

        Returns:
            For each: index, name, and where they were measured its activeness (an interval) and its factors: the mean
            effects, the largest one's factor and share.
        """
        found = self.sets["found"]
        rows: list[dict[str, Any]] = [{"index": index, "name": name} for index, name in enumerate(self.names)]
        if found.activeness:
            for row, column in zip(rows, np.stack(found.activeness).T, strict=True):
                row["activeness"] = Interval.of(column.tolist()).to_dict()
        if found.factors:
            factors = found.factors[0].factors
            for row, line in zip(rows, np.mean([table.effects for table in found.factors], axis=0), strict=True):
                total = float(line.sum())
                row["effects"] = dict(zip(factors, line.tolist(), strict=True))
                row["factor"] = factors[int(line.argmax())] if total else None
                row["share"] = float(line.max()) / total if total else None
        return rows

    def to_dict(self) -> dict[str, Any]:
        """Write everything as plain JSON types.

        Returns:
            ``settings``; ``numbers``, for each the three sets' intervals and the comparisons; ``spectra``;
            ``directions``.
        """
        numbers: dict[str, Any] = {}
        for number, by_set in self.intervals().items():
            numbers[number] = {"better": NUMBERS[number][1]} | {name: v.to_dict() for name, v in by_set.items()}
            for other, difference in self.differences(number).items():
                said = {"verdict": verdict(number, difference)}
                numbers[number][f"found_less_{other}"] = difference.to_dict() | said
        measured = {name: scores for name, scores in self.sets.items() if scores.activeness}
        return {
            "settings": self.settings | {"metrics": list(self.metrics), "confidence": CONFIDENCE},
            "numbers": numbers,
            "spectra": {name: [place.to_dict() for place in scores.spectrum()] for name, scores in measured.items()},
            "directions": self.per_direction(),
        }

    def number_rows(self) -> list[tuple[str, ...]]:
        """Lay the numbers out as rows of text: a heading, then a row for each number."""
        rows = [("", *SETS.values(), "found against random", "against axes")]
        for number, by_set in self.intervals().items():
            label, better = NUMBERS[number]
            cells = (interval.to_text() for interval in by_set.values())
            verdicts = (verdict(number, difference) for difference in self.differences(number).values())
            rows.append((label + (f" ({better} is better)" if better else ""), *cells, *verdicts))
        return rows

    def direction_rows(self) -> list[tuple[str, ...]]:
        """Lay out what was measured of each direction of the file: a heading, then a row for each; empty if nothing."""
        rows = self.per_direction()
        factors = list(rows[0].get("effects", ()))
        shown = ["activeness"] if "activeness" in rows[0] else []
        if not shown and not factors:
            return []
        table = [("", "name", *shown, *factors, *(["largest share"] if factors else []))]
        for row in rows:
            cells = [str(row["index"]), row["name"], *(f"{row[name]['mean']:.4g}" for name in shown)]
            cells += [f"{row['effects'][factor]:.3f}" for factor in factors]
            if factors:
                cells.append(f"{row['share']:.0%} {row['factor']}" if row["factor"] else "")
            table.append(tuple(cells))
        return table


class FileEvaluation:
    """The plan of an evaluation, known before anything is measured, so that its cost can be told.

    With the same seed all three sets are measured at the same places, on the layers, components, classes and truncation
    that the file names.

    Args:
        directions: Of the file.
        generator: In which they were found, in eval mode.
        metrics: Which of `METRICS`; ``None`` takes all, ``factors`` only if there is a judge of the images.
        seeds: How many times to measure, each time at other places and with other random directions.
        samples: Places of a measurement, at least 2. Hessians take fewer: a quarter, and diagonalness a sixteenth of
            them, but at least 2.
        judge: Reads factors from images; needed for ``factors`` only.

    Raises:
        UserError: If the directions do not belong to the generator, or a setting is not allowed.
    """

    def __init__(
        self,
        directions: Directions,
        generator: Generator,
        *,
        metrics: Sequence[str] | None = None,
        seeds: int = 5,
        samples: int = 32,
        judge: Judge | None = None,
    ) -> None:
        directions.require_fits(generator)
        if seeds < 1:
            raise UserError(f"seeds must be at least 1, got {seeds}.")
        if samples < 2:
            raise UserError(f"samples must be at least 2, got {samples}.")
        self.directions, self.generator, self.judge = directions, generator, judge
        self.seeds, self.samples = seeds, samples
        self.metrics = _checked_metrics(metrics, has_judge=judge is not None, ndirs=len(directions))
        self.layers = chosen_layers(generator, directions.layers)
        self.config = _config(directions, None if self.layers is None else str(self.layers), samples)
        self.search = Search.resolve(generator, self.config)
        self._hessian_rows, self._hessian_samples = min(len(directions), HESSIAN_DIRECTIONS), max(2, samples // 16)
        # Diagonalness looks at the most active directions: activeness comes first, and is told if it was asked for.
        ranks = "diagonalness" in self.metrics and len(directions) > HESSIAN_DIRECTIONS
        self._measured = tuple(dict.fromkeys((*(("activeness",) if ranks else ()), *self.metrics)))

    @property
    def images(self) -> int:
        """The number of images that `run` makes."""
        measured = (metric for metric in self._measured if metric != "hessians")
        shared = HeldOutHessians.images(self.search.space.size, self._places) if "hessians" in self._measured else 0
        return self.seeds * (len(SETS) * sum(map(self._cost, measured)) + shared)

    @property
    def _places(self) -> int:
        """Places of the held-out Hessians."""
        return max(2, self.samples // 4)

    def _cost(self, metric: str) -> int:
        """Images for one measurement of one set."""
        ndirs = len(self.directions)
        return {
            "penalty": 2 * PROBES * self.samples,
            "hessians": 0,  # measured once for all sets
            "activeness": 3 * ndirs * self.samples,
            "diagonalness": diagonalness_evaluations(self._hessian_rows, self._hessian_samples),
            "factors": (2 * ndirs + 1) * self.samples,
        }[metric]

    def run(self, count: Callable[[int], object] = lambda images: None) -> Evaluation:
        """Measure everything.

        Args:
            count: Called with the number of images that were just made (a progress bar).

        Returns:
            The scores.
        """
        scores = {name: SetScores() for name in SETS}
        for seed in range(self.seeds):
            hessians = None
            if "hessians" in self._measured:
                hessians = HeldOutHessians.measure(
                    self.generator, self.config, places=self._places, seed=seed, count=count
                )
            for name, basis in self._bases(seed):
                self._measure(scores[name], basis.to(self.generator.device), seed, hessians, count)
        settings = {
            "seeds": self.seeds,
            "samples": self.samples,
            "hessian_samples": self._hessian_samples,
            "hessian_directions": self._hessian_rows,
            "factor_path": FACTOR_PATH,
            "classes": self.config.to_dict()["classes"],
            "truncation": self.config.truncation,
            "space": str(self.search.space),
            "layers": self.config.layers,
            "epsilon": self.config.epsilon,
            "path_size": self.config.path_size,
        }
        return Evaluation(self.directions.names, scores, self.metrics, settings)

    def _bases(self, seed: int) -> Iterator[tuple[str, Tensor]]:
        yield "found", torch.from_numpy(self.directions.matrix.copy())
        yield "random", random_directions(self.search, seed)
        yield "axes", axis_directions(self.search)

    def _measure(
        self,
        scores: SetScores,
        basis: Tensor,
        seed: int,
        hessians: HeldOutHessians | None,
        count: Callable[[int], object],
    ) -> None:
        """Measure one set with one seed."""
        numbers: dict[str, float] = {}
        where: dict[str, Any] = {"truncation": self.config.truncation, "seed": seed, "layers": self.layers}
        most_active = np.arange(self._hessian_rows)
        for metric in self._measured:
            if metric == "penalty":
                held_out = draw_held_out(self.generator, self.config, seed=seed)
                numbers["penalty"] = held_out_penalty(self.generator, basis, held_out)
            elif metric == "hessians":
                assert hessians is not None, "measured before"
                score = hessians.score(basis)
                numbers |= {"off_diagonal": score.off_diagonal, "on_diagonal": score.share_on_diagonal}
            elif metric == "activeness":
                where_active = where | {"classes": self.search.classes}
                active = activeness(self.generator, basis, samples=self.samples, **where_active).numpy()
                scores.activeness.append(active)
                numbers["active_directions"] = effective_number(active)
                most_active = np.sort(np.argsort(-active, kind="stable")[: self._hessian_rows])
            elif metric == "diagonalness":
                settings = where | {"classes": self.search.classes, "step": self.config.epsilon}
                found = diagonalness(self.generator, basis[most_active], samples=self._hessian_samples, **settings)
                numbers |= {"diagonal_share": found.share, "diagonal_ratio": found.ratio}
            else:
                assert self.judge is not None, "checked in _checked_metrics"
                settings = where | {"classes": self.search.classes or None, "path_sizes": FACTOR_PATH}
                table = measure_factors(self.generator, basis, self.judge, num_points=self.samples, **settings)
                scores.factors.append(table)
                numbers |= {"on_one_factor": table.single_factor_share, "disentanglement": table.disentanglement}
            count(self._cost(metric))
        for name, value in numbers.items():
            scores.numbers.setdefault(name, []).append(value)


def effective_number(activeness: np.ndarray) -> float:
    """Count the directions that do something, weighted by how much: (Σa)² / Σa², between 1 and their number.

    Args:
        activeness: (ndirs,), none negative.

    Returns:
        The number; 0 if none does anything.

    Example:
        >>> effective_number(np.array([1.0, 1.0, 1.0, 0.0]))
        3.0
    """
    squares = float(np.square(activeness).sum())
    return float(activeness.sum()) ** 2 / squares if squares else 0.0


def _config(directions: Directions, layers: str | None, samples: int) -> DiscoverConfig:
    """Turn a file's header into the settings of its penalty."""
    header = directions.header
    start, stop = header["space"]
    kept = {key: header["config"][key] for key in ("epsilon", "path_size", "reduction") if key in header["config"]}
    return DiscoverConfig(
        generator=directions.generator,
        classes=tuple(header["classes"]) if isinstance(header["classes"], list) else "all",
        ndirs=len(directions),
        space=f"{start}:{stop}",
        layers=layers,
        truncation=header["truncation"] or 1.0,
        held_out=samples,
        held_out_probes=PROBES,
        **kept,
    )


def _checked_metrics(metrics: Sequence[str] | None, *, has_judge: bool, ndirs: int) -> tuple[str, ...]:
    """Fill in which metrics are wanted, and refuse what cannot be had."""
    few = "for two or more directions, got one"
    unusable = {"hessians": few, "diagonalness": few} if ndirs < 2 else {}
    if not has_judge:
        unusable["factors"] = "for generators whose images a judge of the package can read, such as builtin"
    if metrics is None:
        return tuple(metric for metric in METRICS if metric not in unusable)
    for metric in metrics:
        if metric not in METRICS:
            raise UserError(f"metrics must be among {', '.join(METRICS)}, got {metric!r}.{nearest(metric, METRICS)}")
        if metric in unusable:
            raise UserError(f"metrics can have {metric} only {unusable[metric]}.")
    if not metrics:
        raise UserError(f"metrics must name at least one of {', '.join(METRICS)}.")
    return tuple(metric for metric in METRICS if metric in metrics)
