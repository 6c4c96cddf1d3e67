"""Measure a direction file against random directions and the axes of z, with several seeds, and report it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal

import numpy as np
from torch import Tensor

from directions.direction_file import Directions
from directions.errors import UserError, nearest
from directions.evaluation.activeness import activeness, diagonalness, diagonalness_evaluations
from directions.evaluation.factors import Judge, measure_factors
from directions.evaluation.summary import config_of
from directions.generators.base import Generator
from directions.held_out import HeldOutHessians, axis_directions, draw_held_out, held_out_penalty, random_directions
from directions.search import Search

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


def interval(values: Sequence[float]) -> dict[str, Any]:
    """Sum up a number that was measured once for each of several independent seeds.

    Args:
        values: At least one.

    Returns:
        ``mean``; ``low`` and ``high``, the ends of Student's 95% interval for it, ``None`` with a single value; and the
        ``values``.

    Example:
        >>> as_text(interval([1.0, 2.0, 3.0]))
        '2 (-0.484 to 4.48)'
    """
    number, mean = len(values), math.fsum(values) / len(values)
    if number < 2:
        return {"mean": mean, "low": None, "high": None, "values": list(values)}
    from scipy.stats import t

    half = float(t.ppf((1 + CONFIDENCE) / 2, number - 1)) * float(np.std(values, ddof=1)) / math.sqrt(number)
    return {"mean": mean, "low": mean - half, "high": mean + half, "values": list(values)}


def as_text(found: Mapping[str, Any]) -> str:
    """Write an `interval` as ``mean (low to high)``, with three figures."""
    return f"{found['mean']:.3g}" + ("" if found["low"] is None else f" ({found['low']:.3g} to {found['high']:.3g})")


def verdict(number: str, difference: Mapping[str, Any]) -> str:
    """Say what a difference, found less another set's, means.

    Args:
        number: A key of `NUMBERS`.
        difference: Seed by seed, an `interval`.

    Returns:
        ``better``, ``worse``, ``more``, ``less``; or ``no clear difference``, where the interval holds 0 or is unknown.
    """
    if difference["low"] is None or difference["low"] <= 0 <= difference["high"]:
        return "no clear difference"
    more, better = difference["low"] > 0, NUMBERS[number][1]
    if better is None:
        return "more" if more else "less"
    return "better" if more == (better == "higher") else "worse"


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
        self, directions: Directions, generator: Generator, *, metrics: Sequence[str] | None = None, seeds: int = 5,
        samples: int = 32, judge: Judge | None = None,
    ) -> None:  # fmt: skip
        if seeds < 1:
            raise UserError(f"seeds must be at least 1, got {seeds}.")
        if samples < 2:
            raise UserError(f"samples must be at least 2, got {samples}.")
        self.config = config_of(directions, generator, held_out=samples, held_out_probes=PROBES)
        self.directions, self.generator, self.judge = directions, generator, judge
        self.seeds, self.samples, ndirs = seeds, samples, len(directions)
        self.metrics = _checked_metrics(metrics, has_judge=judge is not None, ndirs=ndirs)
        self.search = Search.resolve(generator, self.config)
        self._places = max(2, samples // 4)
        self._hessian_rows, self._hessian_samples = min(ndirs, HESSIAN_DIRECTIONS), max(2, samples // 16)
        # Diagonalness looks at the most active directions: activeness comes first, and is told if it was asked for.
        ranks = "diagonalness" in self.metrics and ndirs > HESSIAN_DIRECTIONS
        self._measured = tuple(dict.fromkeys((*(("activeness",) if ranks else ()), *self.metrics)))
        self._cost = {
            "penalty": 2 * PROBES * samples,
            "hessians": 0,  # measured once for all sets
            "activeness": 3 * ndirs * samples,
            "diagonalness": diagonalness_evaluations(self._hessian_rows, self._hessian_samples),
            "factors": (2 * ndirs + 1) * samples,
        }

    @property
    def images(self) -> int:
        """The number of images that `run` makes."""
        shared = HeldOutHessians.images(self.search.space.size, self._places) if "hessians" in self._measured else 0
        return self.seeds * (len(SETS) * sum(self._cost[metric] for metric in self._measured) + shared)

    def run(self, count: Callable[[int], object] = lambda images: None) -> dict[str, Any]:
        """Measure everything.

        Args:
            count: Called with the number of images that were just made (a progress bar).

        Returns:
            Plain JSON types: ``settings``; ``numbers``, for each of `NUMBERS` that has a value for all sets and seeds
            the three sets' intervals, and those of the differences, found less another set, with a verdict;
            ``spectra``, the activeness of each set, the largest first; ``directions``, what was measured of each one.
        """
        table: dict[str, dict[str, list[Any]]] = {}  # what was measured, of which set, seed by seed
        for seed in range(self.seeds):
            hessians = None
            if "hessians" in self._measured:
                hessians = HeldOutHessians.measure(
                    self.generator, self.config, places=self._places, seed=seed, count=count
                )
            for name, basis in self._bases(seed).items():
                for key, value in self._measure(basis.to(self.generator.device), seed, hessians, count):
                    table.setdefault(key, {name: [] for name in SETS})[name].append(value)
        settings = {
            "seeds": self.seeds,
            "samples": self.samples,
            "hessian_samples": self._hessian_samples,
            "hessian_directions": self._hessian_rows,
            "factor_path": FACTOR_PATH,
            "classes": self.config.to_dict()["classes"],
            "space": str(self.search.space),
            **{name: getattr(self.config, name) for name in ("truncation", "layers", "epsilon", "path_size")},
            "metrics": list(self.metrics),
            "confidence": CONFIDENCE,
        }
        spectra = {
            name: [interval(place.tolist()) for place in -np.sort(-np.stack(values), axis=1).T]
            for name, values in table.get("activeness", {}).items()
        }
        numbers, rows = _numbers(table), _direction_rows(self.directions.names, table)
        return {"settings": settings, "numbers": numbers, "spectra": spectra, "directions": rows}

    def _bases(self, seed: int) -> dict[str, Tensor]:
        return {
            "found": self.directions.tensor,
            "random": random_directions(self.search, seed),
            "axes": axis_directions(self.search),
        }

    def _measure(
        self, basis: Tensor, seed: int, hessians: HeldOutHessians | None, count: Callable[[int], object]
    ) -> Iterator[tuple[str, Any]]:
        """Measure one set with one seed: its numbers, ``activeness`` (ndirs,), ``effects`` {factor: (ndirs,)}."""
        truncation, classes = self.config.truncation, self.search.classes
        where: dict[str, Any] = {"truncation": truncation, "seed": seed, "layers": self.search.layers}
        most_active = np.arange(self._hessian_rows)
        for metric in self._measured:
            if metric == "penalty":
                held_out = draw_held_out(self.generator, self.config, seed=seed)
                yield "penalty", held_out_penalty(self.generator, basis, held_out)
            elif metric == "hessians":
                assert hessians is not None, "measured before"
                score = hessians.score(basis)
                yield "off_diagonal", score.off_diagonal
                yield "on_diagonal", score.share_on_diagonal
            elif metric == "activeness":
                active = activeness(self.generator, basis, samples=self.samples, classes=classes, **where).numpy()
                most_active = np.sort(np.argsort(-active, kind="stable")[: self._hessian_rows])
                yield "activeness", active
                yield "active_directions", effective_number(active)
            elif metric == "diagonalness":
                settings = where | {"classes": classes, "step": self.config.epsilon, "samples": self._hessian_samples}
                found = diagonalness(self.generator, basis[most_active], **settings)
                yield "diagonal_share", found["share"]
                yield "diagonal_ratio", found["ratio"]
            else:
                assert self.judge is not None, "checked in _checked_metrics"
                settings = where | {"classes": classes or None, "num_points": self.samples, "path_sizes": FACTOR_PATH}
                factors = measure_factors(self.generator, basis, self.judge, **settings)
                yield "effects", dict(zip(factors.factors, factors.effects.T, strict=True))
                yield "on_one_factor", factors.single_factor_share
                yield "disentanglement", factors.disentanglement
            count(self._cost[metric])


def _numbers(table: Mapping[str, Mapping[str, Sequence[Any]]]) -> dict[str, Any]:
    """Sum up each number over the seeds, and compare the found directions with either other set."""
    numbers: dict[str, Any] = {}
    for number, (_, better) in NUMBERS.items():
        by_set = table.get(number, {"found": [math.nan]})
        if not np.isfinite([*by_set.values()]).all():
            continue
        numbers[number] = {"better": better} | {name: interval(values) for name, values in by_set.items()}
        for other in list(SETS)[1:]:
            # Seeds measure all sets at the same places: this is narrower than two intervals beside each other suggest.
            difference = interval(np.subtract(by_set["found"], by_set[other]).tolist())
            numbers[number][f"found_less_{other}"] = difference | {"verdict": verdict(number, difference)}
    return numbers


def _direction_rows(names: Sequence[str], table: Mapping[str, Mapping[str, Sequence[Any]]]) -> list[dict[str, Any]]:
    """Tell what was measured of each direction of the file: activeness, mean effects, the largest one's share."""
    rows: list[dict[str, Any]] = [{"index": index, "name": name} for index, name in enumerate(names)]
    for row in rows if "activeness" in table else ():
        row["activeness"] = interval([float(active[row["index"]]) for active in table["activeness"]["found"]])
    for row in rows if "effects" in table else ():
        seeds = table["effects"]["found"]
        effects = {factor: float(np.mean([seed[factor][row["index"]] for seed in seeds])) for factor in seeds[0]}
        total, largest = math.fsum(effects.values()), max(effects, key=effects.__getitem__)
        row |= {
            "effects": effects,
            "factor": largest if total else None,
            "share": effects[largest] / total if total else None,
        }
    return rows


