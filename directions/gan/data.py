"""Images to train on: a folder's files or rendered scenes, cut to one size once and kept as one array."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps
from torch import Tensor

from directions.errors import UserError
from directions.files import atomic_write, write_text
from directions.generators.weights import weights_home
from directions.settings.base import ConfigError
from directions.settings.train import DataFormat, TrainConfig

SUFFIXES = (
    *(".png", ".jpg", ".jpeg", ".jfif", ".webp", ".avif", ".bmp", ".tif", ".tiff", ".gif", ".ppm", ".pgm", ".tga"),
    *(".jp2",),
)
"""Files that are taken for images; others in a folder are left out."""

_CACHE_VERSION = 1
_NAMED = 5  # files in a warning


class BrokenImageError(Exception):
    """A file is no image, or one that cannot be shown as 8-bit RGB; the message says why."""


@dataclass(frozen=True)
class ImageData:
    """Images to train on."""

    images: NDArray[np.uint8]
    """(N, size, size, 3), memory-mapped."""
    digest: str
    """SHA-256 that tells these images from others."""
    left_out: tuple[str, ...] = ()
    """How many files of the folder are not used and why, such as ``"2 hidden"``."""

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.images)

    @property
    def resolution(self) -> int:
        """Height and width of the images, in pixels."""
        return int(self.images.shape[1])

    def read(self, indices: Tensor) -> Tensor:
        """Read some images.

        Args:
            indices: (batch,) int64.

        Returns:
            (batch, 3, size, size) float32 in [-1, 1], channels last.
        """
        pixels = torch.from_numpy(self.images[indices.numpy()])
        # A view of pixels that lie channels last already is that in memory.
        return pixels.permute(0, 3, 1, 2).to(torch.float32).div_(127.5).sub_(1)


def open_data(config: TrainConfig, *, on_image: Callable[[int, int], None] = lambda done, total: None) -> ImageData:
    """Open the images that a configuration names; see `open_folder`."""
    folder, cache, skip = Path(config.data), config.cache and Path(config.cache), config.on_broken == "skip"
    layout: dict[str, Any] = {"kind": config.data_format, "cache": cache, "skip_broken": skip}
    return open_folder(folder, config.resolution, **layout, on_image=on_image)


def open_folder(
    folder: Path,
    size: int,
    *,
    kind: DataFormat = "auto",
    cache: Path | None = None,
    skip_broken: bool = False,
    on_image: Callable[[int, int], None] = lambda done, total: None,
) -> ImageData:
    """Open the images of a folder in any size, from the cache where they are there already.

    Args:
        folder: Rendered scenes; or images, in subfolders too; or pairs of them.
        size: Height and width wanted, in pixels.
        kind: Which of these it is.
        cache: Folder of the cache, made if it is not there; ``None`` takes the package's.
        skip_broken: Leave out files that cannot be read, with a warning, instead of refusing.
        on_image: Called with the number of files read and their total, when a folder is read for the first time.

    Returns:
        The images in the order of the files' names; of pairs first the left one.

    Raises:
        ConfigError: If there are fewer than two, or they cannot be brought to the size.
        UserError: If a file cannot be used, or the cache not be written.

    Warns:
        UserWarning: If files were skipped.
    """
    if not folder.is_dir():
        got = f"got {str(folder)!r}, which does not exist or is a file"
        raise ConfigError("data", f"must be a folder, {got}. Say where the images are with --data.")
    cache = cache or weights_home() / "images"
    if kind == "scenes" or (kind == "auto" and (folder / "factors.csv").is_file()):
        data = _scenes(folder, size, cache)
    else:
        data = _files(folder, size, cache, kind == "pairs", skip_broken, on_image)
    if len(data) < 2:
        raise ConfigError("data", f"must hold at least 2 images, got {len(data)} in {str(folder)!r}.")
    return data


def _scenes(folder: Path, size: int, cache: Path) -> ImageData:
    """Open what ``scripts/render_scenes.py`` made, reduced by averaging over whole pixels."""
    images = np.load(folder / "images.npy", mmap_mode="r", allow_pickle=False)
    digest = json.loads((folder / "dataset.json").read_text())["sha256"]
    factor, rest = divmod(images.shape[1], size)
    if rest:
        raise ConfigError(
            "resolution",
            f"must divide the renders' {images.shape[1]} pixels, got {size}. Render larger ones: "
            "scripts/render_scenes.py --size",
        )
    if factor == 1:
        return ImageData(images, digest)

    def smaller() -> Iterator[NDArray[np.uint8]]:
        for image in images:
            yield image.reshape(size, factor, size, factor, 3).mean(axis=(1, 3)).round().astype(np.uint8)

    entry = cache / hashlib.sha256(f"{_CACHE_VERSION}/{size}/{digest}".encode()).hexdigest()[:24]
    if _read_header(entry) is None:
        _write_entry(entry, smaller(), size, {"source": digest})
    return ImageData(_opened(entry), f"{digest}/{size}")


def _files(
    folder: Path, size: int, cache: Path, pairs: bool, skip_broken: bool, on_image: Callable[[int, int], None]
) -> ImageData:
    """Open a folder's image files."""
    files, left_out = image_files(folder)
    # The entry's name follows from what it is made of, so that a changed folder or another size makes a new one.
    key = hashlib.sha256(f"{_CACHE_VERSION}/{size}/{pairs}/{skip_broken}/".encode() + os.fsencode(folder.resolve()))
    for path in files:
        status = path.stat() if path.exists() else path.lstat()  # a dead link is as good as a broken file
        key.update(os.fsencode(path.relative_to(folder)))  # names need not be text
        key.update(f"\0{status.st_size}\0{status.st_mtime_ns}\0".encode())
    entry = cache / key.hexdigest()[:24]
    skipped: list[dict[str, str]] = []

    def squares(path: Path) -> list[NDArray[np.uint8]] | BrokenImageError:
        try:
            image = read_rgb(path)
            return [np.asarray(cut_to_size(part, size)) for part in (halves(image) if pairs else (image,))]
        except BrokenImageError as error:
            return error

    def images() -> Iterator[NDArray[np.uint8]]:
        # Pillow lets go of Python's lock while it decodes and scales.
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            for number, (path, result) in enumerate(zip(files, pool.map(squares, files), strict=True), start=1):
                if not isinstance(result, BrokenImageError):
                    yield from result
                elif skip_broken:
                    skipped.append({"file": str(path), "reason": str(result)})
                else:
                    single = " Images that are not in pairs are read with --data-format folder." if pairs else ""
                    raise UserError(
                        f"{path} cannot be used: {result}. Mend or remove it, or leave such files out with --on-broken "
                        f"skip.{single}"
                    )
                on_image(number, len(files))

    header = _read_header(entry)
    if header is None:
        with warnings.catch_warnings():  # held here, once: it is the whole process's, not a thread's
            warnings.simplefilter("ignore")  # Pillow's, about oddities in metadata and large pictures
            header = _write_entry(entry, images(), size, {"source": str(folder), "skipped": skipped})
    if not header["count"]:
        reason = header["skipped"][0]["reason"]
        raise UserError(f"None of the {len(files)} image files in {folder} can be used; the first: {reason}.")
    names = [broken["file"] for broken in header["skipped"]]
    if names:
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        unread = f"{len(names)} of {len(files)} files in {folder} cannot be read and are left out"
        warnings.warn(f"{unread}: {', '.join(names[:_NAMED])}{more}.", UserWarning, stacklevel=4)
        left_out = (*left_out, f"{len(names)} that cannot be read")
    return ImageData(_opened(entry), header["sha256"], left_out)


