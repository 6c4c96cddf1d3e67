"""The real images that generated ones are compared with: those that a run was trained on, or a folder."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

from directions.errors import UserError

if TYPE_CHECKING:
    from directions.gan.config import TrainConfig
    from directions.gan.data.images import ImageData


def training_of(run: str) -> TrainConfig | None:
    """Read the settings of a training run whose images are still where they were.

    Args:
        run: A run folder, or anything else that names a generator.

    Returns:
        The settings; ``None`` if it is no training run or its images are not there.
    """
    from directions.gan.run_folder import TrainingFolder

    if not Path(run).is_dir():
        return None
    try:
        config = TrainingFolder.open(run).read_config()
    except UserError:
        return None
    return config if Path(config.data).is_dir() else None


def open_images(folder: Path | None, training: TrainConfig | None, resolution: int) -> ImageData:
    """Open real images at the size of a generator, as its training did.

    Args:
        folder: Rendered scenes, or a folder of image files; ``None`` takes those of the training.
        training: Settings of the generator's training, if it has any; a given folder is read by them if it is the same.
        resolution: Height and width wanted, in pixels.

    Returns:
        The images.

    Raises:
        UserError: If there are none, or they cannot be brought to the size.
    """
    from directions.gan.data.cache import default_cache, from_files
    from directions.gan.data.images import ImageData
    from directions.gan.data.source import data_format, open_data, scenes

    if training is not None and folder in (None, Path(training.data)):
        return open_data(dataclasses.replace(training, resolution=resolution))
    assert folder is not None, "there is one where there is no training"
    if data_format(folder) == "scenes":
        return scenes(folder, resolution, default_cache())
    entry = from_files(folder, resolution, cache=default_cache())
    return ImageData(entry.images, entry.digest)
