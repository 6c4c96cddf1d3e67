"""``directions evaluate``: how good a file's directions are, beside random directions and the axes of z."""

from __future__ import annotations

import hashlib
import json
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from directions.cli.common import (
    HARDWARE,
    OUTPUT,
    Device,
    GeneratorName,
    Weights,
    direction_file,
    options_named,
    print_json,
    print_table,
    progress_bar,
)

_what = partial(typer.Option, rich_help_panel="What to measure")
_hardware = partial(typer.Option, rich_help_panel=HARDWARE)
_output = partial(typer.Option, rich_help_panel=OUTPUT)

_METRICS = "Among penalty, hessians, diagonalness, activeness and factors."
_ALL = "all that the generator allows"
_SEEDS = "How many times to measure, at other places and against other random directions."


def evaluate(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="A direction file, or the run folder that it is in.")],
    metrics: Annotated[str | None, _what(metavar="METRIC,…", help=_METRICS, show_default=_ALL)] = None,
    seeds: Annotated[int, _what(metavar="INT>=1", help=_SEEDS)] = 5,
    samples: Annotated[int, _what(metavar="INT>=2", help="Places of one measurement.")] = 32,
    generator: GeneratorName = None,
    weights: Weights = None,
    device: Device = "cpu",
    out: Annotated[Path | None, _output("--out", "-o", metavar="FILE", help="JSON file to write, too.")] = None,
    plot: Annotated[Path | None, _output(metavar="FILE", help="Picture to draw (.png, .svg or .pdf), too.")] = None,
    as_json: Annotated[bool, _output("--json", help="Print JSON instead of tables.")] = False,
    quiet: Annotated[bool, _output("--quiet", "-q", help="No progress on stderr.")] = False,
) -> None:
    """Measure a file's directions against random ones and the axes of z."""
    from directions.direction_file import load_directions
    from directions.files import require_writable, write_text

    path = direction_file(file)
    directions = load_directions(path)

    # Only now torch: a wrong file is reported at once.
    from directions.evaluation.factors import judge_of
    from directions.evaluation.plots import draw_evaluation, require_plot
    from directions.evaluation.report import FileEvaluation
    from directions.generators.registry import load_generator

    if plot is not None:
        require_plot(plot)
    for path_to_write in filter(None, (out, plot)):
        require_writable(path_to_write)
    model = load_generator(generator or directions.generator, weights=weights, device=device)
    chosen = None if metrics is None else [metric.strip() for metric in metrics.split(",")]
    with options_named(context):
        planned = FileEvaluation(directions, model, metrics=chosen, seeds=seeds, samples=samples, judge=judge_of(model))
    with progress_bar(total=planned.images, unit="image", quiet=quiet) as bar:
        evaluation = planned.run(count=bar.update)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    origin = {"file": str(path), "sha256": digest, "generator": directions.header["generator"]}
    result = origin | evaluation.to_dict()
    title = f"{len(directions)} directions of {directions.generator}"
    # Printed first, so that a disk that is full by now does not take the numbers away.
    if as_json:
        print_json(result)
    else:
        settings = evaluation.settings
        layers = "" if settings["layers"] is None else f", layers {settings['layers']}"
        typer.echo(
            f"{title}: z components {settings['space']}{layers}, truncation {settings['truncation']:g}; "
            f"{seeds} seeds, {samples} places each; mean and 95% interval\n"
        )
        rows = evaluation.number_rows()
        print_table(rows, "l" * len(rows[0]))
        if rows := evaluation.direction_rows():
            typer.echo()
            print_table(rows, "rl" + "r" * (len(rows[0]) - 2))
    if out is not None:
        write_text(out, json.dumps(result, indent=1) + "\n")
    if plot is not None:
        draw_evaluation(evaluation, plot, title=title)
