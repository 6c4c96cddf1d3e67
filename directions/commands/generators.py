"""``directions generators``: what can be loaded, and what is missing for the rest."""

from __future__ import annotations

import dataclasses
from typing import Annotated

import typer

from directions.commands.common import print_json, print_table


def generators(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """List the generators by name, whether they can be loaded here, and what to do if not."""
    from directions.generators.registry import list_generators

    statuses = list_generators()
    if as_json:
        print_json([dataclasses.asdict(status) for status in statuses])
        return
    heading = ("name", "state", "|z|", "classes", "pixels", "")
    rows = [(s.name, s.state, *map(_shown, (s.dim_z, s.num_classes, s.resolution)), s.detail) for s in statuses]
    print_table([heading, *rows], "llrrrl")


def _shown(number: int | None) -> str:
    return "" if number is None else str(number)
