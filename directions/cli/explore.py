"""``directions explore``: a page with a slider for each direction."""

from __future__ import annotations

import functools
import secrets
from typing import Annotated

import typer

from directions.cli.common import Device, FilePath, GeneratorName, Weights
from directions.errors import MissingExtraError
from directions.settings.base import options_named

_page = functools.partial(typer.Option, rich_help_panel="The page")


def explore(
    context: typer.Context,
    file: FilePath,
    port: Annotated[
        int | None, _page(metavar="0..65535", help="Port; 0 takes any free one.", show_default="8160, or a free one")
    ] = None,
    host: Annotated[str, _page(help="Address on this machine; no other is served.")] = "127.0.0.1",
    open_browser: Annotated[bool, _page("--open/--no-open", help="Open the page in a browser.")] = True,
    generator: GeneratorName = None,
    weights: Weights = None,
    device: Device = "cpu",
) -> None:
    """Look at directions in a browser: a slider each; names, ranges and notes are written into the file."""
    from directions.direction_file import direction_file, load_directions

    path = direction_file(file).absolute()
    directions = load_directions(path)
    try:
        from directions.explorer.app import address, listen, make_app, serve
    except ModuleNotFoundError as error:
        raise MissingExtraError("The page", "explore") from error
    from directions.explorer.file import OpenFile
    from directions.explorer.snippet import Origin
    from directions.generators.registry import load_generator

    with options_named(context):
        bound = listen(host, port)
    with bound:
        typer.echo(f"Loading {generator or directions.generator} …", err=True)
        model = load_generator(generator or directions.generator, weights=weights, device=device)
        opened = OpenFile(path, lambda found: found.require_fits(model))
        app = make_app(opened, model, Origin(path, generator, weights, device), secrets.token_urlsafe(24))
        typer.echo(address(bound))
        typer.echo("Ctrl-C ends it.", err=True)
        serve(app, bound, open_browser=open_browser)
    typer.echo("Ended.", err=True)
