"""``directions gan evaluate``: the numbers of trained generators, one JSON line a metric."""

from __future__ import annotations

import contextlib
import json
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from directions.cli.common import HARDWARE, OUTPUT, SAMPLES, Quiet, print_table
from directions.cli.gan.sample import classes_of, counting, folder_for
from directions.errors import NonFiniteError, UserError
from directions.evaluation.metrics import GROUPS, METRICS, Measuring, MetricFile, NamedMetric, find_metrics
from directions.files import require_writable
from directions.settings.base import Settings, setting, with_options
from directions.settings.train import DataFormat, OnBroken

if TYPE_CHECKING:
    from directions.gan.data import ImageData
    from directions.settings.train import TrainConfig

_WHAT = "What to measure"
_what = partial(setting, panel=_WHAT)
_hardware = partial(setting, panel=HARDWARE)
_output = partial(setting, panel=OUTPUT)

_RUNS = "Run folders, or other generators by name, folder or FILE.py:FUNCTION."
_JSON = typer.Option("--json", help="Print one JSON line a metric, as in the file.", rich_help_panel=OUTPUT)


class EvaluateSettings(Settings):
    """What is measured, on which images, and where the numbers go."""

    metrics: str = _what(
        "quick", f"Metrics or groups of them ({', '.join(GROUPS)}); listed below with what they cost.",
        metavar="METRIC,…", flags=("--metrics", "-m"),
    )  # fmt: skip
    data: str | None = _what(
        None, "Real images, for Fréchet distances.", metavar="FOLDER", shown="those of the training"
    )
    data_format: DataFormat | None = _what(
        None, "How the real images are laid out, as in gan train.",
        shown="as the training read its own images; for others pairs if it had pairs, else auto",
    )  # fmt: skip
    on_broken: OnBroken | None = _what(
        None, "What to do with an unreadable image.", shown="as in the training for its own images; else refuse"
    )
    again: bool = _what(False, "Measure what has been measured before once more.", flags=("--again",))
    classes: str = setting(
        "all", "Classes to draw from, by index or name; or all. Not used without classes.", metavar="CLASS,…",
        flags=("--classes", "-y"), panel=SAMPLES,
    )  # fmt: skip
    device: str = _hardware("cpu", "cpu, cuda, cuda:N, or auto.")
    rows: int = _hardware(64, "Images to make at once; changes no number.", ge=1)
    cache: str | None = _hardware(
        None, "Where statistics of real images are kept.", metavar="FOLDER", shown="the package's cache"
    )
    out: str | None = _output(
        None, "Folder for metrics.jsonl and plots; of one RUN only.", metavar="FOLDER",
        shown="the run folder, or outputs/evaluations/NAME",
    )  # fmt: skip
    plots: bool = _output(True, "Draw what can be drawn (PNG).", flags=("--plots/--no-plots",))


_LISTED = [
    *("Metrics:", *(f"{metric.name}: {metric.summary}. Cost: {metric.cost}." for metric in METRICS.values())),
    *("Groups:", *(f"{name}: {', '.join(members)}." for name, members in GROUPS.items())),
]
METRICS_EPILOG = "\n\n".join(_LISTED)
"""The end of the help: every metric with what it costs, a line each."""


def _print_metrics(wanted: bool) -> None:
    if wanted:
        typer.echo("\n".join(_LISTED))
        raise typer.Exit


_LIST = typer.Option(
    "--list", callback=_print_metrics, is_eager=True, rich_help_panel=_WHAT, help="Print the list below, and exit."
)


