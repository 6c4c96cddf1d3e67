"""``directions gan evaluate``: the numbers of trained generators, one JSON line a metric."""

from __future__ import annotations

import contextlib
import json
import re
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from directions.cli.common import HARDWARE, OUTPUT, SAMPLES, options_named, print_table, progress_bar
from directions.errors import NonFiniteError, UserError
from directions.evaluation.metrics import GROUPS, METRICS, Measuring, MetricFile, NamedMetric, Progress, find_metrics
from directions.settings.discover import parse_classes
from directions.settings.train import DataFormat, OnBroken

if TYPE_CHECKING:
    from directions.gan.data import ImageData
    from directions.settings.train import TrainConfig

_what = partial(typer.Option, rich_help_panel="What to measure")
_hardware = partial(typer.Option, rich_help_panel=HARDWARE)
_output = partial(typer.Option, rich_help_panel=OUTPUT)

_RUNS = "Run folders, or other generators as load_generator takes them."
_METRICS = f"Metrics or groups of them ({', '.join(GROUPS)}); listed below with what they cost."
_AS_READ = "as the training read its own images; for others pairs if it had pairs, else auto"
_AS_TRAINED = "as in the training for its own images; else refuse"
_CLASSES = "Classes to draw from, by index or name; or all. Not used without classes."
_KEPT = "Where statistics of real images are kept."
_OUT = "Folder for metrics.jsonl and plots; of one RUN only."
_OWN_FOLDER = "the run folder, or outputs/evaluations/NAME"


def _print_metrics(wanted: bool) -> None:
    if wanted:
        rows = [("metric", "value", "cost"), *((m.name, m.summary, m.cost) for m in METRICS.values())]
        print_table(rows, "lll")
        typer.echo()
        print_table([("group", "metrics"), *((name, ", ".join(members)) for name, members in GROUPS.items())], "ll")
        raise typer.Exit


def metrics_epilog() -> str:
    """Return the end of the help: every metric with what it costs, a line each."""
    lines = [f"{metric.name}: {metric.summary}. Cost: {metric.cost}." for metric in METRICS.values()]
    groups = [f"{name}: {', '.join(members)}." for name, members in GROUPS.items()]
    return "\n\n".join(["Metrics:", *lines, "Groups:", *groups])


def evaluate(
    context: typer.Context,
    runs: Annotated[list[str], typer.Argument(metavar="RUN…", help=_RUNS)],
    metrics: Annotated[str, _what("--metrics", "-m", metavar="METRIC,…", help=_METRICS)] = "quick",
    list_metrics: Annotated[
        bool, _what("--list", callback=_print_metrics, is_eager=True, help="Print that list as a table, and exit.")
    ] = False,
    data: Annotated[
        Path | None,
        _what(metavar="FOLDER", help="Real images, for Fréchet distances.", show_default="those of the training"),
    ] = None,
    data_format: Annotated[
        DataFormat | None, _what(help="How they are laid out, as in gan train.", show_default=_AS_READ)
    ] = None,
    on_broken: Annotated[
        OnBroken | None, _what(help="What to do with one that cannot be read.", show_default=_AS_TRAINED)
    ] = None,
    again: Annotated[bool, _what("--again", help="Measure what has been measured before once more.")] = False,
    classes: Annotated[
        str, typer.Option("--classes", "-y", metavar="CLASS,…", help=_CLASSES, rich_help_panel=SAMPLES)
    ] = "all",
    device: Annotated[str, _hardware(help="cpu, cuda, cuda:N, or auto.")] = "cpu",
    rows: Annotated[int, _hardware(metavar="INT>=1", help="Images to make at once; changes no number.")] = 64,
    cache: Annotated[Path | None, _hardware(metavar="FOLDER", help=_KEPT, show_default="the package's cache")] = None,
    out: Annotated[Path | None, _output(metavar="FOLDER", help=_OUT, show_default=_OWN_FOLDER)] = None,
    plots: Annotated[bool, _output("--plots/--no-plots", help="Draw what can be drawn (PNG).")] = True,
    as_json: Annotated[bool, _output("--json", help="Print one JSON line a metric, as in the file.")] = False,
    quiet: Annotated[bool, _output("--quiet", "-q", help="No progress on stderr.")] = False,
) -> None:
    """Measure trained generators. What has been measured already is not measured again, so a stopped run goes on.

    A metric's name fixes its settings: numbers under one name can be compared. Several runs share one plot of
    activeness, the first in grey.
    """
    with options_named(context):
        _check(runs, metrics, data, rows, out)

        from directions.evaluation.plots import plot_activeness, plot_results
        from directions.generators.registry import load_generator
        from directions.generators.weights import weights_home
        from directions.sampling import resolve_classes

        activeness: dict[str, list[float]] = {}
        drawn: list[Path] = []
        for run in runs:
            training = _training_of(run)
            have_data = data is not None or (training is not None and Path(training.data).is_dir())
            wanted = find_metrics(metrics, have_data=have_data)
            generator = load_generator(run, device=device)
            measuring = Measuring(
                generator,
                classes=resolve_classes(generator, parse_classes(classes)) if generator.num_classes else (),
                rows=rows,
                cache=cache or weights_home() / "statistics",
                progress=_bars(quiet=quiet),
            )
            if any(metric.needs_data for metric in wanted):
                measuring.real = _open_images(data, training, generator.resolution, data_format, on_broken)
            file = MetricFile(out or _folder_of(run))
            file.require_writable()
            pictures = file.path.with_name("metrics")
            if plots:
                _make(pictures)
            for line in _measure(run, wanted, measuring, file, again=again, as_json=as_json):
                picture = pictures / f"{line['metric']}.png"
                if plots and plot_results(picture, METRICS[line["metric"]].kind, line["results"]):
                    drawn.append(picture)
                if line["metric"] == "activeness":
                    activeness[run] = line["results"]["activeness"]
        if plots and len(activeness) > 1:
            names = {run: Path(run).name or run for run in activeness}
            if len(set(names.values())) < len(names):  # runs of one name in different folders
                names = {run: run for run in activeness}
            drawn.append(pictures / "activeness_compared.png")
            plot_activeness(drawn[-1], {names[run]: values for run, values in activeness.items()})
        for picture in drawn if not as_json else ():
            typer.echo(picture)


