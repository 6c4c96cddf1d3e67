"""The table and the plot of ``compare_solvers.py``, from the cells that it left."""

from __future__ import annotations

import itertools
import json
import statistics
from pathlib import Path
from typing import Any

import torch

from directions.files import atomic_write, write_text
from directions.joint.solve import match_directions

NEAR = 1.05
"""A run has arrived when its held-out penalty is within this factor of the best method's mean over seeds."""

SCORES = "scores.json"
"""Where the cells ended, scored on a larger held-out set."""

PAPER = "adam, the paper's settings"
COLOURS = {PAPER: "#999999", "adam, rate 0.03, batch 96": "#d97706", "adam, rate 0.1 falling, batch 16": "#f5c27a",
           "joint": "#2563eb", "joint+adam": "#16a34a"}  # fmt: skip
"""The methods that are drawn where there are many; they come first in the table."""
OTHER = "#f5c27a"


def load_cells(folder: Path) -> dict[str, dict[str, Any]]:
    """Read the results that are there, by name."""
    return {path.stem: json.loads(path.read_text()) for path in sorted(folder.glob("*.json")) if path.name != SCORES}


def score_name(cell: str, number: int) -> str:
    """The name, among the scores on the larger set, of the basis at a point of a cell's curve."""
    return f"{cell}@{number}"


def put_scores(cells: dict[str, dict[str, Any]], scores: dict[str, float]) -> None:
    """Put the larger set's scores beside those of the running one, which are left for the plot."""
    for name, cell in cells.items():
        for number, point in enumerate(cell["curve"]):
            if score_name(name, number) in scores or not scores:
                point["score"] = scores.get(score_name(name, number), point["held_out"])
        for entry in cell.get("entries", []):
            entry["score"] = scores.get(entry["name"], entry["held_out"])


