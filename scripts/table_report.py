"""Lay the cells of ``reproduce_table.py`` out next to the published table: docs/gan_table.md and .json.

The published figures are those of the paper's slides: PPL / FID, lower is better.
"""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from directions.files import write_text

ROWS = {
    "infogan": "InfoGAN",
    "progan+": "ProGAN+",
    "progan": "ProGAN",
    "hp": "with HP",
    "hp-ft": "with HP, fine-tuned",
}
TITLES = {
    "edges-shoes": "Edges+Shoes",
    "clevr-simple": "CLEVR-Simple",
    "clevr-complex": "CLEVR-Complex",
    "clevr-u": "CLEVR-U",
    "clevr-1fov": "CLEVR-1FOV",
}
METRICS = {
    "PPL": "ppl_",
    "FD": "fd_",
    "on the diagonal": "diagonalness",
    "DCI D": "dci_",
    "MIG": "mig_",
    "components": "activeness",
}
"""Columns of our figures: what the metric's name starts with."""
PUBLISHED: dict[str, dict[str, tuple[float, float]]] = {
    "infogan": dict(zip(TITLES, [(2952.2, 10.4), (56.2, 2.9), (83.9, 4.2), (766.7, 3.6), (22.1, 6.2)], strict=True)),
    "progan+": dict(zip(TITLES, [(3154.1, 10.8), (64.5, 3.8), (84.4, 5.5), (697.7, 3.4), (30.3, 9.0)], strict=True)),
    "progan": dict(zip(TITLES, [(1809.7, 14.0), (61.5, 3.5), (92.8, 5.8), (720.2, 3.2), (35.5, 11.5)], strict=True)),
    "hp": dict(zip(TITLES, [(1301.3, 21.2), (45.7, 25.0), (73.1, 21.1), (68.7, 26.6), (20.8, 2.3)], strict=True)),
    "hp-ft": dict(zip(TITLES, [(554.1, 17.3), (39.7, 6.1), (74.7, 7.1), (61.6, 26.8), (10.0, 4.5)], strict=True)),
}


def write_report(folder: Path, out: Path, scale: str, others: Sequence[Path] = ()) -> str:
    """Write the report from the cells that are there, and print its tables.

    Args:
        folder: Of the cells.
        out: Path without suffix.
        scale: For the heading.
        others: Folders of cells that were trained with another weight of the penalty, to lay beside those of the table.
    """
    cells = _read(folder)
    if not cells:
        print("No cell has been scored yet.")
        return ""
    other_cells = [cell for other in others for cell in _read(other) if cell["settings"]["penalty"] == "hessian"]
    parts = [f"# The table of the paper, at scale `{scale}`", _introduction(cells), "## What came out"]
    for data in TITLES:
        of_set = [cell for cell in cells if cell["cell"]["data"] == data]
        parts += [f"### {TITLES[data]}", _table(of_set, data), _ordering(of_set, data)] if of_set else []
    if other_cells:
        parts += ["## Other weights of the penalty", _weights(cells, other_cells)]
    parts += ["## Components that are left", _components(cells), "## What it cost", _costs(cells)]
    text = "\n\n".join(part for part in parts if part) + "\n"
    out.parent.mkdir(parents=True, exist_ok=True)
    write_text(out.with_suffix(".md"), text)
    write_text(out.with_suffix(".json"), json.dumps({"scale": scale, "cells": [*cells, *other_cells]}, indent=2) + "\n")
    print(text)
    return text


