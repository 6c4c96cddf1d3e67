"""Draw what was measured: a file's evaluation, activeness of components, heat maps of factors (extra ``plots``)."""

from __future__ import annotations

import importlib.util
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from directions.errors import MissingExtraError, UserError
from directions.evaluation.activeness import CARRIED, components_carrying
from directions.evaluation.named_metrics import Kind
from directions.evaluation.report import NUMBERS, SETS, Evaluation
from directions.files import atomic_write

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLOURS = ("#8c8c94", "#2f6fb0", "#d1782a", "#3f9a5f", "#9b59a5", "#b8433f", "#5b8a8a", "#7a6a4f")
_SET_COLOURS = {"found": "#0072b2", "random": "#999999", "axes": "#d55e00"}  # told apart by colour-blind people too
_PANELS = 3
_LONGEST_NAME = 18
_HEAT_MAPS = {
    "factor_effects": (
        "What each component does to the factors",
        "mean squared change (variances of the factor)",
    ),
    "dci": ("Importance of components for factors", "share of the importance"),
    "mig": ("What components say about factors", "mutual information / entropy of the factor"),
}
"""Title and scale of the heat map of each kind of metric that has one."""


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


def _figure(width: float, height: float) -> Figure:
    """Make a figure of a size in inches, without matplotlib's global state: no window, nobody's settings changed."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError("Drawing plots", "plots") from error
    return Figure(figsize=(width, height), layout="constrained")


def _save(figure: Figure, path: str | os.PathLike[str], dpi: int = 150) -> None:
    """Write the file, wholly or not at all."""
    with atomic_write(path) as partial:
        figure.savefig(partial, dpi=dpi, format=Path(path).suffix[1:].lower())


def draw_evaluation(evaluation: Evaluation, path: str | os.PathLike[str], *, title: str) -> None:
    """Draw an evaluation of a file: numbers with intervals, the activeness spectrum, what moves which factor.

    Args:
        evaluation: What was measured.
        path: The file to write, ``….png`` (or ``.svg`` or ``.pdf``).
        title: What to write above it.

    Raises:
        UserError: If Matplotlib is not installed, the file's ending is another, or it cannot be written.
    """
    require_plot(path)
    found, numbers = evaluation.sets["found"], evaluation.intervals()
    panels = len(numbers) + bool(found.activeness) + bool(found.factors)
    rows = math.ceil(panels / _PANELS)
    figure = _figure(4.2 * _PANELS, 3.4 * rows + 0.5)
    figure.suptitle(_literal(title))
    grid = iter(figure.subplots(rows, _PANELS, squeeze=False).ravel())
    for number, intervals in numbers.items():
        axes = next(grid)
        # Each set's values are dots, its mean is a line, its interval a bar.
        for place, (name, interval) in enumerate(intervals.items()):
            colour, values = _SET_COLOURS[name], interval.values
            if interval.low is not None and interval.high is not None:
                axes.bar(place, interval.high - interval.low, 0.5, bottom=interval.low, color=colour, alpha=0.25)
            axes.hlines(interval.mean, place - 0.25, place + 0.25, color=colour, linewidth=2)
            spread = np.linspace(-0.12, 0.12, len(values)) if len(values) > 1 else np.zeros(1)
            axes.plot(place + spread, values, ".", color=colour)
        label, better = NUMBERS[number]
        axes.set_title(label + (f" ({better} is better)" if better else ""), fontsize=10)
        axes.set_xticks(range(len(SETS)), SETS.values())
        axes.set_xlim(-0.6, len(SETS) - 0.4)
        axes.use_sticky_edges = False  # else the lowest bar decides where the axis begins, and dots are cut
        axes.margins(y=0.15)
    if found.activeness:
        _draw_spectra(next(grid), evaluation)
    if found.factors:
        directions = evaluation.per_direction()
        short = [n if len(n) <= _LONGEST_NAME else n[: _LONGEST_NAME - 1] + "…" for n in evaluation.names]
        axes, factors = next(grid), found.factors[0].factors
        effects = np.array([list(row["effects"].values()) for row in directions])
        image = axes.imshow(effects, aspect="auto", cmap="Blues", vmin=0)
        axes.set_xticks(range(len(factors)), factors)
        axes.set_yticks(range(len(short)), map(_literal, short), fontsize=8)
        axes.set_title("effect of each direction on each factor", fontsize=10)
        figure.colorbar(image, ax=axes, shrink=0.8)
    for axes in grid:
        axes.set_axis_off()
    _save(figure, path, dpi=110)


def _draw_spectra(axes: Axes, evaluation: Evaluation) -> None:
    """Draw each set's activeness, the largest first, on a logarithmic scale."""
    spectra = {name: scores.spectrum() for name, scores in evaluation.sets.items()}
    for name, places in spectra.items():
        x = np.arange(1, len(places) + 1)
        axes.plot(x, [place.mean for place in places], ".-", color=_SET_COLOURS[name], label=SETS[name])
        if places[0].low is not None:
            # On a logarithmic scale an interval that reaches below 0 has no lower end.
            low = [max(place.low or 0.0, place.mean / 100) for place in places]
            high = [place.high or place.mean for place in places]
            axes.fill_between(x, low, high, color=_SET_COLOURS[name], alpha=0.15)
    if all(place.mean > 0 for places in spectra.values() for place in places):
        axes.set_yscale("log")
    axes.set_title("activeness, the largest first", fontsize=10)
    axes.set_xlabel("direction, by rank")
    axes.legend(fontsize=8)


