"""Plots of what was measured: activeness of the components of several generators, and heat maps of factors.

After measuring, for ``directions gan evaluate``. The extra ``plots`` brings matplotlib, which is used without its
global state: no window is opened and nobody's settings are changed.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from directions.atomic import atomic_write
from directions.errors import MissingExtraError
from directions.evaluation.components import CARRIED, components_carrying
from directions.evaluation.named_metrics import Kind

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_COLOURS = ("#8c8c94", "#2f6fb0", "#d1782a", "#3f9a5f", "#9b59a5", "#b8433f", "#5b8a8a", "#7a6a4f")
_DOTS_PER_INCH = 150


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
        ordered = sorted(values, reverse=True)
        places = np.arange(len(ordered)) + (number - (len(activeness) - 1) / 2) * width
        label = f"{name}: {components_carrying(values)} of {len(values)} carry {CARRIED:.0%}"
        axes.bar(places, ordered, 0.92 * width, color=_COLOURS[number % len(_COLOURS)], label=label)
    axes.set_xticks(range(components), [str(number + 1) for number in range(components)])
    axes.set_xlabel("component of z, most active first")
    axes.set_ylabel("activeness (image²)")
    axes.legend(frameon=False)
    _finish(figure, axes, path)


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
    for row, column in np.ndindex(matrix.shape):
        value = matrix[row, column]
        if value >= 0.005 * largest:  # what would be written as 0 is left white
            colour = "white" if value > 0.6 * largest else "#26262a"
            axes.text(column, row, f"{value:.2f}", ha="center", va="center", color=colour, fontsize=7.5)
    axes.set_xticks(range(len(columns)), columns)
    axes.set_yticks(range(len(rows)), rows)
    axes.tick_params(length=0)
    axes.set_title(title, fontsize=9.5)
    bar = figure.colorbar(image, ax=axes, fraction=0.06, pad=0.03)
    bar.set_label(scale, fontsize=8)
    bar.ax.tick_params(labelsize=7)
    bar.outline.set_visible(False)
    _finish(figure, axes, path)


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
    elif kind == "factor_effects":
        matrix = np.array([list(row["effects"].values()) for row in results["directions"]])
        names = [row["name"] for row in results["directions"]]
        title, scale = "What each component does to the factors", "mean squared change (variances of the factor)"
        plot_heat_map(path, matrix, names, list(results["directions"][0]["effects"]), title=title, scale=scale)
    elif kind in ("dci", "mig") and results["factors"]:
        matrix = np.array(results["importances" if kind == "dci" else "information"])
        names = [f"z{i}" for i in range(len(matrix))]
        title = "Importance of components for factors" if kind == "dci" else "What components say about factors"
        scale = "share of the importance" if kind == "dci" else "mutual information / entropy of the factor"
        plot_heat_map(path, matrix, names, results["factors"], title=title, scale=scale, top=1.0)
    else:
        return False
    return True


def _figure(width: float, height: float) -> Figure:
    """Make a figure of a size in inches, without matplotlib's global state."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError("Drawing plots", "plots") from error
    return Figure(figsize=(width, height), layout="constrained")


def _finish(figure: Figure, axes: object, path: str | os.PathLike[str]) -> None:
    """Take off the frame and write the file, wholly or not at all."""
    axes.spines[:].set_visible(False)  # type: ignore[attr-defined]
    with atomic_write(path) as partial:
        figure.savefig(partial, dpi=_DOTS_PER_INCH, format="png")
