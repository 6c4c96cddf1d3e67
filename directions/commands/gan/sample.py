"""``directions gan sample``: images of a generator, and what its components do."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from directions.commands.common import HARDWARE, OUTPUT, SAMPLES, options_named

_SWEEP = "Components"
_PICTURE = "The pictures"


def sample(
    context: typer.Context,
    run: Annotated[
        str, typer.Argument(metavar="RUN", help="A run folder, or another generator as load_generator takes it.")
    ],
    sweep: Annotated[
        list[str] | None,
        typer.Option(
            "--sweep",
            "-s",
            metavar="COMPONENT",
            help="Move this component of z: a GIF and a strip. Twice: the plane of two components. all: every one, "
            "most active first.",
            show_default="none: images only",
            rich_help_panel=_SWEEP,
        ),
    ] = None,
    extent: Annotated[
        float,
        typer.Option(
            metavar="FLOAT>0",
            help="A component goes from minus this to this (standard deviations of z).",
            rich_help_panel=_SWEEP,
        ),
    ] = 2.0,
    samples: Annotated[
        int | None,
        typer.Option(
            metavar="1..10000",
            help="How many images, each with a z of its own.",
            show_default="64; 4 for a sweep; 1 for a plane",
            rich_help_panel=SAMPLES,
        ),
    ] = None,
    classes: Annotated[
        str,
        typer.Option(
            "--classes",
            "-y",
            metavar="CLASS,…",
            help="Classes in turn, by index or name; or all. Not used without classes.",
            rich_help_panel=SAMPLES,
        ),
    ] = "all",
    seed: Annotated[int, typer.Option(metavar="INT>=0", help="Seed of the samples.", rich_help_panel=SAMPLES)] = 0,
    truncation: Annotated[
        float,
        typer.Option(metavar="0<FLOAT<=1", help="Spread of z and the generator's truncation.", rich_help_panel=SAMPLES),
    ] = 1.0,
    separate: Annotated[
        bool,
        typer.Option("--separate", help="A PNG for each image beside the sheet of all.", rich_help_panel=_PICTURE),
    ] = False,
    steps: Annotated[
        int | None,
        typer.Option(metavar="2..512", help="Columns of a strip or plane.", show_default="7", rich_help_panel=_PICTURE),
    ] = None,
    scale: Annotated[
        int | None,
        typer.Option(
            metavar="1..16",
            help="How many times larger to show swept images.",
            show_default="at least 128 pixels",
            rich_help_panel=_PICTURE,
        ),
    ] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:N, or auto.", rich_help_panel=HARDWARE)] = "cpu",
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Folder for the pictures; made if it is not there.",
            show_default="pictures in the run folder, or outputs/samples/NAME",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the paths of the files as JSON.", rich_help_panel=OUTPUT)
    ] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="No progress on stderr.", rich_help_panel=OUTPUT)
    ] = False,
) -> None:
    """Make images of a generator, or show what components of z do.

    A swept component goes from minus to plus the extent, whatever it was in the sample; the others stay.
    """
    from directions.commands.gan.sample_flow import Request, carry_out

    with options_named(context):
        carry_out(
            Request(
                run=run,
                sweep=tuple(sweep or ()),
                extent=extent,
                samples=samples,
                classes=classes,
                seed=seed,
                truncation=truncation,
                separate=separate,
                steps=steps,
                scale=scale,
                device=device,
                out=out,
                as_json=as_json,
                quiet=quiet,
            )
        )
