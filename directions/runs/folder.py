"""A run folder ``outputs/00012-name/``: what was asked for, where it ran, what happened, and what came out.

Discovery's records go in as they come; the checkpoint and the direction file are written atomically. A run that was
killed at any moment goes on from its checkpoint, and its ``stats.jsonl`` is then what an unbroken run's would be.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import io
import json
import math
import os
import random
import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from directions.atomic import write_bytes, write_text
from directions.config import ConfigError, DiscoverConfig
from directions.errors import UserError
from directions.runs.environment import describe_environment

if TYPE_CHECKING:
    from directions.direction_file import Directions
    from directions.discovery.snapshots import Record
    from directions.generators.base import Generator

CHECKPOINT_VERSION = 1
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


class Settings(Protocol):
    """What a run can be started with."""

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as plain JSON types."""
        ...


@dataclass(frozen=True)
class RunFolder:
    """The files of one run; make one with `create` or `open`."""

    path: Path

    @classmethod
    def create(cls, out: str | os.PathLike[str], name: str, config: Settings, *, world_size: int = 1) -> RunFolder:
        """Make the next numbered folder, with the configuration and the environment in it.

        Args:
            out: Folder for runs; made if it is not there.
            name: What follows the number: letters, digits, ``.``, ``_`` and ``-``.
            config: Settings of the run.
            world_size: Number of processes that work on it, for the record.

        Returns:
            The folder ``out/NNNNN-name``; no other run has its number, also when several start at once.

        Raises:
            UserError: If the name is not allowed, or the folder cannot be made or written; nothing is then left.
        """
        check_name(name)
        out = Path(out)
        with _explained(out):
            out.mkdir(parents=True, exist_ok=True)
            path = _claim(out, name)
        folder = cls(path)
        try:
            folder.write_config(config)
            write_text(folder.environment_path, _json(describe_environment(world_size)))
        except BaseException:
            for left in path.iterdir():
                left.unlink()
            path.rmdir()
            raise
        return folder

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> RunFolder:
        """Open the folder of an earlier run.

        Args:
            path: The folder.

        Returns:
            The folder.

        Raises:
            UserError: If it is not the folder of a run.
        """
        folder = cls(Path(path))
        if not folder.path.is_dir():
            raise UserError(f"{path} is not a run folder: it does not exist. Give one such as outputs/00000-builtin.")
        if not folder.config_path.is_file():
            raise UserError(
                f"{path} is not a run folder: it has no config.json. Give the folder that `discover` or `gan train` "
                "printed."
            )
        return folder

    @property
    def environment_path(self) -> Path:
        """Versions, machine and arguments at the start, JSON."""
        return self.path / "environment.json"

    @property
    def config_path(self) -> Path:
        """The resolved configuration, JSON."""
        return self.path / "config.json"

    @property
    def stats_path(self) -> Path:
        """One JSON line for each step."""
        return self.path / "stats.jsonl"

    @property
    def checkpoint_path(self) -> Path:
        """Where to go on from: tensors and plain types, read without pickle's powers."""
        return self.path / "checkpoint.pt"

    @property
    def directions_path(self) -> Path:
        """What came out."""
        return self.path / "directions.safetensors"

    def write_config(self, config: Settings) -> None:
        """Write the configuration, also when a run is extended."""
        write_text(self.config_path, _json(config.to_dict()))

    def read_config(self) -> DiscoverConfig:
        """Read the configuration.

        Returns:
            What the run was started with.

        Raises:
            UserError: If the file is damaged.
        """
        try:
            settings = json.loads(self.config_path.read_text(encoding="utf-8"))
            return DiscoverConfig.from_dict(settings)
        except (OSError, ValueError, AttributeError, TypeError) as error:
            detail = str(error) if isinstance(error, ConfigError) else "it is not the JSON that was written"
            raise UserError(f"{self.config_path} cannot be used: {detail}. Start a new run.") from error

    def write_checkpoint(self, state: Mapping[str, Any], generator: Generator) -> None:
        """Write where the run stands, replacing the checkpoint before it in one go.

        Args:
            state: `directions.discovery.Snapshot.state`.
            generator: Its name and digest are kept, so that a run is not resumed with another one.
        """
        import torch

        content = {
            "version": CHECKPOINT_VERSION,
            "generator": {"name": generator.name, "digest": generator.digest},
            "state": dict(state),
        }
        buffer = io.BytesIO()  # torch reports a full disk as RuntimeError without a cause; write_bytes says what it is
        torch.save(content, buffer)
        write_bytes(self.checkpoint_path, buffer.getvalue())

    def read_checkpoint(self, generator: Generator) -> dict[str, Any] | None:
        """Read where the run stands.

        Args:
            generator: Must be the one that the run was made with.

        Returns:
            The state for `directions.discovery.discover`; ``None`` if the run ended before its first checkpoint.

        Raises:
            UserError: If the file is damaged or of another format, or the generator is another one.
        """
        import torch

        if not self.checkpoint_path.exists():
            return None
        try:
            content = torch.load(self.checkpoint_path, map_location="cpu", weights_only=True)
        except Exception as error:  # torch raises whatever the damaged bytes lead to
            raise UserError(
                f"{self.checkpoint_path} is damaged or not a checkpoint ({type(error).__name__}). Start a new run."
            ) from error
        if not isinstance(content, dict) or content.get("version") != CHECKPOINT_VERSION:
            found = content.get("version") if isinstance(content, dict) else type(content).__name__
            raise UserError(
                f"{self.checkpoint_path} must be a checkpoint of version {CHECKPOINT_VERSION}, got {found!r}. "
                "Start a new run."
            )
        made_with = content["generator"]
        if made_with["digest"] != generator.digest:
            raise UserError(
                f"{self.path} was made with generator {made_with['name']!r} (digest {made_with['digest'][:12]}), got "
                f"{generator.name!r} (digest {generator.digest[:12]}). Give the weights of that run with --weights."
            )
        return content["state"]

    def write_directions(self, directions: Directions) -> None:
        """Write what came out."""
        directions.save(self.directions_path)

    def remove_partial_files(self) -> None:
        """Delete what writes that were killed have left beside their targets."""
        for left in self.path.glob(".*.partial*"):
            left.unlink()

    def append_stats(self, record: Record) -> None:
        """Add the line of a step."""
        self.append_line(vars(record))

    def append_line(self, content: Mapping[str, Any]) -> None:
        """Add a line to ``stats.jsonl`` and force it to disk, so that none is missing before a checkpoint."""
        line = json.dumps(content)
        with _explained(self.stats_path), self.stats_path.open("a", encoding="utf-8") as file:
            file.write(line + "\n")
            file.flush()
            os.fsync(file.fileno())

    def truncate_stats(self, record: Record) -> None:
        """Drop the line of a record and the later ones, and whatever a kill left of a line.

        Args:
            record: The first one that will be written again.
        """
        self.keep_lines(lambda line: _position(line) < record.position)

    def keep_lines(self, wanted: Callable[[Mapping[str, Any]], bool]) -> None:
        """Drop the lines of ``stats.jsonl`` that are not wanted, and whatever a kill left of a line."""
        kept = [line for line in self.read_stats() if wanted(line)]
        write_text(self.stats_path, "".join(json.dumps(line) + "\n" for line in kept))

    def read_stats(self) -> list[dict[str, Any]]:
        """Return the whole lines of ``stats.jsonl``, in order; none if it is not there."""
        if not self.stats_path.exists():
            return []
        stats = []
        for line in self.stats_path.read_text(encoding="utf-8").splitlines():
            with contextlib.suppress(json.JSONDecodeError):
                stats.append(json.loads(line))
        return stats

    def log(self, message: str) -> None:
        """Add a line with the time of day to ``log.txt``."""
        now = dt.datetime.now().astimezone().isoformat(sep=" ", timespec="seconds")
        path = self.path / "log.txt"
        with _explained(path), path.open("a", encoding="utf-8") as file:
            file.write(f"{now}  {message}\n")