def _literal(text: str) -> str:
    """Keep Matplotlib from reading a name as mathematics."""
    return text.replace("$", r"\$")


def plot_activeness(path: str | os.PathLike[str], activeness: Mapping[str, Sequence[float]]) -> None:
    """Draw the activeness of components, most active first, of one or several generators side by side.

    Args:
        path: The PNG to write; its folder must exist.
        activeness: For each generator, by the name in the legend, the activeness of its components. The first is the
            one that the others are compared with, and is grey.

    Raises:
        MissingExtraError: If the extra ``plots`` is not installed.
    """
    components = max(len(values) for values in activeness.values())
    figure = _figure(max(5.0, 0.45 * components + 1.8), 3.4)
    axes = figure.subplots()
    width = 0.84 / len(activeness)
    for number, (name, values) in enumerate(activeness.items()):
        places = np.arange(len(values)) + (number - (len(activeness) - 1) / 2) * width
        label = f"{name}: {components_carrying(values)} of {len(values)} carry {CARRIED:.0%}"
        colour = _COLOURS[number % len(_COLOURS)]
        axes.bar(places, sorted(values, reverse=True), 0.92 * width, color=colour, label=label)
    axes.set_xticks(range(components), [str(number + 1) for number in range(components)])
    axes.set_xlabel("component of z, most active first")
    axes.set_ylabel("activeness (image²)")
    axes.legend(frameon=False)
    axes.spines[:].set_visible(False)
    _save(figure, path)


def plot_heat_map(
    path: str | os.PathLike[str],
    matrix: np.ndarray,
    rows: Sequence[str],
    columns: Sequence[str],
    *,
    title: str,
    scale: str,
    top: float | None = None,
) -> None:
    """Draw a matrix of components × factors as a heat map, with its numbers.

    Args:
        path: The PNG to write; its folder must exist.
        matrix: (rows, columns), not negative.
        rows: Name of each row.
        columns: Name of each column.
        title: What is shown.
        scale: What the colours mean.
        top: The value of the darkest colour; ``None`` takes the largest.

    Raises:
        MissingExtraError: If the extra ``plots`` is not installed.
    """
    figure = _figure(0.75 * len(columns) + 2.6, 0.32 * len(rows) + 1.3)
    axes = figure.subplots()
    largest = top if top is not None else max(float(matrix.max(initial=0.0)), 1e-12)
    image = axes.imshow(matrix, cmap="Blues", vmin=0, vmax=largest, aspect="auto")
    for row, column in np.argwhere(matrix >= 0.005 * largest):  # what would be written as 0 is left white
        value = matrix[row, column]
        colour = "white" if value > 0.6 * largest else "#26262a"
        axes.text(column, row, f"{value:.2f}", ha="center", va="center", color=colour, fontsize=7.5)
    axes.set_xticks(range(len(columns)), columns)
    axes.set_yticks(range(len(rows)), rows)
    axes.tick_params(length=0)
    axes.set_title(title, fontsize=9.5)
    axes.spines[:].set_visible(False)
    bar = figure.colorbar(image, ax=axes, fraction=0.06, pad=0.03)
    bar.set_label(scale, fontsize=8)
    bar.ax.tick_params(labelsize=7)
    bar.outline.set_visible(False)
    _save(figure, path)


def plot_results(path: str | os.PathLike[str], kind: Kind, results: Mapping[str, Any]) -> bool:
    """Draw the results of a named metric, if there is something to draw.

    Args:
        path: The PNG to write; its folder must exist.
        kind: The metric's kind.
        results: As in ``metrics.jsonl``.

    Returns:
        Whether it was drawn.
    """
    if kind == "activeness":
        plot_activeness(path, {"activeness": results["activeness"]})
        return True
    if kind not in _HEAT_MAPS:
        return False
    if kind == "factor_effects":
        matrix = np.array([list(row["effects"].values()) for row in results["directions"]])
        factors, top = list(results["directions"][0]["effects"]), None
    else:
        matrix = np.array(results["importances" if kind == "dci" else "information"])
        factors, top = results["factors"], 1.0
    if factors:
        title, scale = _HEAT_MAPS[kind]
        plot_heat_map(path, matrix, [f"z{i}" for i in range(len(matrix))], factors, title=title, scale=scale, top=top)
    return bool(factors)