def _read(folder: Path) -> list[dict[str, Any]]:
    """The cells of a folder that were scored, in the order of the table, each with what its training tells."""
    cells = [json.loads(path.read_text()) for path in folder.glob("*/*/score.json")]
    for cell in cells:
        path = folder / cell["cell"]["data"] / f"{cell['cell']['row']}-{cell['cell']['seed']}"
        cell["sittings"] = _lines(path / "sittings.jsonl")
        stats = _lines(path / "00000-run" / "stats.jsonl")
        for name in ("penalty", "diversity"):
            cell[name] = _average(line.get(name) for line in stats[-max(1, len(stats) // 10) :])
    sets, rows = list(TITLES), list(ROWS)
    place = lambda cell: (sets.index(cell["data"]), cell["seed"], rows.index(cell["row"]))  # noqa: E731 - a key
    return sorted(cells, key=lambda cell: place(cell["cell"]))


def _introduction(cells: Sequence[dict[str, Any]]) -> str:
    settings = cells[0]["settings"]
    seeds = sorted({cell["cell"]["seed"] for cell in cells})
    budgets = sorted({cell["kimg"] for cell in cells if cell["cell"]["row"] == "hp"})
    budget = ", ".join(f"{kimg:g}" for kimg in budgets) or f"{max(cell['kimg'] for cell in cells):g}"
    return (
        f"Printed by `python scripts/reproduce_table.py`. Images of {settings['resolution']} pixels, channels "
        f"{', '.join(map(str, settings['channels']))}, loss {settings['loss']}, {budget} kimg in all (ProGAN: half of "
        f"it), seed {', '.join(map(str, seeds))}. The paper trained at 128 pixels for thousands of kimg on GPUs and "
        "measured PPL with LPIPS and FID with Inception; here both are measured in the features of EfficientNet-Lite0 "
        "(`ppl_zend_effnetlite0_10k`, `fd_effnetlite0_5k`), so only orderings can be compared, not values."
    )


def _table(cells: Sequence[dict[str, Any]], data: str) -> str:
    ours = [f"{title}, ours" if title in ("PPL", "FD") else title for title in METRICS]
    rows = [["", "seeds", *ours, "PPL, paper", "FID, paper"]]
    for row, title in ROWS.items():
        of_row = [cell for cell in cells if cell["cell"]["row"] == row]
        figures = [_mean(_metric(cell, metric) for cell in of_row) for metric in METRICS.values()]
        rows.append([title, str(len(of_row)), *figures, *(f"{figure:g}" for figure in PUBLISHED[row][data])])
    return markdown(rows) + (
        "\n\nPPL and FD: lower is better. On the diagonal: share of the outputs whose Hessian by z has its largest "
        "entry there. DCI D, MIG: disentanglement of the factors that the scene reader sees, higher is better. "
        "Components: how many carry 95 % of the activeness. Several seeds: mean (least to most). "
        "[What each metric is](metrics.md)."
    )


def _ordering(cells: Sequence[dict[str, Any]], data: str) -> str:
    """Say which of the paper's comparisons of PPL hold."""
    ours = {row: _average(_metric(cell, "ppl_") for cell in cells if cell["cell"]["row"] == row) for row in ROWS}
    lines = []
    for better in ("hp", "hp-ft"):
        for worse in ("infogan", "progan+", "progan"):
            ratio, theirs = ours[better] / ours[worse], PUBLISHED[better][data][0] / PUBLISHED[worse][data][0]
            if not math.isnan(ratio):
                same = "as in the paper" if (ratio < 1) == (theirs < 1) else "unlike the paper"
                lines.append(
                    f"- PPL of {ROWS[better]} over that of {ROWS[worse]}: {ratio:.2f}, {same} ({theirs:.2f} there)."
                )
    return "\n".join(lines)


def _weights(cells: Sequence[dict[str, Any]], others: Sequence[dict[str, Any]]) -> str:
    """The same row with the penalty's weight as in the table, and with others."""
    rows = [["", "seed", "λ", "penalty", "diversity", *METRICS, "activeness"]]
    again = [other["cell"] for other in others]
    every = [*(cell for cell in cells if cell["cell"] in again), *others]
    for cell in sorted(every, key=lambda cell: cell["settings"]["penalty_weight"]):
        told = [f"{cell['settings']['penalty_weight']:g}", f"{cell['penalty']:,.0f}", f"{cell['diversity']:.2f}"]
        rows.append([*_title(cell), *told, *(_mean([_metric(cell, name)]) for name in METRICS.values()), _shares(cell)])
    return markdown(rows) + (
        "\n\nPenalty and diversity: means over the last tenth of the training. Made by the same command with "
        "`--sets`, `--rows`, `--penalty-factor` and another `--folder`."
    )


def _components(cells: Sequence[dict[str, Any]]) -> str:
    rows = [["", "seed", "activeness of the components, most active first (share of the sum)", "factors' R²"]]
    for cell in cells:
        if "activeness" in cell["scores"]:
            read = next((found["scores"] for name, found in cell["scores"].items() if name.startswith("dci_")), {})
            rows.append(
                [*_title(cell), _shares(cell), ", ".join(f"{name} {value:.2f}" for name, value in read.items())]
            )
    return markdown(rows)


def _costs(cells: Sequence[dict[str, Any]]) -> str:
    rows = [["", "seed", "kimg in all", "processor minutes", "minutes"]]
    for cell in cells:
        seconds = [sum(sitting[kind] for sitting in cell["sittings"]) for kind in ("cpu_seconds", "seconds")]
        rows.append([*_title(cell), f"{cell['kimg']:g}", *(f"{value / 60:.1f}" for value in seconds)])
    return markdown(rows) + (
        "\n\nMinutes are of the cell's own part: those of ProGAN+ and of fine-tuning come on top of ProGAN's."
    )


def _shares(cell: dict[str, Any]) -> str:
    """Each component's share of the activeness, most active first."""
    values = sorted(cell["scores"].get("activeness", {}).get("activeness", ()), reverse=True)
    total = sum(values) or 1.0
    return " ".join(f"{value / total:.2f}" for value in values)


def _title(cell: dict[str, Any]) -> tuple[str, str]:
    return f"{TITLES[cell['cell']['data']]}, {ROWS[cell['cell']['row']]}", str(cell["cell"]["seed"])


def _metric(cell: dict[str, Any], prefix: str) -> float | None:
    """The number of the metric whose name starts so; ``None`` if it was not measured, or there is none."""
    return next((found["value"] for name, found in cell["scores"].items() if name.startswith(prefix)), None)


def _average(values: Iterable[float | None]) -> float:
    known = [value for value in values if value is not None]
    return statistics.fmean(known) if known else math.nan


def _mean(values: Iterable[float | None]) -> str:
    known = [value for value in values if value is not None]
    if not known:
        return ""
    spread = f" ({min(known):.3g} to {max(known):.3g})" if len(known) > 1 else ""
    return f"{statistics.fmean(known):.3g}{spread}"


def markdown(rows: Sequence[Sequence[str]]) -> str:
    """Return rows as a table, the first as its head."""
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([lines[0], "|" + "---|" * len(rows[0]), *lines[1:]])


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
