"""``directions render``: pictures of what directions do."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from directions.commands.common import HARDWARE, OUTPUT, SAMPLES, options_named

_MOTION = "How to move"
_PICTURE = "The pictures"


def render(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="A direction file, or the run folder that it is in.")],
    directions: Annotated[
        str,
        typer.Option(
            "--directions", "-d", metavar="DIRECTION,…", help="By index or name; or all.", rich_help_panel=_MOTION
        ),
    ] = "all",
    with_hidden: Annotated[
        bool, typer.Option("--all", help="Show hidden directions too.", rich_help_panel=_MOTION)
    ] = False,
    plane: Annotated[
        str | None,
        typer.Option(
            metavar="DIRECTION,DIRECTION",
            help="A plane of two directions: one across, the other upwards.",
            rich_help_panel=_MOTION,
        ),
    ] = None,
    path_size: Annotated[
        float | None,
        typer.Option(
            metavar="FLOAT>0",
            help="How far to go to either side, in units of z.",
            show_default="each direction's own",
            rich_help_panel=_MOTION,
        ),
    ] = None,
    motion: Annotated[
        str | None,
        typer.Option(
            metavar="smooth|linear",
            help="Slow down towards the ends, or keep one speed.",
            show_default="smooth",
            rich_help_panel=_MOTION,
        ),
    ] = None,
    loop: Annotated[
        bool | None,
        typer.Option(
            "--loop/--no-loop",
            help="There and back, again and again; or once, from one end to the other.",
            show_default="loop",
            rich_help_panel=_MOTION,
        ),
    ] = None,
    remove_projection: Annotated[
        bool,
        typer.Option(
            "--remove-projection",
            help="First take from each z its part along the direction, so that all start alike.",
            rich_help_panel=_MOTION,
        ),
    ] = False,
    layers: Annotated[
        str | None,
        typer.Option(
            metavar="START:STOP",
            help="Layers that see the moved z, such as 0:4, or coarse, mid, fine, all; others keep the sample's own.",
            show_default="those that the directions were learned on",
            rich_help_panel=_MOTION,
        ),
    ] = None,
    samples: Annotated[
        int | None,
        typer.Option(
            metavar="1..10000",
            help="How many, each with a z of its own, the same for every direction.",
            show_default="4; 1 for a plane",
            rich_help_panel=SAMPLES,
        ),
    ] = None,
    classes: Annotated[
        str | None,
        typer.Option(
            "--classes",
            "-y",
            metavar="CLASS,…",
            help="Classes of the samples by index or name, in turn; or all. Several are named above "
            "an animation's columns and beside a strip's rows.",
            show_default="those that the directions were learned on",
            rich_help_panel=SAMPLES,
        ),
    ] = None,
    seed: Annotated[int, typer.Option(metavar="INT>=0", help="Seed of the samples.", rich_help_panel=SAMPLES)] = 0,
    truncation: Annotated[
        float | None,
        typer.Option(
            metavar="0<FLOAT<=1",
            help="Spread of z and the generator's truncation.",
            show_default="as in learning",
            rich_help_panel=SAMPLES,
        ),
    ] = None,
    format: Annotated[  # noqa: A002 - the option's name, which error messages are matched with
        str | None,
        typer.Option(
            "--format",
            metavar="gif|webp|mp4|strip|plane|gallery",
            help="Animations, a PNG with a row a sample and a column a step, a PNG of two directions, or a web page.",
            show_default="by the ending of --out; gif",
            rich_help_panel=_PICTURE,
        ),
    ] = None,
    frames: Annotated[
        int | None,
        typer.Option(
            metavar="INT",
            help="Frames of an animation, columns of a strip or plane, places on a gallery's slider.",
            show_default="60, 7, 25",
            rich_help_panel=_PICTURE,
        ),
    ] = None,
    fps: Annotated[
        float | None,
        typer.Option(
            metavar="1..60",
            help="Frames per second; a GIF takes the nearest 100 / n, up to 50.",
            show_default="20; 30 for mp4",
            rich_help_panel=_PICTURE,
        ),
    ] = None,
    captions: Annotated[
        str | None,
        typer.Option(
            metavar="name|amount|none",
            help="Write names and path sizes; names and where on the path each frame is; or nothing.",
            show_default="name",
            rich_help_panel=_PICTURE,
        ),
    ] = None,
    scale: Annotated[
        int | None,
        typer.Option(
            metavar="1..16",
            help="How many times larger to show the images; twice as much for retina screens.",
            show_default="at least 128 pixels",
            rich_help_panel=_PICTURE,
        ),
    ] = None,
    generator: Annotated[
        str | None,
        typer.Option(help="Generator by name or folder.", show_default="the one in the file", rich_help_panel=HARDWARE),
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
        typer.Option(
            help="A folder, made if it is not there; or one file that ends in .gif, .webp, .mp4 or .png.",
            show_default="pictures, or gallery, beside the file",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Print which files would be written and how many images made, and stop.",
            rich_help_panel=OUTPUT,
        ),
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the paths of the files as JSON.", rich_help_panel=OUTPUT)
    ] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="No progress on stderr.", rich_help_panel=OUTPUT)
    ] = False,
) -> None:
    """Render directions: animations, strips, planes of two, or a gallery to look through."""
    from directions.commands.render_flow import Request, carry_out

    with options_named(context):
        carry_out(
            Request(
                file=file,
                directions=directions,
                with_hidden=with_hidden,
                plane=plane,
                classes=classes,
                out=out,
                format=format,
                generator=generator,
                weights=weights,
                device=device,
                truncation=truncation,
                settings={
                    "samples": samples,
                    "frames": frames,
                    "fps": fps,
                    "motion": motion,
                    "loop": loop,
                    "captions": captions,
                    "path_size": path_size,
                    "scale": scale,
                    "seed": seed,
                    "remove_projection": remove_projection,
                    "layers": layers,
                },
            ),
            dry_run=dry_run,
            as_json=as_json,
            quiet=quiet,
        )