def _check(runs: list[str], metrics: str, data: Path | None, rows: int, out: Path | None) -> None:
    """Refuse what can be known to be wrong before anything is loaded."""
    find_metrics(metrics, have_data=True)
    if rows < 1:
        raise UserError(f"rows must be at least 1, got {rows}.")
    if out is not None and len(runs) > 1:
        raise UserError(f"out is of one run only, got {len(runs)} runs. Leave it out: each has its own folder.")
    if data is not None and not data.is_dir():
        raise UserError(f"data must be a folder of images, got {str(data)!r}, which is none.")


def _measure(
    run: str,
    metrics: tuple[NamedMetric, ...],
    measuring: Measuring,
    file: MetricFile,
    *,
    again: bool,
    as_json: bool,
) -> list[dict[str, Any]]:
    """Measure what is missing, print the line of each metric, and write the new ones."""
    lines: list[dict[str, Any]] = []
    try:
        for metric in metrics:
            line = known = None if again else file.find(metric, measuring)
            if line is None:
                start = time.perf_counter()
                result = measuring.measure(metric)
                line = file.line(metric, measuring, result, time.perf_counter() - start)
            lines.append(line)
            if as_json:
                typer.echo(json.dumps(line))
            if known is None:
                file.append(line)
    except NonFiniteError as error:
        typer.echo(f"Error: {run}: {error}", err=True)
        raise typer.Exit(1) from None
    finally:  # what has been measured is printed, also where it could not be written
        if lines and not as_json:
            generator = measuring.generator
            typer.echo(f"{run}: |z| {generator.dim_z}, {generator.resolution} pixels; {file.path}")
            table = [(line["metric"], line["value"], METRICS[line["metric"]].summary) for line in lines]
            print_table([(name, "none" if v is None else f"{v:.4g}", what) for name, v, what in table], "lrl")
    return lines


def _training_of(run: str) -> TrainConfig | None:
    """Read the settings of a training run; ``None`` if it is no training run."""
    from directions.gan.recording import read_training

    try:
        return read_training(run) if Path(run).is_dir() else None
    except UserError:
        return None


def _open_images(
    folder: Path | None,
    training: TrainConfig | None,
    resolution: int,
    kind: DataFormat | None,
    on_broken: OnBroken | None,
) -> ImageData:
    """Open real images at the size of a generator: those of its training as it read them, or those of a folder."""
    from directions.gan.data import data_format, open_folder

    if training is not None and (folder is None or folder.resolve() == Path(training.data).resolve()):
        cache = None if training.cache is None else Path(training.cache)
        skip = (on_broken or training.on_broken) == "skip"
        kind = kind or training.data_format
        return open_folder(Path(training.data), resolution, kind=kind, cache=cache, skip_broken=skip)
    assert folder is not None, "there is one where there is no training"
    if kind is None:
        kind = data_format(folder)
        if kind == "folder" and training is not None and training.data_format == "pairs":
            kind = "pairs"
    return open_folder(folder, resolution, kind=kind, skip_broken=on_broken == "skip")


def _make(folder: Path) -> None:
    """Make the folder for plots, before anything is measured for them."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"Cannot make {folder}: {error.strerror}. Choose another with --out, or --no-plots.") from error


def _folder_of(run: str) -> Path:
    """Where the numbers of a generator go: into its run folder, if it has one."""
    path = Path(run)
    return path if path.is_dir() else Path("outputs", "evaluations", re.sub(r"[^\w.+-]+", "-", run).strip("-."))


def _bars(*, quiet: bool) -> Progress:
    @contextlib.contextmanager
    def progress(title: str, total: int) -> Iterator[Callable[[int], object]]:
        with progress_bar(total=total, unit="", quiet=quiet, title=title) as bar:
            yield bar.update

    return progress
