"""Where fine-tuning starts: the networks of an earlier run, read from its checkpoint.

Before ``trainer.Trainer.start_from``; the command line takes the sizes of the networks over from there.
"""

from __future__ import annotations

from typing import Any

from directions.errors import UserError
from directions.gan.config import TrainConfig
from directions.gan.run_folder import TrainingFolder


def starting_state(path: str) -> tuple[TrainConfig, dict[str, Any]]:
    """Read the run that ``--fine-tune`` names.

    Args:
        path: Its folder.

    Returns:
        Its settings, and the state of its checkpoint.

    Raises:
        UserError: If it is no training run, or has no checkpoint yet.
    """
    folder = TrainingFolder.open(path)
    state = folder.read_checkpoint()
    if state is None:
        raise UserError(f"fine_tune must name a run with a checkpoint, got {path!r}, which has none yet.")
    return folder.read_config(), state
