"""Draw what was measured: a file's evaluation, activeness of components, heat maps of factors (extra ``plots``)."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from directions.errors import MissingExtraError, UserError
from directions.evaluation.activeness import CARRIED, components_carrying
from directions.evaluation.metrics import Kind
from directions.evaluation.report import NUMBERS, SETS
from directions.files import atomic_write

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLOURS = ("#8c8c94", "#2f6fb0", "#d1782a", "#3f9a5f", "#9b59a5", "#b8433f", "#5b8a8a", "#7a6a4f")
_SET_COLOURS = {"found": "#0072b2", "random": "#999999", "axes": "#d55e00"}  # told apart by colour-blind people too
_PANELS = 3
_LONGEST_NAME = 18
_HEAT_MAPS = {
    "factor_effects": ("What each component does to the factors", "mean squared change (variances of the factor)"),
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
    _figure(1, 1)


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


def draw_evaluation(result: Mapping[str, Any], path: str | os.PathLike[str], *, title: str) -> None:
    """Draw an evaluation of a file: numbers with intervals, the activeness spectrum, what moves which factor.

    Args:
        result: As `directions.evaluation.report.FileEvaluation.run` returns it.
        path: The file to write, as `require_plot` allows it.
        title: What to write above it.
    """
    numbers, spectra, directions = result["numbers"], result["spectra"], result["directions"]
    panels = len(numbers) + bool(spectra) + ("effects" in directions[0])
    rows = math.ceil(panels / _PANELS)
    figure = _figure(4.2 * _PANELS, 3.4 * rows + 0.5)
    figure.suptitle(_literal(title))
    grid = iter(figure.subplots(rows, _PANELS, squeeze=False).ravel())
    for number, found in numbers.items():
        label, better = NUMBERS[number]
        axes = next(grid)
        axes.set_title(label + (f" ({better} is better)" if better else ""), fontsize=10)
        _draw_number(axes, {name: found[name] for name in SETS})
    if spectra:
        _draw_spectra(next(grid), spectra)
    if "effects" in directions[0]:
        effects, names = [row["effects"] for row in directions], [_literal(_short(row["name"])) for row in directions]
        matrix, title = np.array([list(row.values()) for row in effects]), "effect of each direction on each factor"
        _draw_matrix(next(grid), matrix, names, list(effects[0]), title=title, top=float(matrix.max()) or 1.0)
    for axes in grid:
        axes.set_axis_off()
    _save(figure, path, dpi=110)


def _draw_number(axes: Axes, intervals: Mapping[str, Mapping[str, Any]]) -> None:
    """Draw one number: each set's values are dots, its mean is a line, its interval a bar."""
    for place, (name, found) in enumerate(intervals.items()):
        colour, values = _SET_COLOURS[name], found["values"]
        if found["low"] is not None:
            axes.bar(place, found["high"] - found["low"], 0.5, bottom=found["low"], color=colour, alpha=0.25)
        axes.hlines(found["mean"], place - 0.25, place + 0.25, color=colour, linewidth=2)
        spread = np.linspace(-0.12, 0.12, len(values)) if len(values) > 1 else np.zeros(1)
        axes.plot(place + spread, values, ".", color=colour)
    axes.set_xticks(range(len(SETS)), SETS.values())
    axes.set_xlim(-0.6, len(SETS) - 0.4)
    axes.use_sticky_edges = False  # else the lowest bar decides where the axis begins, and dots are cut
    axes.margins(y=0.15)


def _draw_spectra(axes: Axes, spectra: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
    """Draw each set's activeness, the largest first, on a logarithmic scale."""
    for name, places in spectra.items():
        x, means = np.arange(1, len(places) + 1), [place["mean"] for place in places]
        axes.plot(x, means, ".-", color=_SET_COLOURS[name], label=SETS[name])
        if places[0]["low"] is not None:
            # On a logarithmic scale an interval that reaches below 0 has no lower end.
            low = [max(place["low"], place["mean"] / 100) for place in places]
            axes.fill_between(x, low, [place["high"] for place in places], color=_SET_COLOURS[name], alpha=0.15)
    if all(place["mean"] > 0 for places in spectra.values() for place in places):
        axes.set_yscale("log")
    axes.set_title("activeness, the largest first", fontsize=10)
    axes.set_xlabel("direction, by rank")
    axes.legend(fontsize=8)


def _literal(text: str) -> str:
    """Keep Matplotlib from reading a name as mathematics."""
    return text.replace("$", r"\$")


def _short(name: str) -> str:
    return name if len(name) <= _LONGEST_NAME else name[: _LONGEST_NAME - 1] + "…"


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
    path: str | os.PathLike[str], matrix: np.ndarray, rows: Sequence[str], columns: Sequence[str], *, title: str,
    scale: str, top: float | None = None,
) -> None:  # fmt: skip
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
    bar = _draw_matrix(axes, matrix, rows, columns, title=title, top=largest)
    for row, column in np.argwhere(matrix >= 0.005 * largest):  # what would be written as 0 is left white
        value = matrix[row, column]
        colour = "white" if value > 0.6 * largest else "#26262a"
        axes.text(column, row, f"{value:.2f}", ha="center", va="center", color=colour, fontsize=7.5)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    bar.set_label(scale, fontsize=8)
    bar.outline.set_visible(False)
    _save(figure, path)


def _draw_matrix(
    axes: Axes, matrix: np.ndarray, rows: Sequence[str], columns: Sequence[str], *, title: str, top: float
) -> Any:
    """Draw a matrix as colours, white to blue, with its names; returns the colour bar."""
    image = axes.imshow(matrix, cmap="Blues", vmin=0, vmax=top, aspect="auto")
    axes.set_xticks(range(len(columns)), columns)
    axes.set_yticks(range(len(rows)), rows, fontsize=8)
    axes.set_title(title, fontsize=10)
    bar = axes.figure.colorbar(image, ax=axes, shrink=0.8, fraction=0.06, pad=0.03)
    bar.ax.tick_params(labelsize=7)
    return bar


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
