"""``directions evaluate`` and ``measure``: how good a file's directions are, and the columns that it may lack."""

from __future__ import annotations

import hashlib
import json
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from directions.cli import common
from directions.errors import UserError
from directions.settings.base import options_named

if TYPE_CHECKING:
    from directions.direction_file import Directions
    from directions.generators.base import Generator

_what = partial(typer.Option, rich_help_panel="What to measure")
_output = partial(typer.Option, rich_help_panel=common.OUTPUT)

_METRICS = "Among penalty, hessians, diagonalness, activeness and factors."
_ALL = "all that the generator allows"
_SAMPLES = "Places at which the activeness of the most active 16 is measured; the others get an eighth, at least 32."
_SEEDS = "How many times to measure, at other places and against other random directions."


def evaluate(
    context: typer.Context,
    file: common.FilePath,
    metrics: Annotated[str | None, _what(metavar="METRIC,…", help=_METRICS, show_default=_ALL)] = None,
    seeds: Annotated[int, _what(metavar="INT>=1", help=_SEEDS)] = 5,
    samples: Annotated[int, _what(metavar="INT>=2", help="Places of one measurement.")] = 32,
    generator: common.GeneratorName = None,
    weights: common.Weights = None,
    device: common.Device = "cpu",
    out: Annotated[Path | None, _output("--out", "-o", metavar="FILE", help="JSON file to write, too.")] = None,
    plot: Annotated[Path | None, _output(metavar="FILE", help="Picture to draw (.png, .svg or .pdf), too.")] = None,
    as_json: Annotated[bool, _output("--json", help="Print JSON instead of tables.")] = False,
    quiet: common.Quiet = False,
) -> None:
    """Measure a file's directions against random ones and the axes of z."""
    from directions.direction_file import direction_file, load_directions
    from directions.files import require_writable, write_text

    path = direction_file(file)
    directions = load_directions(path)

    # Only now torch: a wrong file is reported at once.
    from directions.evaluation.factors import judge_of
    from directions.evaluation.plots import draw_evaluation, require_plot
    from directions.evaluation.report import FileEvaluation, text_tables
    from directions.generators.registry import load_generator

    if plot is not None:
        require_plot(plot)
    for path_to_write in filter(None, (out, plot)):
        require_writable(path_to_write)
    model = load_generator(generator or directions.generator, weights=weights, device=device)
    chosen = None if metrics is None else [metric.strip() for metric in metrics.split(",")]
    with options_named(context):
        planned = FileEvaluation(directions, model, metrics=chosen, seeds=seeds, samples=samples, judge=judge_of(model))
    with common.progress_bar(total=planned.images, unit="image", quiet=quiet) as bar:
        measured = planned.run(count=bar.update)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    result = {"file": str(path), "sha256": digest, "generator": directions.header["generator"]} | measured
    title = f"{len(directions)} directions of {directions.generator}"
    # Printed first, so that a disk that is full by now does not take the numbers away.
    if as_json:
        common.print_json(result)
    else:
        settings = measured["settings"]
        layers = "" if settings["layers"] is None else f", layers {settings['layers']}"
        typer.echo(
            f"{title}: z components {settings['space']}{layers}, truncation {settings['truncation']:g}; "
            f"{seeds} seeds, {samples} places each; mean and 95% interval"
        )
        for rows, first in zip(text_tables(measured), ("l", "rl"), strict=False):
            typer.echo()
            common.print_table(rows, first.ljust(len(rows[0]), "r" if len(first) > 1 else "l"))
    if out is not None:
        write_text(out, json.dumps(result, indent=1) + "\n")
    if plot is not None:
        draw_evaluation(measured, plot, title=title)


def print_suggestions(directions: Directions, generator: Generator, *, as_json: bool) -> None:
    """Print what each direction changes most, for ``directions inspect FILE --suggest``."""
    from directions.evaluation.statistics import suggest_names

    found = suggest_names(generator, directions)
    if as_json:
        common.print_json([None if one is None else vars(one) | {"words": one.words} for one in found])
        return
    rows = [("", "name", "suggestion", "share of its effects", "change in deviations")]
    for index, one in enumerate(found):
        cells = ("", "", "") if one is None else (one.words, f"{one.share:.0%}", f"{abs(one.effect):.1f}")
        rows.append((str(index), directions.names[index], *cells))
    common.print_table(rows, "rllrr")
    typer.echo("\nSuggested by statistics of a few pictures, and not written; where none stands out there is none.")
    typer.echo("To take one: directions name FILE INDEX NAME.")


def measure(
    context: typer.Context,
    file: common.FilePath,
    final_samples: Annotated[int, _what(metavar="INT>=1", help=_SAMPLES)] = 256,
    seed: Annotated[int, _what(metavar="INT>=0", help="Seed of the samples.")] = 0,
    generator: common.GeneratorName = None,
    weights: common.Weights = None,
    device: common.Device = "cpu",
    quiet: common.Quiet = False,
) -> None:
    """Fill in activeness, path sizes and penalty shares in a file that has none, such as a converted one.

    They are measured as discover does at its end. Path sizes that were written by hand stay, and so does the order.
    """
    from directions.direction_file import direction_file, edit_directions, load_directions
    from directions.files import require_writable

    path = direction_file(file)
    directions = load_directions(path)
    require_writable(path)

    from directions.evaluation.summary import measure_columns, with_columns
    from directions.generators.registry import load_generator

    model = load_generator(generator or directions.generator, weights=weights, device=device)
    progress = common.ProgressBar(quiet)
    with options_named(context):
        columns = measure_columns(directions, model, final_samples=final_samples, seed=seed, on_progress=progress)
    progress.close()

    def change(found: Directions) -> Directions:
        if found.matrix.tolist() != directions.matrix.tolist():  # replaced while they were measured
            raise UserError(f"{path} holds other directions by now. Measure it again.")
        return with_columns(found, columns)

    edit_directions(path, change)
    typer.echo(f"{path}: measured {len(directions)} directions of {directions.generator}; see them with inspect.")