def image_files(folder: Path) -> tuple[list[Path], tuple[str, ...]]:
    """List the image files in a folder and its subfolders, also those that are links, by name.

    Args:
        folder: The folder.

    Returns:
        At least one file, dead links among them; and how many others are left out, and why. Hidden folders, such as
        those of a notebook or a bin, are left out whole.

    Raises:
        ConfigError: If there is no image in it.
    """
    files: list[Path] = []
    left_out: Counter[str] = Counter()
    visited: set[str] = set()
    for place, folders, names in os.walk(
        folder, followlinks=True, onerror=lambda error: left_out.update(["in folders that cannot be read"])
    ):
        if os.path.realpath(place) in visited:  # links may lead in a circle
            left_out["in folders that are linked twice"] += len(names)
            folders.clear()
            continue
        visited.add(os.path.realpath(place))
        left_out["hidden"] += sum(name.startswith(".") for name in (*folders, *names))
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for path in (Path(place, name) for name in names if not name.startswith(".")):
            if path.suffix.lower() in SUFFIXES and (path.is_file() or path.is_symlink()):
                files.append(path)
            else:
                left_out[path.suffix or "without an ending"] += 1
    phrases = [f"{count} {reason}" for reason, count in left_out.items() if count]
    if not files:
        raise ConfigError(
            "data", f"must be a folder of images ({' '.join(SUFFIXES)}), got {str(folder)!r}, which has none."
        )
    return sorted(files, key=lambda path: path.relative_to(folder).parts), tuple(phrases)


