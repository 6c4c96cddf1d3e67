"""The gallery: a folder with a page that shows every direction as a looping thumbnail, and all samples on a slider.

Takes images from a scene (``scene.py``), the same for both: the slider's frames are evenly spaced stills, and the
thumbnail shows the same stills, each for as long as the motion stays near it. ``gallery_page.py`` makes the page.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from directions.atomic import atomic_folder
from directions.rendering.captions import enlarge
from directions.rendering.gallery_page import MARKER, make_page, picture_paths
from directions.rendering.limits import require_size
from directions.rendering.overlap import overlapped
from directions.rendering.path import dwell, strip
from directions.rendering.scene import Scene
from directions.rendering.webp import WebpWriter, still

THUMB_TILE = 160
"""Largest side of an image in a thumbnail; cards are not much wider, and a page may have a hundred of them."""

_SHORTEST = 20
"""Milliseconds: browsers slow down what is shown for less than about half of that."""


def write_gallery(scene: Scene, indices: Sequence[int], stats: Sequence[Mapping[str, Any]], out: Path) -> None:
    """Write a gallery; the folder appears when it is complete, in place of an older gallery.

    Args:
        scene: What to show.
        indices: The directions, the most active first.
        stats: The lines of the run's ``stats.jsonl``; none where there is no run.
        out: The folder; the one around it must exist.

    Raises:
        UserError: If there is something else in the folder, or it cannot be written.
    """
    settings = scene.settings
    assert settings.motion is not None
    trip = (settings.length - 1) / settings.rate
    places = strip(settings.length, 1.0)
    times = 1000 * trip * dwell(places, settings.motion)
    with atomic_folder(out, replaces=is_gallery) as folder:
        for name in ("thumbs", "stills", "frames"):
            folder.joinpath(name).mkdir()
        for index in indices:
            pictures = _Pictures(folder, index, times, scene.scale)
            with pictures.thumb.open("w+b") as file:
                pictures.begin(file)
                overlapped(_rows(scene, index, places), pictures.add)
                pictures.finish()
        page = make_page(scene, indices, stats, thumb_size=thumb_size(scene), trip=trip)
        folder.joinpath("index.html").write_text(page, encoding="utf-8")


def require_sizes(scene: Scene) -> None:
    """Refuse a gallery whose pictures cannot be written, before an image is made.

    Args:
        scene: What to show.

    Raises:
        UserError: If the samples are too many to be side by side.
    """
    tile = scene.generator.resolution * scene.scale
    require_size("webp", tile, tile * scene.settings.count)


def gallery_files(indices: Sequence[int], frames: int) -> Iterator[str]:
    """List the pictures of a gallery.

    Args:
        indices: The directions.
        frames: Places on the slider.

    Yields:
        Paths relative to the folder.
    """
    for index in indices:
        thumb, poster, folder = picture_paths(index)
        yield from (thumb, poster, *(f"{folder}/{place:03d}.webp" for place in range(frames)))


def is_gallery(folder: Path) -> bool:
    """Tell whether a folder holds a gallery, which may be replaced, rather than something else."""
    try:
        with folder.joinpath("index.html").open(encoding="utf-8", errors="replace") as page:
            return MARKER in page.read(400)
    except OSError:
        return False


def thumb_size(scene: Scene) -> int:
    """Return the side of a thumbnail, in pixels."""
    tile = min(scene.generator.resolution * scene.scale, THUMB_TILE)
    return tile * _across(scene.settings.count)


def _across(samples: int) -> int:
    """Images to a side of a thumbnail: two of four samples show at a glance what they have in common."""
    return 2 if samples >= 4 else 1


def _rows(scene: Scene, index: int, places: np.ndarray) -> Iterator[np.ndarray]:
    """The samples at each place."""
    return (images[0] for images in scene.images([index], [places * scene.path_size(index)]))


class _Pictures:
    """Writes the pictures of one direction, place after place."""

    def __init__(self, folder: Path, index: int, times: np.ndarray, scale: int) -> None:
        thumb, poster, frames = picture_paths(index)
        self.thumb = folder / thumb
        self._poster = folder / poster
        self._frames = folder / frames
        self._times = times
        self._scale = scale
        self._place = 0
        self._first: np.ndarray | None = None
        self._last: np.ndarray | None = None
        self._writer: WebpWriter | None = None

    def begin(self, file: Any) -> None:
        """Start the thumbnail in an open file."""
        self._frames.mkdir()
        self._writer = WebpWriter(file, quality=80)

    def add(self, images: np.ndarray) -> None:
        """Write the samples (samples, height, width, 3) at the next place."""
        assert self._writer is not None
        images = enlarge(images, self._scale)
        self._frames.joinpath(f"{self._place:03d}.webp").write_bytes(still(np.concatenate(images, axis=1)))
        across = _across(len(images))
        tiles = np.stack([_reduced(image) for image in images[: across**2]])
        # At the ends it turns: they are shown once, for both trips.
        turns = self._place in (0, len(self._times) - 1)
        self._writer.add(_grid(tiles, across), self._time(self._place, 2 if turns else 1), whole=True)
        if self._first is None:
            self._first = tiles
        self._last = tiles
        self._place += 1

    def finish(self) -> None:
        """Write the way back, and the still for those who do not want motion: two samples at both ends."""
        assert self._writer is not None
        assert self._first is not None
        assert self._last is not None
        for place in range(len(self._times) - 2, 0, -1):
            self._writer.again(place, self._time(place, 1))
        self._writer.finish()
        pairs = zip(self._first[:2], self._last[:2], strict=True)
        self._poster.write_bytes(still(_grid(np.stack([image for pair in pairs for image in pair]), 2)))

    def _time(self, place: int, trips: int) -> int:
        return max(_SHORTEST, round(trips * float(self._times[place])))


def _reduced(image: np.ndarray) -> np.ndarray:
    """Make an image small enough for a thumbnail."""
    if len(image) <= THUMB_TILE:
        return image
    return np.asarray(Image.fromarray(image).resize((THUMB_TILE, THUMB_TILE), Image.Resampling.LANCZOS))


def _grid(images: np.ndarray, across: int) -> np.ndarray:
    """Lay images (n, height, width, 3) side by side, ``across`` in a row."""
    rows = images.reshape(-1, across, *images.shape[1:])
    return np.concatenate([np.concatenate(row, axis=1) for row in rows], axis=0)
