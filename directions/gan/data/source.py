"""Open what ``--data`` names: rendered scenes, a folder of images, or pairs of images.

The first stop of the training flow: what comes out is an `ImageData` of the size that is trained on.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from directions.errors import UserError
from directions.evaluation.scene_reader import SHAPES
from directions.gan.config import DataFormat, TrainConfig
from directions.gan.data.cache import default_cache, from_array, from_files
from directions.gan.data.images import ImageData
from directions.gan.data.scenes import SceneImages


def data_format(folder: Path) -> DataFormat:
    """Tell by its files whether a folder was made by ``scripts/render_scenes.py``."""
    return "scenes" if (folder / "factors.csv").is_file() else "folder"


def open_data(config: TrainConfig, *, on_image: Callable[[int, int], None] = lambda done, total: None) -> ImageData:
    """Open the images that a configuration names.

    Args:
        config: Folder, format, resolution, cache, and what to do with broken files.
        on_image: Called with the number of files read and their total, when a folder is read for the first time.

    Returns:
        Images of the configuration's resolution.

    Raises:
        UserError: If there are none, or too few for a batch, or a file cannot be used.
    """
    folder = Path(config.data)
    if not folder.is_dir():
        raise UserError(f"data must be a folder, got {config.data!r}, which does not exist or is a file.")
    return open_folder(
        folder,
        config.resolution,
        kind=config.data_format,
        cache=None if config.cache is None else Path(config.cache),
        skip_broken=config.on_broken == "skip",
        on_image=on_image,
    )


def open_folder(
    folder: Path,
    size: int,
    *,
    kind: DataFormat = "auto",
    cache: Path | None = None,
    skip_broken: bool = False,
    on_image: Callable[[int, int], None] = lambda done, total: None,
) -> ImageData:
    """Open the images of a folder in any size.

    Args:
        folder: Rendered scenes, images, or pairs of them.
        size: Height and width wanted, in pixels.
        kind: Which of these it is.
        cache: Folder of the cache; ``None`` takes the package's.
        skip_broken: Leave out files that cannot be read, with a warning, instead of refusing.
        on_image: Called with the number of files read and their total, when a folder is read for the first time.

    Returns:
        The images.

    Raises:
        UserError: If there are fewer than two, or a file cannot be used.
    """
    cache = cache or default_cache()
    if kind == "scenes" or (kind == "auto" and data_format(folder) == "scenes"):
        data = scenes(folder, size, cache)
    else:
        entry = from_files(
            folder, size, cache=cache, pairs=kind == "pairs", skip_broken=skip_broken, on_image=on_image
        )
        data = ImageData(entry.images, entry.digest)
    if len(data) < 2:
        raise UserError(f"data must hold at least 2 images, got {len(data)} in {str(folder)!r}.")
    return data


def scenes(folder: Path, size: int, cache: Path) -> ImageData:
    """Open rendered scenes in a size.

    Args:
        folder: Made by ``scripts/render_scenes.py``.
        size: Height and width wanted, in pixels.
        cache: Folder of the cache.

    Returns:
        The images with their classes; unreduced ones straight from the folder.

    Raises:
        UserError: If the folder is not whole, or its images cannot be reduced to that size by averaging.
    """
    rendered = SceneImages(folder)
    if rendered.images.shape[1] % size:
        raise UserError(
            f"resolution must divide the renders' {rendered.images.shape[1]} pixels, got {size}. Render larger ones: "
            "scripts/render_scenes.py --size"
        )
    if rendered.images.shape[1] == size:
        return ImageData(rendered.images, rendered.digest, rendered.labels, SHAPES)
    entry = from_array(rendered.images, rendered.digest, size, cache=cache)
    return ImageData(entry.images, f"{rendered.digest}/{size}", rendered.labels, SHAPES)
