"""Cut a folder's images to size once, and keep them as one array that every later run maps into memory.

Between ``reading`` and ``source``. An entry's name follows from what it was made of, so that a changed folder or another
size makes a new one; its ``dataset.json`` is written last, so that an entry that has one is whole.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from directions.atomic import write_text
from directions.errors import UserError
from directions.gan.data.reading import SUFFIXES, BrokenImageError, cut_to_size, halves, read_rgb
from directions.generators.sources import weights_home

_VERSION = 1
_NAMED = 5


@dataclass(frozen=True)
class Entry:
    """An array in the cache."""

    images: NDArray[np.uint8]
    """(N, size, size, 3), memory-mapped."""
    digest: str
    """SHA-256 of the pixels."""


def default_cache() -> Path:
    """Where entries are kept unless told otherwise."""
    return weights_home() / "images"


def image_files(folder: Path) -> list[Path]:
    """List the image files in a folder and its subfolders, by name.

    Args:
        folder: The folder.

    Returns:
        At least one file.

    Raises:
        UserError: If there is no such folder, or no image in it.
    """
    if not folder.is_dir():
        raise UserError(f"data must be a folder of images, got {str(folder)!r}, which does not exist or is a file.")
    found = [path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file()]
    files = sorted((path for path in found if not path.name.startswith(".")), key=lambda p: p.relative_to(folder).parts)
    if not files:
        raise UserError(f"data must be a folder of images ({' '.join(SUFFIXES)}), got {str(folder)!r}, which has none.")
    return files


def from_files(
    folder: Path,
    size: int,
    *,
    cache: Path,
    pairs: bool = False,
    skip_broken: bool = False,
    on_image: Callable[[int, int], None] = lambda done, total: None,
) -> Entry:
    """Give a folder's images, cut to size; from the cache where they are there already.

    Args:
        folder: Holds the images, in subfolders too.
        size: Height and width wanted, in pixels.
        cache: Folder of the cache; made if it is not there.
        pairs: Each file holds two images side by side; the left ones come first.
        skip_broken: Leave out files that cannot be read, with a warning that names them, instead of refusing.
        on_image: Called with the number of files read and their total.

    Returns:
        The images, in the order of the files' names.

    Raises:
        UserError: If there are no images, or a file cannot be read and is not to be skipped.

    Warns:
        UserWarning: If files were skipped.
    """
    files = image_files(folder)
    key = hashlib.sha256(f"{_VERSION}/{size}/{pairs}/{skip_broken}/{folder.resolve()}".encode())
    for path in files:
        status = path.stat()
        key.update(f"{path.relative_to(folder)}\0{status.st_size}\0{status.st_mtime_ns}\0".encode())
    entry = cache / key.hexdigest()[:24]
    header = _header(entry)
    if header is None:
        header = _build(entry, files, size, pairs=pairs, skip_broken=skip_broken, on_image=on_image)
    if header["skipped"]:
        names = [entry_["file"] for entry_ in header["skipped"]]
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        warnings.warn(
            f"{len(names)} of {len(files)} files in {folder} cannot be read and are left out: "
            f"{', '.join(names[:_NAMED])}{more}.",
            UserWarning,
            stacklevel=2,
        )
    return _opened(entry, header)


def from_array(images: NDArray[np.uint8], digest: str, size: int, *, cache: Path) -> Entry:
    """Give an array's images in a smaller size; from the cache where they are there already.

    Args:
        images: (N, larger, larger, 3); ``larger`` is a multiple of ``size``.
        digest: SHA-256 that tells the array from others.
        size: Height and width wanted, in pixels.
        cache: Folder of the cache.

    Returns:
        The images, averaged over whole pixels.
    """
    factor = images.shape[1] // size
    entry = cache / hashlib.sha256(f"{_VERSION}/{size}/{digest}".encode()).hexdigest()[:24]
    header = _header(entry)
    if header is None:

        def smaller() -> Iterator[NDArray[np.uint8]]:
            for image in images:
                blocks = image.reshape(size, factor, size, factor, 3)
                yield blocks.mean(axis=(1, 3)).round().astype(np.uint8)

        header = _write(entry, smaller(), len(images), size, {"source": digest, "skipped": []})
    return _opened(entry, header)


def _build(
    entry: Path,
    files: Sequence[Path],
    size: int,
    *,
    pairs: bool,
    skip_broken: bool,
    on_image: Callable[[int, int], None],
) -> dict[str, Any]:
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
            for number, (path, result) in enumerate(zip(files, _windowed(pool, squares, files), strict=True), start=1):
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

    count = len(files) * (2 if pairs else 1)
    with warnings.catch_warnings():  # held here, once: it is the whole process's, not a thread's
        warnings.simplefilter("ignore")  # Pillow's, about oddities in metadata and large pictures
        header = _write(entry, images(), count, size, {"source": str(files[0].parent), "skipped": skipped})
    if not header["count"]:
        raise UserError(
            f"None of the {len(files)} image files in {files[0].parent} can be used; the first: {skipped[0]['reason']}."
        )
    return header


def _windowed(
    pool: ThreadPoolExecutor, function: Callable[[Path], Any], files: Sequence[Path], window: int = 64
) -> Iterator[Any]:
    """Map in order with a bounded number of results in memory."""
    for start in range(0, len(files), window):
        yield from pool.map(function, files[start : start + window])


def _write(
    entry: Path, images: Iterable[NDArray[np.uint8]], most: int, size: int, header: dict[str, Any]
) -> dict[str, Any]:
    """Write an entry of at most so many images, array first."""
    try:
        entry.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"Cannot make {entry}: {error.strerror}. Give another folder with --cache.") from error
    partial = entry / f".{secrets.token_hex(8)}.partial.npy"
    digest, count = hashlib.sha256(), 0
    try:
        array = np.lib.format.open_memmap(partial, mode="w+", dtype=np.uint8, shape=(most, size, size, 3))
        for count, image in enumerate(images, start=1):
            array[count - 1] = image
            digest.update(image.tobytes())
        array.flush()
        if count < most:
            kept = array[:count].copy()
            del array
            np.save(partial, kept)
        partial.replace(entry / "images.npy")
    except OSError as error:
        raise UserError(
            f"Cannot write {entry}: {error.strerror or error}. Free some space, or give another folder with --cache."
        ) from error
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
    header = header | {"size": size, "count": count, "sha256": digest.hexdigest()}
    if count:
        write_text(entry / "dataset.json", json.dumps(header, indent=2) + "\n")
    return header


def _header(entry: Path) -> dict[str, Any] | None:
    try:
        header: dict[str, Any] = json.loads((entry / "dataset.json").read_text(encoding="utf-8"))
        return header if (entry / "images.npy").is_file() else None
    except (OSError, ValueError):
        return None


def _opened(entry: Path, header: dict[str, Any]) -> Entry:
    path = entry / "images.npy"
    try:
        images = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise UserError(f"{path} is damaged ({error}). Delete the folder {entry}; it is made anew.") from error
    if images.shape != (header["count"], header["size"], header["size"], 3) or images.dtype != np.uint8:
        raise UserError(f"{path} is not what its dataset.json says. Delete the folder {entry}; it is made anew.")
    return Entry(images, header["sha256"])
