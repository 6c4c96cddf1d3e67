"""``directions gan``: generators trained with the penalty. One module a verb."""

from __future__ import annotations

import typer

from directions.cli.gan.evaluate import METRICS_EPILOG, evaluate
from directions.cli.gan.sample import sample
from directions.cli.gan.train import train

gan = typer.Typer(
    name="gan",
    help="Train generators, with the Hessian Penalty or without, measure them, and make images.",
    no_args_is_help=True,
    rich_markup_mode="rich",
)


def _examples(*calls: str) -> str:
    return "\n\n".join(["Examples:", *(f"directions gan {call}" for call in calls)])


_TRAIN = "train --data photos --penalty hessian --device cuda", "train --resume outputs/00000-photos --kimg 800"
gan.command(epilog=_examples(*_TRAIN))(train)
gan.command(epilog=_examples("sample outputs/00000-photos --sweep all"))(sample)
gan.command(epilog=f"{METRICS_EPILOG}\n\n{_examples('evaluate outputs/00000-photos')}")(evaluate)