@with_options(EvaluateSettings)
def evaluate(
    given: dict[str, Any],
    runs: Annotated[list[str], typer.Argument(metavar="RUN…", help=_RUNS)],
    list_metrics: Annotated[bool, _LIST] = False,
    as_json: Annotated[bool, _JSON] = False,
    quiet: Quiet = False,
) -> None:
    """Measure trained generators. What has been measured already is not measured again, so a stopped run goes on.

    A metric's name fixes its settings: numbers under one name can be compared. Several runs share one plot of
    activeness, the first in grey.
    """
    asked = EvaluateSettings(**given)
    _check(runs, asked)

    from directions.evaluation.plots import plot_activeness, plot_results
    from directions.gan.recording import read_training
    from directions.generators.registry import load_generator
    from directions.generators.weights import weights_home

    activeness: dict[str, list[float]] = {}
    drawn: list[Path] = []
    for run in runs:
        training = None
        with contextlib.suppress(UserError):  # other generators have none
            training = read_training(run)
        have_data = asked.data is not None or (training is not None and Path(training.data).is_dir())
        wanted = find_metrics(asked.metrics, have_data=have_data)
        generator = load_generator(run, device=asked.device)
        measuring = Measuring(
            generator,
            classes=classes_of(generator, asked.classes),
            rows=asked.rows,
            cache=Path(asked.cache) if asked.cache else weights_home() / "statistics",
            progress=partial(counting, quiet),
        )
        if any(metric.needs_data for metric in wanted):
            measuring.real = _open_images(asked, training, generator.resolution)
        file = MetricFile(asked.out or folder_for(run, "", "evaluations"))
        require_writable(file.path)
        pictures = file.path.with_name("metrics")
        if asked.plots:
            pictures.mkdir(parents=True, exist_ok=True)
        for line in _measure(run, wanted, measuring, file, again=asked.again, as_json=as_json):
            picture = pictures / f"{line['metric']}.png"
            if asked.plots and plot_results(picture, METRICS[line["metric"]].kind, line["results"]):
                drawn.append(picture)
            if line["metric"] == "activeness":
                activeness[run] = line["results"]["activeness"]
    if asked.plots and len(activeness) > 1:
        names = {run: Path(run).name or run for run in activeness}
        if len(set(names.values())) < len(names):  # runs of one name in different folders
            names = {run: run for run in activeness}
        drawn.append(pictures / "activeness_compared.png")
        plot_activeness(drawn[-1], {names[run]: values for run, values in activeness.items()})
    for picture in drawn if not as_json else ():
        typer.echo(picture)


def _check(runs: list[str], asked: EvaluateSettings) -> None:
    """Refuse what can be known to be wrong before anything is loaded."""
    find_metrics(asked.metrics, have_data=True)
    if asked.data is not None and not Path(asked.data).is_dir():
        raise UserError(f"data must be a folder, got {asked.data}. Give one of images.")
    if asked.out is not None and len(runs) > 1:
        raise UserError(f"out is of one run only, got {len(runs)} runs. Leave it out: each has its own folder.")


def _measure(
    run: str, metrics: tuple[NamedMetric, ...], measuring: Measuring, file: MetricFile, *, again: bool, as_json: bool
) -> list[dict[str, Any]]:
    """Measure what is missing, print the line of each metric, and write the new ones."""
    lines: list[dict[str, Any]] = []
    try:
        for metric in metrics:
            line = known = None if again else file.find(metric, measuring)
            if line is None:
                line = measuring.measure(metric)
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


def _open_images(asked: EvaluateSettings, training: TrainConfig | None, size: int) -> ImageData:
    """Open real images at the size of a generator: those of its training as it read them, or those of a folder."""
    from directions.gan.data import open_data, open_folder

    kind, folder = asked.data_format, None if asked.data is None else Path(asked.data)
    if training is not None and (folder is None or folder.resolve() == Path(training.data).resolve()):
        changes = {"data_format": kind, "on_broken": asked.on_broken}
        return open_data(training.replace(**{name: value for name, value in changes.items() if value is not None}))
    assert folder is not None, "there is one where there is no training"
    usual: DataFormat = "pairs" if training is not None and training.data_format == "pairs" else "auto"
    return open_folder(folder, size, kind=kind or usual, skip_broken=asked.on_broken == "skip")
