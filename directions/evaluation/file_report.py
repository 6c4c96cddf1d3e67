"""What an evaluation of a file says: numbers with intervals, comparisons seed by seed, tables as text and JSON.

After `directions.evaluation.file_scores`, which measures; beside `directions.evaluation.file_plot`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from directions.evaluation.factor_table import COLUMNS
from directions.evaluation.file_scores import SETS, Evaluation, SetScores
from directions.evaluation.intervals import CONFIDENCE, Interval, paired

LABELS = {"found": "found", "random": "random", "axes": "axes of z"}


@dataclass(frozen=True)
class Number:
    """One number of a set of directions.

    Attributes:
        label: What to call it.
        better: Whether less of it is better, or more, or neither.
    """

    label: str
    better: Literal["lower", "higher"] | None


NUMBERS = {
    "penalty": Number("held-out penalty", "lower"),
    "diagonal_share": Number("diagonal share", "higher"),
    "diagonal_ratio": Number("diagonal ratio", "higher"),
    "active_directions": Number("active directions", None),
    "on_one_factor": Number("on one factor", "higher"),
    "disentanglement": Number("disentanglement", "higher"),
}


def number_intervals(evaluation: Evaluation, number: str) -> dict[str, Interval] | None:
    """Sum one number up for every set.

    Args:
        evaluation: What was measured.
        number: Which, a key of `NUMBERS`.

    Returns:
        An interval for each set; ``None`` if it was not measured, or has no value for some set and seed.
    """
    values = {name: evaluation.sets[name].numbers.get(number) for name in SETS}
    if any(not listed or any(map(math.isnan, listed)) for listed in values.values()):
        return None
    return {name: Interval.of(listed) for name, listed in values.items() if listed}


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
    more, better = difference.low > 0, NUMBERS[number].better
    if better is None:
        return "more" if more else "less"
    return "better" if more == (better == "higher") else "worse"


def spectrum(scores: SetScores) -> list[Interval]:
    """Return the activeness of a set's directions, the largest first, each with its interval over seeds."""
    ordered = np.sort(np.stack(scores.activeness), axis=1)[:, ::-1]
    return [Interval.of(column.tolist()) for column in ordered.T]


def per_direction(evaluation: Evaluation) -> list[dict[str, Any]]:
    """Tell of each direction of the file what was measured of it.

    Args:
        evaluation: What was measured.

    Returns:
        For each: index, name, and where they were measured its activeness (an interval) and its factors: the mean
        effects, the largest one's factor and share.
    """
    found = evaluation.sets["found"]
    rows: list[dict[str, Any]] = [{"index": index, "name": name} for index, name in enumerate(evaluation.names)]
    if found.activeness:
        for row, column in zip(rows, np.stack(found.activeness).T, strict=True):
            row["activeness"] = Interval.of(column.tolist()).to_dict()
    if found.factors:
        effects = np.mean([table.effects for table in found.factors], axis=0)
        for row, line in zip(rows, effects, strict=True):
            total = float(line.sum())
            row["effects"] = dict(zip(COLUMNS, line.tolist(), strict=True))
            row["factor"] = COLUMNS[int(line.argmax())] if total else None
            row["share"] = float(line.max()) / total if total else None
    return rows


def to_dict(evaluation: Evaluation) -> dict[str, Any]:
    """Write an evaluation as plain JSON types.

    Args:
        evaluation: What was measured.

    Returns:
        ``settings``; ``numbers``, for each the three sets' intervals and the comparisons; ``spectra``; ``directions``.
    """
    numbers: dict[str, Any] = {}
    for number, described in NUMBERS.items():
        intervals = number_intervals(evaluation, number)
        if intervals is None:
            continue
        numbers[number] = {"better": described.better} | {name: found.to_dict() for name, found in intervals.items()}
        for other in SETS[1:]:
            difference = paired(intervals["found"], intervals[other])
            verdicts = {"verdict": verdict(number, difference)}
            numbers[number][f"found_less_{other}"] = difference.to_dict() | verdicts
    measured = {name: scores for name, scores in evaluation.sets.items() if scores.activeness}
    return {
        "settings": evaluation.settings | {"metrics": list(evaluation.metrics), "confidence": CONFIDENCE},
        "numbers": numbers,
        "spectra": {name: [place.to_dict() for place in spectrum(scores)] for name, scores in measured.items()},
        "directions": per_direction(evaluation),
    }


def number_rows(evaluation: Evaluation) -> list[tuple[str, ...]]:
    """Lay the numbers out as a table.

    Args:
        evaluation: What was measured.

    Returns:
        Rows of text: a heading, then a row for each number.
    """
    rows = [("", *(LABELS[name] for name in SETS), "found against random", "against axes")]
    for number, described in NUMBERS.items():
        intervals = number_intervals(evaluation, number)
        if intervals is None:
            continue
        differences = (paired(intervals["found"], intervals[other]) for other in SETS[1:])
        hint = f" ({described.better} is better)" if described.better else ""
        cells = (intervals[name].to_text() for name in SETS)
        rows.append((described.label + hint, *cells, *(verdict(number, difference) for difference in differences)))
    return rows


def direction_rows(evaluation: Evaluation) -> list[tuple[str, ...]]:
    """Lay out what was measured of each direction of the file.

    Args:
        evaluation: What was measured.

    Returns:
        Rows of text: a heading, then a row for each direction; empty if nothing was.
    """
    found = evaluation.sets["found"]
    if not found.activeness and not found.factors:
        return []
    factors = COLUMNS if found.factors else ()
    heading = ("", "name", *(("activeness",) if found.activeness else ()))
    rows = [(*heading, *factors, *(("largest share",) if factors else ()))]
    for row in per_direction(evaluation):
        cells = [str(row["index"]), row["name"]]
        if found.activeness:
            cells.append(f"{row['activeness']['mean']:.4g}")
        if factors:
            cells += [f"{row['effects'][factor]:.3f}" for factor in factors]
            cells.append(f"{row['share']:.0%} {row['factor']}" if row["factor"] else "")
        rows.append(tuple(cells))
    return rows
