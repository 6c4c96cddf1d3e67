"""``directions evaluate``: how good a file's directions are, against directions that nobody had to find."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from directions.commands.common import (
    HARDWARE,
    OUTPUT,
    direction_file,
    options_named,
    print_json,
    print_table,
    progress_bar,
)

if TYPE_CHECKING:
    from directions.evaluation.file_scores import Evaluation

_WHAT = "What to measure"


def evaluate(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="A direction file, or the run folder that it is in.")],
    metrics: Annotated[
        str | None,
        typer.Option(
            metavar="METRIC,…",
            help="Among penalty, diagonalness, activeness and factors.",
            show_default="all that the generator allows",
            rich_help_panel=_WHAT,
        ),
    ] = None,
    seeds: Annotated[
        int,
        typer.Option(
            metavar="INT>=1",
            help="How many times to measure, at other places and against other random directions.",
            rich_help_panel=_WHAT,
        ),
    ] = 5,
    samples: Annotated[
        int, typer.Option(metavar="INT>=2", help="Places of one measurement.", rich_help_panel=_WHAT)
    ] = 32,
    generator: Annotated[
        str | None,
        typer.Option(help="Generator to take.", show_default="the file's", rich_help_panel=HARDWARE),
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option(
            help="Folder with the generator's weights.", show_default="usual places", rich_help_panel=HARDWARE
        ),
    ] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:N, or auto.", rich_help_panel=HARDWARE)] = "cpu",
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="FILE", help="JSON file to write, too.", rich_help_panel=OUTPUT),
    ] = None,
    plot: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Picture to draw (.png, .svg or .pdf), too.", rich_help_panel=OUTPUT),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON instead of tables.", rich_help_panel=OUTPUT)
    ] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="No progress on stderr.", rich_help_panel=OUTPUT)
    ] = False,
) -> None:
    """Measure a file's directions against random ones and the axes of z."""
    from directions.atomic import require_writable, write_text
    from directions.direction_file import load_directions

    path = direction_file(file)
    directions = load_directions(path)
    chosen = None if metrics is None else [metric.strip() for metric in metrics.split(",")]

    # Only now torch: a wrong file is reported at once.
    from directions.evaluation.file_plot import draw_evaluation, require_plot
    from directions.evaluation.file_report import to_dict
    from directions.evaluation.file_scores import FileEvaluation, reads_scenes
    from directions.evaluation.scene_reader import load_scene_reader
    from directions.generators.registry import load_generator

    if plot is not None:
        require_plot(plot)
    for path_to_write in filter(None, (out, plot)):
        require_writable(path_to_write)
    model = load_generator(generator or directions.generator, weights=weights, device=device)
    with options_named(context):
        planned = FileEvaluation(
            directions,
            model,
            metrics=chosen,
            seeds=seeds,
            samples=samples,
            reader=load_scene_reader(device=model.device) if reads_scenes(model) else None,
        )
    with progress_bar(total=planned.images, unit="image", quiet=quiet) as bar:
        evaluation = planned.run(count=bar.update)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    result = {"file": str(path), "sha256": digest, "generator": directions.header["generator"], **to_dict(evaluation)}
    title = f"{len(directions)} directions of {directions.generator}"
    try:
        if as_json:
            print_json(result)
        else:
            _print(evaluation, title)
    finally:  # Printed first, and written even if that failed: of two disks only one may be full.
        if out is not None:
            write_text(out, json.dumps(result, indent=1) + "\n")
    if plot is not None:
        draw_evaluation(evaluation, plot, title=title)


def _print(evaluation: Evaluation, title: str) -> None:
    """Print the numbers, and what is known of each direction."""
    from directions.evaluation.file_report import direction_rows, number_rows

    settings = evaluation.settings
    layers = "" if settings["layers"] is None else f", layers {settings['layers']}"
    typer.echo(
        f"{title}: z components {settings['space']}{layers}, truncation {settings['truncation']:g}; "
        f"{settings['seeds']} seeds, {settings['samples']} places each; mean and 95% interval"
    )
    typer.echo()
    rows = number_rows(evaluation)
    print_table(rows, "l" * len(rows[0]))
    rows = direction_rows(evaluation)
    if rows:
        typer.echo()
        print_table(rows, "rl" + "r" * (len(rows[0]) - 2))