def read_rgb(path: Path) -> Image.Image:
    """Read an image file.

    Grey becomes RGB; a palette is looked up; what is transparent is laid on white; 16-bit grey is scaled to 8 bits; the
    camera's orientation is applied; of an animation the first picture is taken.

    Args:
        path: The file.

    Returns:
        The image, in mode RGB.

    Raises:
        BrokenImageError: If it cannot be read whole, or holds floating-point or 32-bit values.
    """
    try:
        with Image.open(path) as image:
            image.load()
            upright: Image.Image = image
            with contextlib.suppress(Exception):  # Pillow's many: an unreadable orientation is none
                upright = ImageOps.exif_transpose(image)
            return _as_rgb(upright)
    except BrokenImageError:
        raise
    except Exception as error:  # Pillow raises whatever a damaged file leads to
        raise BrokenImageError(str(error).splitlines()[0] if str(error) else type(error).__name__) from error


def _as_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "F":
        raise BrokenImageError("it holds floating-point values, whose white is not known")
    if image.mode.startswith("I"):
        values = np.asarray(image).astype(np.float64)
        if values.min() < 0 or values.max() > 65535:
            raise BrokenImageError(f"it holds 32-bit values, from {values.min():g} to {values.max():g}")
        image = Image.fromarray((values / 257.0).round().astype(np.uint8))  # 65535 becomes 255
    if image.has_transparency_data:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return image.convert("RGB")


def cut_to_size(image: Image.Image, size: int) -> Image.Image:
    """Cut the middle square out of an image and scale it.

    Args:
        image: In mode RGB.
        size: Height and width wanted, in pixels.

    Returns:
        The square: averaged over whole pixels where its side is a multiple of ``size``, else by Lanczos' filter.
    """
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    square = image.crop((left, top, left + side, top + side))
    if side % size:
        return square.resize((size, size), Image.Resampling.LANCZOS)
    return square.reduce(side // size) if side > size else square


def halves(image: Image.Image) -> tuple[Image.Image, Image.Image]:
    """Part a picture of two images side by side.

    Args:
        image: Twice as wide as high.

    Returns:
        The left image and the right one.

    Raises:
        BrokenImageError: If it has another shape.
    """
    width, height = image.size
    if width != 2 * height:
        raise BrokenImageError(f"two square images side by side are twice as wide as high, it has {width} × {height}")
    return image.crop((0, 0, height, height)), image.crop((height, 0, width, height))


def _write_entry(entry: Path, images: Iterable[NDArray[np.uint8]], size: int, header: dict[str, Any]) -> dict[str, Any]:
    """Write an entry of the cache: the array, then ``dataset.json``, so that an entry that has one is whole."""
    digest, count = hashlib.sha256(), 0
    try:
        entry.mkdir(parents=True, exist_ok=True)
        # Written, not mapped: a full disk is then an error, and not the end of the process.
        with atomic_write(entry / "images.npy") as path, path.open("wb") as file:
            fields = {"descr": "|u1", "fortran_order": False, "shape": (0, size, size, 3)}
            np.lib.format.write_array_header_1_0(file, fields)
            for image in images:
                count += 1
                file.write(image.tobytes())
                digest.update(image.tobytes())
            file.seek(0)  # a header has room for any number of images
            np.lib.format.write_array_header_1_0(file, fields | {"shape": (count, size, size, 3)})
        header = header | {"size": size, "count": count, "sha256": digest.hexdigest()}
        if count:
            write_text(entry / "dataset.json", json.dumps(header, indent=2) + "\n")
    finally:
        if not (entry / "dataset.json").exists():  # all of it or nothing
            shutil.rmtree(entry, ignore_errors=True)
    return header


def _read_header(entry: Path) -> dict[str, Any] | None:
    header: dict[str, Any] | None = None
    with contextlib.suppress(OSError, ValueError):
        header = json.loads((entry / "dataset.json").read_text(encoding="utf-8"))
    return header if (entry / "images.npy").is_file() else None


def _opened(entry: Path) -> NDArray[np.uint8]:
    """Map an entry's array into memory."""
    path = entry / "images.npy"
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise UserError(f"{path} is damaged ({error}). Delete the folder {entry}; it is made anew.") from error
