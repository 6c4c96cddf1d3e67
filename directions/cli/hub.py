"""``directions push`` and ``directions pull``: direction files to and from the Hugging Face Hub."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from directions.cli.common import OUTPUT, FilePath, print_json
from directions.cli.files import AsJson, Overwrite, option, require_absent
from directions.errors import UserError
from directions.settings.base import options_named

Repository = Annotated[str, typer.Argument(metavar="OWNER/NAME", help="Repository on the Hub.")]
_PICTURES_HELP = "Folder that directions render wrote; its overviews and contact sheets go along."
_BESIDE = "pictures, beside the file, if it is there"


def push(
    context: typer.Context,
    file: FilePath,
    repository: Repository,
    pictures: Annotated[Path | None, option(None, _PICTURES_HELP, show_default=_BESIDE)] = None,
    no_pictures: Annotated[bool, option(None, "Leave pictures out.", "--no-pictures")] = False,
    license: Annotated[  # noqa: A002 — the option is called so
        str | None, option(None, "License, as the Hub writes it, such as mit or cc-by-4.0.", metavar="WORD")
    ] = None,
    private: Annotated[bool, option(None, "Make a new repository for yourself alone.", "--private")] = False,
    message: Annotated[str, option(None, "Message of the commit.")] = "Directions",
    dry_run: Annotated[bool, option(OUTPUT, "Print what would be sent; send nothing.", "--dry-run")] = False,
    as_json: AsJson = False,
) -> None:
    """Put a direction file on the Hub, with a card written from its header."""
    from directions import hub
    from directions.direction_file import direction_file, load_directions
    from directions.direction_file.format import pack

    hub.require_hub_id(repository)
    if no_pictures and pictures is not None:
        raise UserError("--no-pictures and --pictures cannot both be given.")
    path = direction_file(file)
    directions = load_directions(path)
    if pictures is not None and not pictures.is_dir():
        raise UserError(f"--pictures {pictures} is not a folder. Make it: directions render {path}")
    folder = None if no_pictures else pictures or path.parent / "pictures"
    header = hub.public_header(directions.header)
    with options_named(context):
        files = hub.card_and_pictures(header, repository, pictures=folder, license_name=license)
    card = files["README.md"].decode()
    files[hub.FILE_NAME] = pack(directions.matrix, header)
    commit = None if dry_run else hub.push(files, repository, message=message, private=private)
    sizes = {name: len(data) for name, data in files.items()}
    if as_json:
        print_json({"files": sizes, "card": card, "commit": commit})
    elif not dry_run:
        typer.echo(f"{len(directions)} directions, {len(files)} files: {commit}")
    else:
        typer.echo(card)
        for name, size in sizes.items():
            typer.echo(f"{name}: {size} bytes", err=True)
        typer.echo("Nothing was sent (--dry-run).", err=True)


def pull(
    repository: Repository,
    to: Annotated[
        Path | None, option(OUTPUT, "File to write.", "--to", "-o", metavar="FILE", show_default="NAME.safetensors")
    ] = None,
    revision: Annotated[str | None, option(None, "Branch, tag or commit.", show_default="the newest state")] = None,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Fetch a direction file from the Hub. Nothing else is fetched, and no code is run."""
    from directions.direction_file import load_directions
    from directions.hub import fetch_from_hub, require_hub_id

    require_hub_id(repository)
    target = to or Path(f"{repository.split('/')[1]}.safetensors")
    if not overwrite:
        require_absent(target, str(target), "Give another name with --to")
    directions = load_directions(fetch_from_hub(repository, revision=revision))
    directions.save(target)
    if as_json:
        print_json({"directions": str(target), "generator": directions.generator, "names": list(directions.names)})
        return
    typer.echo(f"{len(directions)} directions of {directions.generator}: {target}")