def text_tables(result: Mapping[str, Any]) -> list[list[tuple[str, ...]]]:
    """Lay an evaluation out as text.

    Args:
        result: As `FileEvaluation.run` returns it.

    Returns:
        Tables as rows of cells, a heading first: the numbers, a row each; and, where something was measured of them,
        the directions.
    """
    numbers: list[tuple[str, ...]] = [("", *SETS.values(), "found against random", "against axes")]
    for number, found in result["numbers"].items():
        label, better = NUMBERS[number]
        verdicts = (found[f"found_less_{other}"]["verdict"] for other in list(SETS)[1:])
        label += f" ({better} is better)" if better else ""
        numbers.append((label, *(as_text(found[name]) for name in SETS), *verdicts))
    first = result["directions"][0]
    shown, factors = ["activeness"] * ("activeness" in first), list(first.get("effects", ()))
    if not shown and not factors:
        return [numbers]
    rows: list[tuple[str, ...]] = [("", "name", *shown, *factors, *["largest share"] * bool(factors))]
    for row in result["directions"]:
        cells = [str(row["index"]), row["name"], *(f"{row[name]['mean']:.4g}" for name in shown)]
        cells += [f"{row['effects'][factor]:.3f}" for factor in factors]
        if factors:
            cells.append(f"{row['share']:.0%} {row['factor']}" if row["factor"] else "")
        rows.append(tuple(cells))
    return [numbers, rows]


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
    return tuple(metric for metric in METRICS if metric in metrics)