def check_name(name: str) -> None:
    """Check the name of a run.

    Args:
        name: What follows the number in the folder's name.

    Raises:
        UserError: If it could not be part of a folder's name everywhere.
    """
    if not _NAME.fullmatch(name):
        raise UserError(f"name must be letters, digits, '.', '_', '-', and start with a letter or digit, got {name!r}.")


def _claim(out: Path, name: str) -> Path:
    """Make the next numbered folder. A number is claimed by a folder of any name, which no single mkdir can assure."""
    while True:
        number = max((taken for taken, _ in _numbered(out)), default=-1) + 1
        path = out / f"{number:05d}-{name}"
        try:
            path.mkdir()
        except FileExistsError:
            continue
        if all(entry == path for taken, entry in _numbered(out) if taken == number):
            return path
        path.rmdir()  # another run took the number under another name at the same time: let chance decide
        time.sleep(random.uniform(0.0, 0.05))


def _numbered(out: Path) -> Iterator[tuple[int, Path]]:
    for entry in out.iterdir():
        match = re.match(r"(\d{5,})-", entry.name)
        if match:
            yield int(match[1]), entry


def _position(line: Mapping[str, Any]) -> tuple[int, float]:
    """`Record.position` of a line, also of one from before there were base points."""
    base_points = line.get("base_points")
    return line["step"], math.inf if base_points is None else base_points


def _json(content: Mapping[str, Any]) -> str:
    return json.dumps(content, indent=2) + "\n"


@contextlib.contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UserError(
            f"Cannot write {path}: {error.strerror or error}. Free some space, or choose another folder with --out."
        ) from error
