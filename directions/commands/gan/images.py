"""The real images that generated ones are compared with: those that a run was trained on, or a folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from directions.errors import UserError

if TYPE_CHECKING:
    from directions.gan.config import DataFormat, OnBroken, TrainConfig
    from directions.gan.data.images import ImageData


def training_of(run: str) -> TrainConfig | None:
    """Read the settings of a training run.

    Args:
        run: A run folder, or anything else that names a generator.

    Returns:
        The settings; ``None`` if it is no training run.
    """
    from directions.gan.run_folder import TrainingFolder

    if not Path(run).is_dir():
        return None
    try:
        return TrainingFolder.open(run).read_config()
    except UserError:
        return None


def have_images(folder: Path | None, training: TrainConfig | None) -> bool:
    """Whether there are real images: a folder is given, or those of the training are still where they were."""
    return folder is not None or (training is not None and Path(training.data).is_dir())


def open_images(
    folder: Path | None,
    training: TrainConfig | None,
    resolution: int,
    kind: DataFormat | None = None,
    on_broken: OnBroken | None = None,
) -> ImageData:
    """Open real images at the size of a generator.

    Args:
        folder: Rendered scenes, or a folder of image files; ``None`` takes those of the training.
        training: Settings of the generator's training, if it has any. Its own images are read as it read them, however
            their folder is spelled.
        resolution: Height and width wanted, in pixels.
        kind: How the folder is laid out; ``None`` is as in the training for its own images, and for others scenes where
            they are some, pairs where the training had pairs, else single images.
        on_broken: What to do with a file that cannot be read; ``None`` is as in the training for its own images, and
            refuses the folder for others.

    Returns:
        The images.

    Raises:
        UserError: If there are none, one cannot be read, or they cannot be brought to the size.
    """
    from directions.gan.data.source import data_format, open_folder

    if training is not None and (folder is None or folder.resolve() == Path(training.data).resolve()):
        cache = None if training.cache is None else Path(training.cache)
        skip = (on_broken or training.on_broken) == "skip"
        return open_folder(
            Path(training.data), resolution, kind=kind or training.data_format, cache=cache, skip_broken=skip
        )
    assert folder is not None, "there is one where there is no training"
    if kind is None:
        kind = data_format(folder)
        if kind == "folder" and training is not None and training.data_format == "pairs":
            kind = "pairs"
    return open_folder(folder, resolution, kind=kind, skip_broken=on_broken == "skip")
