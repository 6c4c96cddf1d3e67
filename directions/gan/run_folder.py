"""The folder of a training run: settings, checkpoint, curve, sheets of samples, and the generator to load.

A run folder of ``directions.runs`` whose config.json tells ``load_generator`` what the weights beside it are of, and
holds the settings under ``training``. ``recording`` fills it; ``gan train --resume`` and ``--fine-tune`` read it.
"""

from __future__ import annotations

import io
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from directions.atomic import write_bytes
from directions.config import ConfigError
from directions.distributed.ranks import Ranks
from directions.errors import UserError
from directions.gan.config import TrainConfig
from directions.generators.published import WEIGHTS
from directions.runs.folder import RunFolder
from directions.runs.unwritten import UnwrittenFolder

CHECKPOINT_VERSION = 1


@dataclass(frozen=True)
class _Content:
    """What config.json holds."""

    generator: Mapping[str, Any]
    training: TrainConfig

    def to_dict(self) -> dict[str, Any]:
        return {**self.generator, "training": self.training.to_dict()}


@dataclass(frozen=True)
class TrainingFolder:
    """The files of one training run; make one with `create` or `open`."""

    run: RunFolder

    @classmethod
    def create(
        cls,
        out: str | os.PathLike[str],
        name: str,
        config: TrainConfig,
        generator: Mapping[str, Any],
        *,
        world_size: int = 1,
    ) -> TrainingFolder:
        """Make the next numbered folder.

        Args:
            out: Folder for runs; made if it is not there.
            name: What follows the number.
            config: Settings of the run.
            generator: What a reader of its weights must know.
            world_size: Number of processes that work on it.

        Returns:
            The folder ``out/NNNNN-name``.
        """
        return cls(RunFolder.create(out, name, _Content(generator, config), world_size=world_size))

    @classmethod
    def seen_by(cls, ranks: Ranks, path: Path) -> TrainingFolder:
        """The folder for one of several processes: rank 0 writes, for the others nothing is written.

        Args:
            ranks: The processes.
            path: The folder, on rank 0's machine.

        Returns:
            The folder.
        """
        return cls(RunFolder(path) if ranks.first else UnwrittenFolder(path))

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> TrainingFolder:
        """Open the folder of an earlier training run.

        Args:
            path: The folder.

        Returns:
            The folder.

        Raises:
            UserError: If it is not the folder of a training run.
        """
        folder = cls(RunFolder.open(path))
        folder.read_config()
        return folder

    @property
    def path(self) -> Path:
        """The folder itself."""
        return self.run.path

    @property
    def weights_path(self) -> Path:
        """The averaged generator, as ``load_generator`` reads it."""
        return self.path / WEIGHTS

    @property
    def sheets_path(self) -> Path:
        """Folder of the sheets of samples."""
        return self.path / "samples"

    def read_config(self) -> TrainConfig:
        """Read the settings.

        Returns:
            What the run was started with.

        Raises:
            UserError: If the file is damaged, or of another kind of run.
        """
        path = self.run.config_path
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            training = content["training"]
        except (OSError, ValueError):
            raise UserError(f"{path} cannot be read or is damaged. Start a new run.") from None
        except (KeyError, TypeError):
            raise UserError(f"{self.path} is not a run of `gan train`: its config.json has no training.") from None
        try:
            return TrainConfig.from_dict(training)
        except (ConfigError, TypeError, AttributeError) as error:
            raise UserError(f"{path} cannot be used: {error}. Start a new run.") from error

    def write_config(self, config: TrainConfig, generator: Mapping[str, Any]) -> None:
        """Write the settings, also when a run is extended."""
        self.run.write_config(_Content(generator, config))

    def write_checkpoint(self, state: Mapping[str, Any]) -> None:
        """Write where the run stands, replacing the checkpoint before it in one go."""
        buffer = io.BytesIO()
        torch.save({"version": CHECKPOINT_VERSION, "state": dict(state)}, buffer)
        write_bytes(self.run.checkpoint_path, buffer.getvalue())

    def read_checkpoint(self) -> dict[str, Any] | None:
        """Read where the run stands.

        Returns:
            The trainer's state, on the CPU; ``None`` if the run ended before its first checkpoint.

        Raises:
            UserError: If the file is damaged or of another format.
        """
        path = self.run.checkpoint_path
        if not path.exists():
            return None
        try:
            content = torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:  # torch raises whatever the damaged bytes lead to
            raise UserError(
                f"{path} is damaged or not a checkpoint ({type(error).__name__}). Start a new run."
            ) from error
        if not isinstance(content, dict) or content.get("version") != CHECKPOINT_VERSION or "state" not in content:
            raise UserError(f"{path} must be a checkpoint of `gan train`, version {CHECKPOINT_VERSION}.")
        state: dict[str, Any] = content["state"]
        return state
