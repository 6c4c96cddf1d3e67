"""Draw an evaluation of a file: numbers with intervals, the activeness spectrum, and what moves which factor.

After `directions.evaluation.file_report`, whose intervals it draws. Matplotlib (extra ``plots``) is imported when
something is drawn; nothing of its global state is used.
"""

from __future__ import annotations

import importlib.util
import math
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from directions.atomic import atomic_write
from directions.errors import MissingExtraError, UserError
from directions.evaluation.factor_table import COLUMNS
from directions.evaluation.file_report import LABELS, NUMBERS, number_intervals, per_direction, spectrum
from directions.evaluation.file_scores import SETS, Evaluation

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COLOURS = {"found": "#0072b2", "random": "#999999", "axes": "#d55e00"}  # told apart by colour-blind people too
_COLUMNS = 3
_LONGEST_NAME = 18


def draw_evaluation(evaluation: Evaluation, path: str | os.PathLike[str], *, title: str) -> None:
    """Write a picture of an evaluation.

    Args:
        evaluation: What was measured.
        path: The file to write, ``….png`` (or ``.svg`` or ``.pdf``).
        title: What to write above it.

    Raises:
        UserError: If Matplotlib is not installed, the file's ending is another, or it cannot be written.
    """
    require_plot(path)
    from matplotlib.figure import Figure

    panels: list[Any] = [
        lambda axes, number=number: _draw_number(axes, evaluation, number)
        for number in NUMBERS
        if number_intervals(evaluation, number) is not None
    ]
    found = evaluation.sets["found"]
    if found.activeness:
        panels.append(lambda axes: _draw_spectrum(axes, evaluation))
    if found.factors:
        panels.append(lambda axes: _draw_factors(axes, evaluation))
    rows = math.ceil(len(panels) / _COLUMNS)
    figure = Figure(figsize=(4.2 * _COLUMNS, 3.4 * rows + 0.5), layout="constrained")
    figure.suptitle(_literal(title))
    grid = figure.subplots(rows, _COLUMNS, squeeze=False).ravel()
    for axes, draw in zip(grid, panels, strict=False):
        draw(axes)
    for axes in grid[len(panels) :]:
        axes.set_axis_off()
    with atomic_write(path) as partial:
        figure.savefig(partial, format=Path(path).suffix[1:].lower(), dpi=110)


def require_plot(path: str | os.PathLike[str]) -> None:
    """Check that a plot can be drawn, before anything is measured for it.

    Args:
        path: The file to write.

    Raises:
        UserError: If the file's ending is none that plots are drawn as.
        MissingExtraError: If Matplotlib is not installed.
    """
    if Path(path).suffix.lower() not in (".png", ".svg", ".pdf"):
        raise UserError(f"A plot's name must end in .png, .svg or .pdf, got {str(path)!r}.")
    if importlib.util.find_spec("matplotlib") is None:
        raise MissingExtraError("Drawing plots", "plots")


def _draw_number(axes: Axes, evaluation: Evaluation, number: str) -> None:
    """Draw each set's values as dots, its mean as a line and its interval as a bar."""
    intervals = number_intervals(evaluation, number)
    assert intervals is not None, "panels are made for what was measured"
    for place, name in enumerate(SETS):
        interval, colour = intervals[name], _COLOURS[name]
        if interval.low is not None and interval.high is not None:
            axes.bar(place, interval.high - interval.low, 0.5, bottom=interval.low, color=colour, alpha=0.25)
        axes.hlines(interval.mean, place - 0.25, place + 0.25, color=colour, linewidth=2)
        spread = np.linspace(-0.12, 0.12, len(interval.values)) if len(interval.values) > 1 else [0.0]
        axes.plot(place + np.asarray(spread), interval.values, ".", color=colour)
    described = NUMBERS[number]
    better = f" ({described.better} is better)" if described.better else ""
    axes.set_title(described.label + better, fontsize=10)
    axes.set_xticks(range(len(SETS)), [LABELS[name] for name in SETS])
    axes.set_xlim(-0.6, len(SETS) - 0.4)
    axes.use_sticky_edges = False  # else the lowest bar decides where the axis begins, and dots are cut
    axes.margins(y=0.15)


def _draw_spectrum(axes: Axes, evaluation: Evaluation) -> None:
    """Draw each set's activeness, the largest first, on a logarithmic scale."""
    for name in SETS:
        places = spectrum(evaluation.sets[name])
        x = np.arange(1, len(places) + 1)
        mean = np.array([place.mean for place in places])
        axes.plot(x, mean, ".-", color=_COLOURS[name], label=LABELS[name])
        if places[0].low is not None:
            # On a logarithmic scale an interval that reaches below 0 has no lower end.
            low = [max(place.low or 0.0, place.mean / 100) for place in places]
            axes.fill_between(x, low, [place.high or place.mean for place in places], color=_COLOURS[name], alpha=0.15)
    if all(place.mean > 0 for name in SETS for place in spectrum(evaluation.sets[name])):
        axes.set_yscale("log")
    axes.set_title("activeness, the largest first", fontsize=10)
    axes.set_xlabel("direction, by rank")
    axes.legend(fontsize=8)


def _draw_factors(axes: Axes, evaluation: Evaluation) -> None:
    """Draw the found directions' effects on the factors as a map; each row is one direction."""
    rows = per_direction(evaluation)
    effects = np.array([[row["effects"][factor] for factor in COLUMNS] for row in rows])
    image = axes.imshow(effects, aspect="auto", cmap="Blues", vmin=0)
    axes.set_xticks(range(len(COLUMNS)), COLUMNS)
    names = [row["name"] for row in rows]
    shown = [_literal(name if len(name) <= _LONGEST_NAME else name[: _LONGEST_NAME - 1] + "…") for name in names]
    axes.set_yticks(range(len(rows)), shown, fontsize=8)
    axes.set_title("effect of each direction on each factor", fontsize=10)
    axes.figure.colorbar(image, ax=axes, shrink=0.8)


def _literal(text: str) -> str:
    """Keep Matplotlib from reading a name as mathematics."""
    return text.replace("$", r"\$")
