"""``directions push`` and ``directions pull``: direction files to and from the Hugging Face Hub."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from directions.commands.common import OUTPUT, direction_file, options_named, print_json
from directions.errors import UserError

_Repository = Annotated[str, typer.Argument(metavar="OWNER/NAME", help="Repository on the Hub.")]
_AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.", rich_help_panel=OUTPUT)]


def push(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="A direction file, or the run folder that it is in.")],
    repository: _Repository,
    pictures: Annotated[
        Path | None,
        typer.Option(
            help="Folder that directions render wrote; its overviews and contact sheets go along.",
            show_default="pictures, beside the file, if it is there",
        ),
    ] = None,
    no_pictures: Annotated[bool, typer.Option("--no-pictures", help="Leave pictures out.")] = False,
    license: Annotated[  # noqa: A002 — the option is called so
        str | None, typer.Option(metavar="WORD", help="License, as the Hub writes it, such as mit or cc-by-4.0.")
    ] = None,
    private: Annotated[bool, typer.Option("--private", help="Make a new repository for yourself alone.")] = False,
    message: Annotated[str, typer.Option(help="Message of the commit.")] = "Directions",
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Print the card and what would be sent; send nothing.", rich_help_panel=OUTPUT),
    ] = False,
    as_json: _AsJson = False,
) -> None:
    """Put a direction file on the Hub, with a card written from its header."""
    from directions.direction_file import load_directions
    from directions.direction_file.hub import require_hub_id
    from directions.hub.push import contents
    from directions.hub.push import push as send

    require_hub_id(repository)
    if no_pictures and pictures is not None:
        raise UserError("--no-pictures and --pictures cannot both be given.")
    path = direction_file(file)
    directions = load_directions(path)
    if pictures is not None and not pictures.is_dir():
        raise UserError(f"--pictures {pictures} is not a folder. Make it: directions render {path}")
    folder = None if no_pictures else pictures or path.parent / "pictures"
    with options_named(context):
        files = contents(directions, repository, pictures=folder, license_name=license)
    sizes = {name: len(data) for name, data in files.items()}
    if dry_run:
        if as_json:
            print_json({"files": sizes, "card": files["README.md"].decode(), "commit": None})
            return
        typer.echo(files["README.md"].decode())
        for name, size in sizes.items():
            typer.echo(f"{name}: {size} bytes", err=True)
        typer.echo("Nothing was sent (--dry-run).", err=True)
        return
    commit = send(files, repository, message=message, private=private)
    if as_json:
        print_json({"files": sizes, "card": files["README.md"].decode(), "commit": commit})
        return
    typer.echo(f"{len(directions)} directions, {len(files)} files: {commit}")


def pull(
    repository: _Repository,
    to: Annotated[
        Path | None,
        typer.Option(
            "--to", "-o", metavar="FILE", help="File to write.", show_default="NAME.safetensors", rich_help_panel=OUTPUT
        ),
    ] = None,
    revision: Annotated[
        str | None, typer.Option(help="Branch, tag or commit.", show_default="the newest state")
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the file if it is there.", rich_help_panel=OUTPUT)
    ] = False,
    as_json: _AsJson = False,
) -> None:
    """Fetch a direction file from the Hub. Nothing else is fetched, and no code is run."""
    from directions.direction_file import load_directions
    from directions.direction_file.hub import fetch_from_hub, require_hub_id

    require_hub_id(repository)
    target = to or Path(f"{repository.split('/')[1]}.safetensors")
    if target.exists() and not overwrite:
        raise UserError(f"{target} is there already. Give another name with --to, or --overwrite to replace it.")
    directions = load_directions(fetch_from_hub(repository, revision=revision))
    directions.save(target)
    if as_json:
        print_json({"directions": str(target), "generator": directions.generator, "names": list(directions.names)})
        return
    typer.echo(f"{len(directions)} directions of {directions.generator}: {target}")
