"""``directions compare``: methods side by side on one generator, as a table and a page."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Annotated, Any

import typer

from directions.cli.common import OUTPUT, Json, ProgressBar, Quiet, print_json, print_table
from directions.errors import Interrupted, UserError, nearest
from directions.settings.base import setting, with_options
from directions.settings.discover import DiscoverConfig, parse_time

_WHAT = "What to compare"
_RUNS = "Scores and checkpoints"


class Shared(DiscoverConfig):
    """Settings of `directions discover`, with other defaults."""

    time: float | None = setting(
        None, "How long each run may take; settings that are not given are chosen to fit.", panel="What to learn", gt=0,
        metavar="90s|10m|2h", from_text=parse_time, shown="no plan",
    )  # fmt: skip
    held_out: int = setting(32, "Samples in each run's own held-out set.", panel=_RUNS, ge=1)
    final_samples: int = setting(16, "Samples by which a run measures its directions.", panel=_RUNS, ge=1)


@with_options(Shared, without=("generator", "method", "criterion", "pca_of", "ndirs", "seed"))
def compare(
    given: dict[str, Any],
    generator_: Annotated[
        str, typer.Argument(metavar="GENERATOR", help="Generator by name, folder, or FILE.py:FUNCTION.")
    ] = "builtin",
    methods: Annotated[
        str,
        typer.Option(
            metavar="METHOD,…",
            rich_help_panel=_WHAT,
            show_default="all but both and adam",
            help="Which, in the order of the table, among random, axes, pca, pca-jacobian, sefa, voynov, hessian, "
            "jacobian, both, hessian+adam, adam.",
        ),
    ] = "random,axes,pca,pca-jacobian,sefa,voynov,hessian,jacobian,hessian+adam",
    seeds: Annotated[
        int, typer.Option(min=1, metavar="INT", help="Runs of each method: seeds 0, 1, ….", rich_help_panel=_WHAT)
    ] = 3,
    samples: Annotated[
        int,
        typer.Option(min=8, metavar="INT", help="Base points at which pictures are judged.", rich_help_panel=_WHAT),
    ] = 64,
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Folder; runs in it are used again.", rich_help_panel=OUTPUT)
    ] = Path("comparison"),
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Run several methods on a generator and judge their directions at the same held-out places."""
    from directions.compare import PRESETS, Comparison, table
    from directions.generators.registry import load_generator
    from directions.run import StopSignals

    names = [name.strip() for name in methods.split(",")]
    for name in names:
        if name not in PRESETS:
            raise UserError(f"methods must be among {', '.join(PRESETS)}, got {name!r}.{nearest(name, PRESETS)}")
    config = Shared(**given)
    with StopSignals(), contextlib.closing(ProgressBar(quiet)) as progress:
        generator = load_generator(generator_, weights=config.weights, device=config.device)
        out.mkdir(parents=True, exist_ok=True)
        settings = given | {"generator": generator_}
        try:
            result = Comparison(generator, settings, names, range(seeds), out, samples, progress).run()
        except Interrupted as stop:
            typer.echo(f"{stop} To go on: the same command again, with --out {out}", err=True)
            raise typer.Exit(stop.exit_code) from None
    if as_json:
        print_json(result)
        return
    rows = table(result)
    print_table(rows, "l" + "r" * (len(rows[0]) - 1))
    typer.echo(f"\nTable: {out / 'compare.md'}\nPage:  {out / 'index.html'}")
