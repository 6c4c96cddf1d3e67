"""``directions convert``: other programs' directions as a direction file."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from directions.commands.common import OUTPUT, options_named, print_json
from directions.config import parse_classes
from directions.errors import UserError

if TYPE_CHECKING:
    from directions.direction_file.header import DescribesGenerator

_WHAT = "What they are"
_PAPER_GENERATOR = "biggan-128"
_IMAGENET_CLASSES = 1000
_NAME = re.compile(r"(\d+)=(.+)")


def convert(
    context: typer.Context,
    file: Annotated[
        Path,
        typer.Argument(
            help="The paper's or OroJaR's .pt, a deformator's state dict of GANLatentDiscovery, or a .npy with a "
            "direction a row."
        ),
    ],
    to: Annotated[
        Path, typer.Option("--to", "-o", metavar="FILE", help="Direction file to write.", rich_help_panel=OUTPUT)
    ],
    generator: Annotated[
        str, typer.Option(help="Generator that they belong to, by name.", rich_help_panel=_WHAT)
    ] = _PAPER_GENERATOR,
    weights: Annotated[
        str | None,
        typer.Option(
            help="Its weights; their digest is recorded then.", show_default="not looked at", rich_help_panel=_WHAT
        ),
    ] = None,
    published: Annotated[
        str | None,
        typer.Option(
            metavar="goldens|goldens-coarse|goldens-mid|goldens-fine|church|voynov",
            help="Which of the paper's files it is: gives names, classes and space.",
            show_default="recognised by its digest",
            rich_help_panel=_WHAT,
        ),
    ] = None,
    name: Annotated[
        list[str] | None,
        typer.Option(
            metavar="INDEX=NAME",
            help="Name a direction, such as 5=rotation; may be repeated.",
            show_default="the paper's, else d0, d1, …",
            rich_help_panel=_WHAT,
        ),
    ] = None,
    classes: Annotated[
        str | None,
        typer.Option(
            metavar="CLASS,…",
            help="Classes that they were learned on, by index or name; or all.",
            show_default="the paper's, else all",
            rich_help_panel=_WHAT,
        ),
    ] = None,
    space: Annotated[
        str | None,
        typer.Option(
            metavar="START:STOP",
            help="z components that they move; STOP is excluded.",
            show_default="the paper's, else all of z",
            rich_help_panel=_WHAT,
        ),
    ] = None,
    path_size: Annotated[
        float,
        typer.Option(
            metavar="0<FLOAT<=100", help="How far they go to either side, in units of z.", rich_help_panel=_WHAT
        ),
    ] = 5.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.", rich_help_panel=OUTPUT)] = False,
) -> None:
    """Make a direction file of other programs' directions. No code from the file is run."""
    from directions.convert.conversion import convert as make

    with options_named(context):
        described = _describe(generator, weights)
        directions = make(
            file,
            described,
            published=published,
            names=_names(name or []),
            classes=None if classes is None else _indices(described, classes),
            space=space,
            path_size=path_size,
        )
    directions.save(to)
    source = directions.header["source"]
    if as_json:
        print_json({"directions": str(to), "ndirs": len(directions), "dim_z": directions.dim_z, "source": source})
        return
    known = f" (the paper's {source['published']})" if source["published"] else ""
    typer.echo(f"{len(directions)} directions of {generator}, from {source['form']}{known}: {to}")
    typer.echo(f"Gram–Schmidt turned them by up to {source['largest_turn_degrees']:.3g} degrees.")
    named = [f"{index} {label}" for index, label in enumerate(directions.names) if label != f"d{index}"]
    if named:
        typer.echo(f"Named: {', '.join(named)}")


def _describe(name: str, weights: str | None) -> DescribesGenerator:
    """What a direction file says of its generator; nothing is loaded where the name alone tells."""
    from directions.generators.registry import list_generators, load_generator

    if weights is None:
        for status in list_generators():
            if status.name == name and status.num_classes == _IMAGENET_CLASSES and status.dim_z is not None:
                return SimpleNamespace(name=name, digest="", dim_z=status.dim_z, resolution=status.resolution)
    return load_generator(name, weights=weights)


def _indices(described: Any, text: str) -> Sequence[int] | str:
    """Classes as the header records them."""
    from directions.generators.class_names import ClassNames
    from directions.generators.imagenet import imagenet_names
    from directions.sampling import resolve_classes

    classes = parse_classes(text)
    if classes == "all":
        return "all"
    if hasattr(described, "class_indices"):
        return resolve_classes(described, classes)
    names = ClassNames(*imagenet_names())  # of the generators that are known by name without loading them
    return [names.find(str(entry)) for entry in classes]


def _names(given: Sequence[str]) -> dict[int, str]:
    names: dict[int, str] = {}
    for text in given:
        match = _NAME.fullmatch(text)
        if match is None:
            raise UserError(f"name must be INDEX=NAME, such as 5=rotation, got {text!r}.")
        names[int(match[1])] = match[2].strip()
    return names
