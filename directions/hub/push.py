"""Put a direction file on the Hugging Face Hub: the file, its card and its pictures, in one commit.

At the end of the way: after discovery, naming and rendering. The Hub's own client (extra ``hub``) does the transfer.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from directions.direction_file import Directions
from directions.direction_file.container import pack
from directions.direction_file.hub import FILE_NAME, endpoint, explain, hub_client, is_offline
from directions.errors import UserError
from directions.hub.card import write_card

PICTURES = ("overview*.gif", "contact_sheet*.png")
"""Which files of a folder of pictures go along: those that show all directions, as ``directions render`` names them."""

LARGEST_PICTURE = 25_000_000
"""Bytes of a picture, at most."""


def contents(
    directions: Directions,
    repository: str,
    *,
    pictures: str | os.PathLike[str] | None = None,
    license_name: str | None = None,
) -> dict[str, bytes]:
    """Put together what a repository shall hold.

    The path of the generator's weights on this machine, which the settings of a run may hold, is left out of the file.

    Args:
        directions: What to publish.
        repository: ``owner/name`` on the Hub.
        pictures: Folder that ``directions render`` wrote; ``None`` for none.
        license_name: As the Hub writes licenses, such as ``mit``.

    Returns:
        For each path in the repository its bytes.

    Raises:
        UserError: If a picture cannot be read or is too large, or the license is not a word.
    """
    header = directions.header
    if header["config"].get("weights") is not None:
        header["config"]["weights"] = None
    public = Directions(directions.matrix, header)
    files = {f"pictures/{path.name}": _read_picture(path) for path in found_pictures(pictures)}
    card = write_card(public, repository, pictures=list(files), license_name=license_name)
    return {FILE_NAME: pack(public.matrix, public.header), "README.md": card.encode("utf-8"), **files}


def found_pictures(folder: str | os.PathLike[str] | None) -> list[Path]:
    """Find the pictures that show all directions.

    Args:
        folder: Where to look; ``None`` finds none.

    Returns:
        Their paths, in order.
    """
    if folder is None:
        return []
    return [path for pattern in PICTURES for path in sorted(Path(folder).glob(pattern)) if path.is_file()]


def push(files: Mapping[str, bytes], repository: str, *, message: str, private: bool = False) -> str:
    """Make a repository if there is none, and commit files to it: all of them or none.

    Args:
        files: From `contents`.
        repository: ``owner/name``.
        message: Of the commit.
        private: Whether a new repository is for you alone.

    Returns:
        The address of the commit.

    Raises:
        UserError: If the Hub cannot be reached, or does not let you.
    """
    client = hub_client("Writing to the Hub")
    if is_offline():
        raise UserError(
            f"{repository} cannot be written: the network is switched off by HF_HUB_OFFLINE or DIRECTIONS_OFFLINE."
        )
    try:
        interface = client.HfApi(endpoint=endpoint())
        interface.create_repo(repository, private=private, exist_ok=True)
        additions = [client.CommitOperationAdd(path_in_repo=path, path_or_fileobj=data) for path, data in files.items()]
        commit = interface.create_commit(repository, additions, commit_message=message)
    except Exception as error:  # the client raises what it likes
        raise UserError(explain(repository, error, doing="written")) from error
    return str(commit.commit_url)


def _read_picture(path: Path) -> bytes:
    """Read a picture that goes along."""
    try:
        if path.stat().st_size > LARGEST_PICTURE:
            raise UserError(
                f"{path} has more than {LARGEST_PICTURE:,} bytes. Render with fewer frames or samples, or push "
                "without: --no-pictures."
            )
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"Cannot read {path}: {error.strerror}. Check that you may read it.") from error
