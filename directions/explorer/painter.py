"""From a view to the bytes of a picture; the same for everyone who asks for the same.

Between the turns (``turns.py``), which say whose view is next, and the page. What is expensive is kept: latents, what
lies before the edited layers, and pictures, each as much as a fixed number of views or bytes.
"""

from __future__ import annotations

import io
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from typing import Generic, TypeVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from directions.direction_file import Directions
from directions.errors import UserError
from directions.explorer.fair_lock import FairLock
from directions.explorer.view import Picture, View
from directions.generators.base import Generator
from directions.generators.edits import edited_images
from directions.generators.layers import LayerRange
from directions.rendering.maker import PIXELS_AT_ONCE, to_uint8

Kept = TypeVar("Kept")

_LATENTS_KEPT = 512
_STARTS_KEPT = 4
"""Views with some layers only, of which what lies before those layers is kept; each may hold megabytes."""

_BYTES_KEPT = 32 * 2**20


class Store(Generic[Kept]):
    """Keeps what was made for a key, up to a total size; what was not asked for the longest goes first.

    Args:
        most: The greatest total size.
        size: The size of one thing.
    """

    def __init__(self, most: int, size: Callable[[Kept], int] = lambda thing: 1) -> None:
        self._most, self._size, self._total = most, size, 0
        self._things: OrderedDict[Hashable, Kept] = OrderedDict()

    def get(self, key: Hashable, make: Callable[[], Kept]) -> Kept:
        """Find what was kept, or make it.

        Args:
            key: Decides what is made.
            make: Makes it.

        Returns:
            It.
        """
        if key in self._things:
            self._things.move_to_end(key)
            return self._things[key]
        thing = make()
        self._things[key] = thing
        self._total += self._size(thing)
        while self._total > self._most and len(self._things) > 1:
            self._total -= self._size(self._things.popitem(last=False)[1])
        return thing

    def __len__(self) -> int:
        """Count what is kept."""
        return len(self._things)


class Painter:
    """Makes pictures with one generator; `picture` is for one thread, `images` for any.

    Args:
        generator: In eval mode.
    """

    def __init__(self, generator: Generator) -> None:
        self.generator = generator
        self._lock = FairLock()
        self._latents: Store[Tensor] = Store(_LATENTS_KEPT)
        self._starts: Store[Callable[[Tensor], Tensor]] = Store(_STARTS_KEPT)
        self._pictures: Store[bytes] = Store(_BYTES_KEPT, len)

    @contextmanager
    def generating(self) -> Iterator[Generator]:
        """Within the block nobody else uses the generator.

        Yields:
            The generator.
        """
        with self._lock, torch.inference_mode():
            yield self.generator

    def latents(self, view: View) -> Tensor:
        """Find where the samples of a view are before they are moved; to be called within `generating`.

        Args:
            view: Says the seeds and the truncation.

        Returns:
            (samples, dim_z) on the generator's device.
        """

        def sample(seed: int) -> Tensor:
            return self._latents.get(
                (seed, view.truncation), lambda: self.generator.sample_z(1, seed=seed, truncation=view.truncation)
            )

        return torch.cat([sample(seed) for seed in view.seeds])

    def images(self, view: View, directions: Directions, moves: Sequence[tuple[int, float]]) -> np.ndarray:
        """Make the images of a view.

        Args:
            view: What to show.
            directions: What it moves along.
            moves: The index of the direction of each of its moves, and how far to go.

        Returns:
            (samples, resolution, resolution, 3) uint8.

        Raises:
            UserError: If an image is not finite.
        """
        batch = max(1, PIXELS_AT_ONCE // self.generator.resolution**2)
        parts = [view.seeds[start : start + batch] for start in range(0, len(view.seeds), batch)]
        made: list[np.ndarray] = []
        for seeds in parts:
            part = View(seeds, view.label, view.truncation, view.moves, view.layers)
            with self.generating():
                z = self.latents(part)
                moved = directions.move(z, [index for index, _ in moves], [amount for _, amount in moves])
                images = self._start(part, z)(moved)
                if not bool(torch.isfinite(images).all()):
                    raise UserError(
                        "The generator gave an image with NaN or infinity. Move less far, or choose another truncation."
                    )
                made.append(to_uint8(images))
        return np.concatenate(made)

    def picture(
        self, view: View, picture: Picture, directions: Directions, moves: Sequence[tuple[int, float]]
    ) -> bytes:
        """Make the picture of a view, its samples side by side.

        Args:
            view: What to show.
            picture: How.
            directions: What it moves along.
            moves: As for `images`.

        Returns:
            An encoded image.
        """
        return self._pictures.get(
            (view, picture), lambda: encode(self.images(view, directions, moves), picture.columns, picture.format)
        )

    def _start(self, view: View, z: Tensor) -> Callable[[Tensor], Tensor]:
        """The map from moved latents to images."""

        def make(layers: LayerRange | None) -> Callable[[Tensor], Tensor]:
            y = None if view.label is None else torch.full((len(z),), view.label, device=z.device)
            return edited_images(self.generator, z, y, layers=layers, truncation=view.truncation)

        if view.layers is None:
            return make(None)
        layers = LayerRange(*view.layers, self.generator.num_layers)
        return self._starts.get((view.seeds, view.label, view.truncation, view.layers), lambda: make(layers))


def encode(images: np.ndarray, columns: int, form: str) -> bytes:
    """Lay images out, row by row and without gaps, and encode them.

    Args:
        images: (samples, height, width, 3) uint8.
        columns: Images in a row; the last row may be shorter, the rest of it is black.
        form: A key of `directions.explorer.view.FORMATS`.

    Returns:
        The encoded picture.
    """
    columns = min(columns, len(images))
    rows = -(-len(images) // columns)
    missing = np.zeros((rows * columns - len(images), *images.shape[1:]), dtype=np.uint8)
    tiles = np.concatenate([images, missing]).reshape(rows, columns, *images.shape[1:])
    sheet = tiles.transpose(0, 2, 1, 3, 4).reshape(rows * images.shape[1], columns * images.shape[2], 3)
    file = io.BytesIO()
    if form == "png":
        Image.fromarray(sheet).save(file, "PNG", compress_level=1)
    elif form == "webp":
        Image.fromarray(sheet).save(file, "WEBP", quality=92, method=0)
    else:
        Image.fromarray(sheet).save(file, "JPEG", quality=92, subsampling=0)
    return file.getvalue()