def by_method(cells: dict[str, dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Group the cells that searched: all seeds of a method, the four that matter first."""
    found: dict[str, list[dict[str, Any]]] = {method: [] for method in COLOURS}
    for cell in cells.values():
        if cell["curve"]:
            found.setdefault(cell["method"], []).append(cell)
    return {method: runs for method, runs in found.items() if runs}


def arrival(cell: dict[str, Any], goal: float) -> dict[str, Any] | None:
    """The first point of a run at which the goal was reached, of those that are scored on the larger set."""
    return next((point for point in cell["curve"] if point.get("score", goal + 1) <= goal), None)


def arrivals(runs: list[dict[str, Any]], goal: float) -> tuple[str, str]:
    """Seconds and images to the goal, as text: means over seeds, or how far the runs got without."""
    points = [arrival(cell, goal) for cell in runs]
    reached = [point for point in points if point]
    if len(reached) < len(runs):
        longest = max(cell["curve"][-1]["seconds"] for cell in runs)
        some = f" ({len(reached)} of {len(runs)} did)" if reached else ""
        return f"not in {longest:.0f} s{some}", ""
    seconds = statistics.fmean(point["seconds"] for point in reached)
    forwards, backwards = (statistics.fmean(point[key] for point in reached) for key in ("forwards", "backwards"))
    return f"{seconds:.0f} s", f"{forwards:,.0f} + {backwards:,.0f}"


def agreement(runs: list[dict[str, Any]]) -> str:
    """Mean |cosine| between the directions of two seeds, weighted by their activeness."""
    means = []
    for one, other in itertools.combinations(runs, 2):
        _, cosines = match_directions(torch.tensor(one["basis"]), torch.tensor(other["basis"]))
        weights = torch.tensor(one["activeness"], dtype=torch.float64)
        means.append(float((cosines * weights).sum() / weights.sum()))
    return f"{statistics.fmean(means):.3f}" if means else ""


def table_rows(cells: dict[str, dict[str, Any]]) -> list[list[str]]:
    """The table: baselines, then every method."""
    methods = by_method(cells)
    best = min(statistics.fmean(cell["curve"][-1]["score"] for cell in runs) for runs in methods.values())
    rows = [["method", "penalty", f"to {NEAR * best:.4g}", "images forwards + backwards", "seeds agree",
             "on one factor"]]  # fmt: skip
    for entry in cells.get("baselines", {}).get("entries", []):
        share, penalty = entry["on_one_factor"], entry["score"]
        rows.append([entry["name"], f"{penalty:.4g}", "", "", "", "" if share is None else f"{share:.2f}"])
    for method, runs in methods.items():
        finals = [cell["curve"][-1]["score"] for cell in runs]
        spread = f" ({min(finals):.4g} to {max(finals):.4g})" if len(runs) > 1 else ""
        shares = [cell["on_one_factor"] for cell in runs if "on_one_factor" in cell]
        rows.append([f"{method} ({len(runs)} seed{'s' * (len(runs) > 1)})", f"{statistics.fmean(finals):.4g}{spread}",
                     *arrivals(runs, NEAR * best), agreement(runs),
                     f"{statistics.fmean(shares):.2f}" if shares else ""])  # fmt: skip
    return rows


def race(cells: dict[str, dict[str, Any]]) -> str:
    """How long the joint solution takes to be as good as Adam at the paper's settings was in the end, as a sentence."""
    methods = by_method(cells)
    if not {"joint", PAPER} <= set(methods):
        return ""
    best = min((cell["curve"][-1] for cell in methods[PAPER]), key=lambda point: point["score"])
    points = [arrival(cell, best["score"]) for cell in methods["joint"]]
    ended = f"Adam at the paper's settings ended at {best['score']:.4g} after {best['seconds']:.0f} s. "
    if not all(points):
        return ended + "Joint diagonalisation did not get there from every seed."
    seconds = max(point["seconds"] for point in points if point)
    return ended + (
        f"Joint diagonalisation is below that, from every seed, after at most {seconds:.1f} s: "
        f"1/{best['seconds'] / seconds:.0f} of the time."
    )


def measurement_rows(cells: dict[str, dict[str, Any]]) -> list[list[str]]:
    """How many base points and probes are enough: every point of every measurement."""
    rows = [["measurement", "base points", "seconds", "penalty", "starts that agree", "halves agree (median)"]]
    for cell in cells.values():
        for point in cell["curve"]:
            if "base_points" not in point:
                continue
            report, confidence = point["report"], point["confidence"]
            score = f"{point['score']:.4g}" if "score" in point else ""
            rows.append([f"{cell['method']}, seed {cell['seed']}", str(point["base_points"]), f"{point['seconds']:.1f}",
                         score, f"{report['agreeing_starts']} of {report['starts']}",
                         f"{statistics.median(confidence):.3f}" if confidence else ""])  # fmt: skip
    return rows


def markdown(rows: list[list[str]]) -> str:
    """Lay rows out as a Markdown table; the first is the heading."""
    lines = [rows[0], ["---"] * len(rows[0]), *rows[1:]]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def plot(cells: dict[str, dict[str, Any]], path: Path) -> None:
    """Draw held-out penalty against seconds, a line a seed."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 4.2), dpi=150, layout="constrained")
    methods = by_method(cells)
    for method, runs in methods.items():
        if method not in COLOURS and len(methods) > len(COLOURS):
            continue
        for number, cell in enumerate(runs):
            points = [point for point in cell["curve"] if point["seconds"] > 0]
            seconds, penalties = ([point[key] for point in points] for key in ("seconds", "held_out"))
            label = method if number == 0 else None
            axes.plot(seconds, penalties, marker=".", color=COLOURS.get(method, OTHER), label=label, linewidth=1.4)
    entries = cells.get("baselines", {}).get("entries", [])
    random = [entry["held_out"] for entry in entries if entry["name"].startswith("random")]
    if random:
        axes.axhline(statistics.fmean(random), color="black", linestyle=":", linewidth=1, label="random directions")
    axes.set_xscale("log")
    axes.set_xlabel("seconds of one core (scoring not counted)")
    axes.set_ylabel("held-out penalty")
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(frameon=False, loc="outside upper center", ncols=3, fontsize=9)
    with atomic_write(path) as part:
        figure.savefig(part, format="png")
    plt.close(figure)


def draw_curvature(cell: dict[str, Any], path: Path) -> None:
    """Draw what is diagonalised: how strongly each pair of directions acts together, before and after."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, panels = plt.subplots(1, len(cell["curvature"]), figsize=(7, 3.4), dpi=150, layout="constrained")
    largest = max(value for matrix in cell["curvature"].values() for row in matrix for value in row)
    for panel, (name, matrix) in zip(panels, cell["curvature"].items(), strict=True):
        image = panel.imshow(matrix, cmap="Greys", vmin=0, vmax=largest)
        total = sum(value**2 for row in matrix for value in row)
        off = total - sum(matrix[index][index] ** 2 for index in range(len(matrix)))
        panel.set_title(f"{name}\n{off / total:.0%} off the diagonal", fontsize=10)
        ticks = range(0, len(matrix), -(-len(matrix) // 12))
        panel.set_xticks(ticks)
        panel.set_yticks(ticks)
        panel.set_xlabel("direction b")
        panel.set_ylabel("direction a")
    figure.colorbar(image, ax=panels, shrink=0.8, label="root mean square of $H_{ab}$")
    with atomic_write(path) as part:
        figure.savefig(part, format="png")
    plt.close(figure)


def write_report(folder: Path, out: Path) -> None:
    """Write ``out``.md and ``out``.png.

    Args:
        folder: Of the cells.
        out: Path without suffix.
    """
    cells = load_cells(folder)
    if not by_method(cells):
        return
    path = folder / SCORES
    scores = json.loads(path.read_text()) if path.exists() else {}
    put_scores(cells, scores)
    first = next(cell for cell in cells.values() if cell["curve"])
    generator, target = first["generator"], folder.name.removeprefix("solvers-")
    made = f"{first['machine']}; weights {generator['digest'][:12]}"
    out.parent.mkdir(parents=True, exist_ok=True)
    plot(cells, out.with_name(out.name + ".png"))
    measured = next((cell for cell in cells.values() if cell["method"] == "joint"), None)
    if measured and len(measured["basis"]) <= 40:
        draw_curvature(measured, out.with_name(out.name + "-curvature.png"))
    page = [
        f"# Solvers on {generator['name']}",
        "",
        f"Made by `python scripts/compare_solvers.py --target {target}` ({made}).",
        "Seconds are processor seconds of one core, without scoring.",
        first.get("scored_by")
        or f"*penalty*: held out, of the result, at {scores.get('points', 64)} places that are not those of "
        "`discover`; the picture shows the way there at fewer.",
        f"*to …*: seconds to this held-out penalty, which is {NEAR} times the best method's mean over seeds.",
        "*seeds agree*: mean |cosine| between the directions of two seeds, weighted by activeness.",
        "",
        f"![Held-out penalty against seconds]({out.name}.png)",
        "",
        markdown(table_rows(cells)),
        "",
        race(cells),
        "",
        "## How much measuring is enough",
        "",
        markdown(measurement_rows(cells)),
        "",
    ]
    write_text(out.with_name(out.name + ".md"), "\n".join(page))
