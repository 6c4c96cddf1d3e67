"""``directions gan``: generators trained with the penalty. One module a verb."""

from __future__ import annotations

import typer

from directions.cli.gan.evaluate import evaluate, metrics_epilog
from directions.cli.gan.sample import sample
from directions.cli.gan.train import train

gan = typer.Typer(
    name="gan",
    help="Train generators, with the Hessian Penalty or without, measure them, and make images.",
    no_args_is_help=True,
    rich_markup_mode="rich",
)
gan.command()(train)
gan.command()(sample)
gan.command(epilog=metrics_epilog())(evaluate)
