"""``directions gan evaluate``: the numbers of trained generators, one JSON line a metric."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from directions.commands.common import HARDWARE, OUTPUT, SAMPLES, options_named, print_table
from directions.evaluation.named_metrics import GROUPS, METRICS
from directions.gan.config import DataFormat, OnBroken

_WHAT = "What to measure"


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
    runs: Annotated[
        list[str],
        typer.Argument(metavar="RUN…", help="Run folders, or other generators as load_generator takes them."),
    ],
    metrics: Annotated[
        str,
        typer.Option(
            "--metrics",
            "-m",
            metavar="METRIC,…",
            help=f"Metrics or groups of them ({', '.join(GROUPS)}); listed below with what they cost.",
            rich_help_panel=_WHAT,
        ),
    ] = "quick",
    list_metrics: Annotated[
        bool,
        typer.Option(
            "--list",
            callback=_print_metrics,
            is_eager=True,
            help="Print that list as a table, and exit.",
            rich_help_panel=_WHAT,
        ),
    ] = False,
    data: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Real images, for Fréchet distances.",
            show_default="those of the training",
            rich_help_panel=_WHAT,
        ),
    ] = None,
    data_format: Annotated[
        DataFormat | None,
        typer.Option(
            help="How they are laid out, as in gan train.",
            show_default="as the training read its own images; for others pairs if it had pairs, else auto",
            rich_help_panel=_WHAT,
        ),
    ] = None,
    on_broken: Annotated[
        OnBroken | None,
        typer.Option(
            help="What to do with one that cannot be read.",
            show_default="as in the training for its own images; else refuse",
            rich_help_panel=_WHAT,
        ),
    ] = None,
    again: Annotated[
        bool,
        typer.Option("--again", help="Measure what has been measured before once more.", rich_help_panel=_WHAT),
    ] = False,
    classes: Annotated[
        str,
        typer.Option(
            "--classes",
            "-y",
            metavar="CLASS,…",
            help="Classes to draw from, by index or name; or all. Not used without classes.",
            rich_help_panel=SAMPLES,
        ),
    ] = "all",
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:N, or auto.", rich_help_panel=HARDWARE)] = "cpu",
    rows: Annotated[
        int,
        typer.Option(metavar="INT>=1", help="Images to make at once; changes no number.", rich_help_panel=HARDWARE),
    ] = 64,
    cache: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Where statistics of real images are kept.",
            show_default="the package's cache",
            rich_help_panel=HARDWARE,
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Folder for metrics.jsonl and plots; of one RUN only.",
            show_default="the run folder, or outputs/evaluations/NAME",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    plots: Annotated[
        bool, typer.Option("--plots/--no-plots", help="Draw what can be drawn (PNG).", rich_help_panel=OUTPUT)
    ] = True,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON line a metric, as in the file.", rich_help_panel=OUTPUT)
    ] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="No progress on stderr.", rich_help_panel=OUTPUT)
    ] = False,
) -> None:
    """Measure trained generators. What has been measured already is not measured again, so a stopped run goes on.

    A metric's name fixes its settings: numbers under one name can be compared. Several runs share one plot of
    activeness, the first in grey.
    """
    from directions.commands.gan.evaluate_flow import Request, carry_out

    with options_named(context):
        carry_out(
            Request(
                runs=tuple(runs),
                metrics=metrics,
                data=data,
                data_format=data_format,
                on_broken=on_broken,
                again=again,
                classes=classes,
                device=device,
                rows=rows,
                cache=cache,
                out=out,
                plots=plots,
                as_json=as_json,
                quiet=quiet,
            )
        )
