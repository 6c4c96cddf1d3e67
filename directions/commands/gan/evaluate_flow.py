"""What ``directions gan evaluate`` does once its options are read: load, measure what is missing, print, draw."""

from __future__ import annotations

import contextlib
import json
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from directions.commands.common import print_table, progress_bar
from directions.commands.gan.images import have_images, open_images, training_of
from directions.config import parse_classes
from directions.errors import NonFiniteError, UserError
from directions.evaluation.named_metrics import METRICS, find_metrics

if TYPE_CHECKING:
    from directions.evaluation.measuring import Progress
    from directions.gan.config import DataFormat, OnBroken

_EVALUATIONS = Path("outputs", "evaluations")
_PICTURES = "metrics"


@dataclass(frozen=True, kw_only=True)
class Request:
    """What the command line asks for, not yet checked."""

    runs: tuple[str, ...]
    """Run folders or generators."""
    metrics: str
    """Names of metrics and groups."""
    data: Path | None
    """Folder of real images."""
    data_format: DataFormat | None
    """How they are laid out; ``None`` decides by the training."""
    on_broken: OnBroken | None
    """What to do with a file that cannot be read; ``None`` decides by the training."""
    again: bool
    """Whether to measure what has been measured."""
    classes: str
    """Classes to draw from."""
    device: str
    """Where it runs."""
    rows: int
    """Images at once."""
    cache: Path | None
    """Folder for statistics of real images."""
    out: Path | None
    """Folder for what comes out."""
    plots: bool
    """Whether to draw."""
    as_json: bool
    """Whether to print JSON lines."""
    quiet: bool
    """Whether to keep progress off stderr."""


def carry_out(request: Request) -> None:
    """Measure every run, print and draw.

    Args:
        request: What is asked for.

    Raises:
        UserError: If something that is asked for does not exist or does not fit.
        Exit: With status 1 if images hold NaN.
    """
    find_metrics(request.metrics, have_data=True)  # a slip is noticed before anything is loaded
    if request.rows < 1:
        raise UserError(f"rows must be at least 1, got {request.rows}.")
    if request.out is not None and len(request.runs) > 1:
        raise UserError(f"out is of one run only, got {len(request.runs)} runs. Leave it out: each has its own folder.")
    if request.data is not None and not request.data.is_dir():
        raise UserError(f"data must be a folder of images, got {str(request.data)!r}, which is none.")

    activeness: dict[str, list[float]] = {}
    pictures: list[Path] = []
    for run in request.runs:
        folder = request.out or _folder_of(run)
        try:
            lines = _measure_run(run, folder, request)
        except NonFiniteError as error:
            typer.echo(f"Error: {run}: {error}", err=True)
            raise typer.Exit(1) from None
        for line in lines:
            if line["metric"] == "activeness":
                activeness[run] = line["results"]["activeness"]
        if request.plots:
            pictures += _draw(folder / _PICTURES, lines)
    if request.plots and len(activeness) > 1:
        pictures.append(_compare(folder / _PICTURES, activeness))
    if not request.as_json:
        for picture in pictures:
            typer.echo(picture)


def _measure_run(run: str, folder: Path, request: Request) -> list[dict[str, Any]]:
    """Measure what is missing of a generator, and print all that was asked for."""
    training = training_of(run)
    metrics = find_metrics(request.metrics, have_data=have_images(request.data, training))

    from directions.evaluation.measuring import Measuring
    from directions.evaluation.metric_file import MetricFile
    from directions.generators.registry import load_generator
    from directions.generators.sources import weights_home
    from directions.sampling import resolve_classes

    generator = load_generator(run, device=request.device)
    measuring = Measuring(
        generator,
        classes=() if generator.num_classes == 0 else resolve_classes(generator, parse_classes(request.classes)),
        rows=request.rows,
        cache=request.cache or weights_home() / "statistics",
        progress=_bars(quiet=request.quiet),
    )
    if any(metric.needs_data for metric in metrics):
        measuring.real = open_images(
            request.data, training, generator.resolution, request.data_format, request.on_broken
        )
    file = MetricFile(folder)
    file.require_writable()
    if request.plots:
        _make(folder / _PICTURES)
    lines: list[dict[str, Any]] = []
    try:
        for metric in metrics:
            line = None if request.again else file.find(metric, measuring)
            known = line is not None
            if line is None:
                start = time.perf_counter()
                result = measuring.measure(metric)
                line = file.line(metric, measuring, result, time.perf_counter() - start)
            lines.append(line)
            try:
                if request.as_json:
                    typer.echo(json.dumps(line))
            finally:  # Shown first, and written even if that failed: of two disks only one may be full.
                if not known:
                    file.append(line)
    finally:
        if lines and not request.as_json:
            typer.echo(f"{run}: |z| {generator.dim_z}, {generator.resolution} pixels; {file.path}")
            rows = [(line["metric"], _number(line["value"]), METRICS[line["metric"]].summary) for line in lines]
            print_table(rows, "lrl")
    return lines


def _make(folder: Path) -> None:
    """Make the folder for plots, before anything is measured for them."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"Cannot make {folder}: {error.strerror}. Choose another with --out, or --no-plots.") from error


def _draw(folder: Path, lines: list[dict[str, Any]]) -> list[Path]:
    """Draw what can be drawn of a run, into its folder."""
    from directions.evaluation.plots import plot_results

    written = []
    for line in lines:
        path = folder / f"{line['metric']}.png"
        if plot_results(path, METRICS[line["metric"]].kind, line["results"]):
            written.append(path)
    return written


def _compare(folder: Path, activeness: dict[str, list[float]]) -> Path:
    """Draw the activeness of several runs into the folder of the last one."""
    from directions.evaluation.plots import plot_activeness

    path = folder / "activeness_compared.png"
    names = {run: Path(run).name or run for run in activeness}
    if len(set(names.values())) < len(names):  # runs of one name in different folders
        names = {run: run for run in activeness}
    plot_activeness(path, {names[run]: values for run, values in activeness.items()})
    return path


def _folder_of(run: str) -> Path:
    """Where the numbers of a generator go: into its run folder, if it has one."""
    path = Path(run)
    return path if path.is_dir() else _EVALUATIONS / re.sub(r"[^\w.+-]+", "-", run).strip("-.")


def _bars(*, quiet: bool) -> Progress:
    @contextlib.contextmanager
    def progress(title: str, total: int) -> Iterator[Callable[[int], object]]:
        with progress_bar(total=total, unit="", quiet=quiet, title=title) as bar:
            yield bar.update

    return progress


def _number(value: float | None) -> str:
    return "none" if value is None else f"{value:.4g}"
