"""From a view to the bytes of a picture or a GIF, by one thread that serves every page in turn."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import io
import math
import tempfile
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from directions.direction_file import Directions
from directions.errors import UserError
from directions.explorer.file import Content
from directions.explorer.models import MAX_AMOUNT, AnimationRequest, ImageRequest, View
from directions.files import write_bytes
from directions.generators.base import Generator
from directions.generators.layers import EditsLayers, LayerRange, edited_images
from directions.rendering.animate import Encoder
from directions.rendering.frames import PIXELS_AT_ONCE, to_uint8
from directions.rendering.page import Page, RowCaption, enlarge, row_caption
from directions.rendering.path import strip, there_and_back
from directions.rendering.stills import COLUMNS
from directions.settings.render import SMALLEST_TILE

Kept = TypeVar("Kept")
Result = TypeVar("Result")

_LATENTS_KEPT = 512
_STARTS_KEPT = 4
"""Views with some layers only, of which what lies before those layers is kept; each may hold megabytes."""

_BYTES_KEPT = 32 * 2**20
_CLIENTS_KNOWN = 1024
_QUIET = 0.3
"""Seconds without a request after which previews go on: whoever moves a slider is not slowed by them."""

PREVIEW_FRAMES = 7
_PREVIEW_PIXELS = 96
_PREVIEWS_KEPT = 1024
"""Files in the folder of previews; at some 8 kB each."""

_SAMPLED_PIXELS = 2**18


class SupersededError(Exception):
    """The client has asked for something newer, or has gone; nobody waits for this."""


class BusyError(Exception):
    """More clients wait than can be served in a reasonable time."""


class Worker:
    """One thread, which does jobs in the order in which they come; used within one event loop.

    A page that moves a slider asks for many pictures; when the generator is slower than the hand, only the last of
    them is wanted. So a waiting request is dropped as soon as its client has a newer one, which takes over its place.

    Args:
        most_waiting: Clients that may wait at once.
    """

    def __init__(self, most_waiting: int = 32) -> None:
        self._most_waiting = most_waiting
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="generator")
        self._waiting: dict[str, tuple[Callable[[], Any], asyncio.Future[Any]]] = {}
        self._newest: OrderedDict[str, int] = OrderedDict()
        self._asked = -math.inf
        self._closed = False

    async def do(self, job: Callable[[], Result]) -> Result:
        """Do a job when those that came before are done.

        Returns:
            What the job gives.

        Raises:
            SupersededError: If the program ends.
        """
        if self._closed:
            raise SupersededError
        return await asyncio.get_running_loop().run_in_executor(self._thread, job)

    async def when_idle(self, job: Callable[[], Result]) -> Result:
        """Do a job, as `do` does, once nobody else has asked for anything for a moment."""
        clock = asyncio.get_running_loop().time
        while not self._closed and (self._waiting or clock() - self._asked < _QUIET):
            await asyncio.sleep(0.05)
        return await self.do(job)

    async def newest(self, client: str, number: int, job: Callable[[], Result]) -> Result:
        """Do a job, unless its client asks for another before it is begun.

        Args:
            client: Who asks.
            number: Grows with each request of this client.
            job: Called in the thread.

        Returns:
            What the job gives.

        Raises:
            SupersededError: If the client has asked for something newer, now or before, or the program ends.
            BusyError: If too many clients wait.
        """
        if self._closed or number <= self._newest.get(client, -1):
            raise SupersededError
        before = self._waiting.get(client)
        if before is None and len(self._waiting) >= self._most_waiting:
            raise BusyError
        self._newest[client] = number
        self._newest.move_to_end(client)
        if len(self._newest) > _CLIENTS_KNOWN:
            self._newest.popitem(last=False)
        loop = asyncio.get_running_loop()
        self._asked = loop.time()
        done: asyncio.Future[Result] = loop.create_future()
        self._waiting[client] = (job, done)
        if before is not None:
            if not before[1].done():
                before[1].set_exception(SupersededError())
        else:
            loop.run_in_executor(self._thread, self._serve, client, loop)
        return await done

    def _serve(self, client: str, loop: asyncio.AbstractEventLoop) -> None:
        """In the thread: do what the client wants by now."""
        job, done = self._waiting.pop(client)
        if done.done():  # the client went away
            return
        try:
            result, error = job(), None
        except Exception as caught:  # noqa: BLE001 - whoever waits is told
            result, error = None, caught

        def finish() -> None:
            if not done.done():
                done.set_result(result) if error is None else done.set_exception(error)

        loop.call_soon_threadsafe(finish)

    def close(self) -> None:
        """Begin no further job; the one that runs is finished."""
        self._closed = True
        for _, done in list(self._waiting.values()):
            if not done.done():
                done.set_exception(SupersededError())
        self._thread.shutdown(wait=False)


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
        """Return what was kept for a key, or make and keep it."""
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
    """Makes pictures with one generator, in one thread; keeps latents, what lies before edited layers, and pictures.

    Args:
        generator: In eval mode.
    """

    def __init__(self, generator: Generator) -> None:
        self.generator = generator
        self._latents: Store[Tensor] = Store(_LATENTS_KEPT)
        self._starts: Store[Callable[[Tensor], Tensor]] = Store(_STARTS_KEPT)
        self._pictures: Store[bytes] = Store(_BYTES_KEPT, len)

    def images(self, view: View, directions: Directions, moves: Sequence[tuple[int, float]]) -> np.ndarray:
        """Make the images of a view.

        Args:
            view: What to show.
            directions: What it moves along.
            moves: The index of the direction of each of its moves, and how far to go, in latent units.

        Returns:
            (samples, resolution, resolution, 3) uint8.

        Raises:
            UserError: If an image is not finite.
        """
        batch = max(1, PIXELS_AT_ONCE // self.generator.resolution**2)
        made: list[np.ndarray] = []
        for start in range(0, len(view.seeds), batch):
            part = replace(
                view,
                seeds=view.seeds[start : start + batch],
                labels=view.labels and view.labels[start : start + batch],
            )
            with torch.inference_mode():
                z = torch.cat([self._latent(seed, view.truncation) for seed in part.seeds])
                moved = directions.move(z, [index for index, _ in moves], [amount for _, amount in moves])
                images = self._start(part, z)(moved)
                if not bool(torch.isfinite(images).all()):
                    raise UserError(
                        "The generator gave an image with NaN or infinity. Move less far, or choose another truncation."
                    )
                made.append(to_uint8(images))
        return np.concatenate(made)

    def picture(self, view: View, request: ImageRequest, content: Content) -> bytes:
        """Make the picture of a view, its samples side by side, encoded; what random directions do comes after."""
        moves = content.moves(view)
        shown = [content.directions, content.rivals] if view.random else [content.directions]

        def make() -> bytes:
            images = np.concatenate([self.images(view, directions, moves) for directions in shown])
            return encode(images, request.columns, request.format)

        # A random direction depends on the whole file, a found one on its own numbers, which the view has.
        key = (view, request.columns, request.format, content.ids if view.random else None)
        return self._pictures.get(key, make)

    def _latent(self, seed: int, truncation: float) -> Tensor:
        return self._latents.get(
            (seed, truncation), lambda: self.generator.sample_z(1, seed=seed, truncation=truncation)
        )

    def _start(self, view: View, z: Tensor) -> Callable[[Tensor], Tensor]:
        """The map from moved latents to images."""

        def make() -> Callable[[Tensor], Tensor]:
            y = None if view.labels is None else torch.tensor(view.labels, device=z.device)
            layers = view.layers and LayerRange(*view.layers, self.generator.num_layers)
            return edited_images(self.generator, z, y, layers=layers, truncation=view.truncation)

        if view.layers is None:
            return make()
        return self._starts.get((view.seeds, view.labels, view.truncation, view.layers), make)


def encode(images: np.ndarray, columns: int, form: str, largest: int | None = None) -> bytes:
    """Lay images out, row by row and without gaps, and encode them.

    Args:
        images: (samples, height, width, 3) uint8.
        columns: Images in a row; the last row may be shorter, the rest of it is black.
        form: A key of `directions.explorer.models.FORMATS`.
        largest: Pixels to which larger images are reduced; ``None`` leaves them.

    Returns:
        The encoded picture.
    """
    columns = min(columns, len(images))
    rows = -(-len(images) // columns)
    missing = np.zeros((rows * columns - len(images), *images.shape[1:]), dtype=np.uint8)
    tiles = np.concatenate([images, missing]).reshape(rows, columns, *images.shape[1:])
    sheet = tiles.transpose(0, 2, 1, 3, 4).reshape(rows * images.shape[1], columns * images.shape[2], 3)
    file = io.BytesIO()
    options: dict[str, dict[str, Any]] = {
        "png": {"compress_level": 1},
        "webp": {"quality": 92, "method": 0},
        "jpeg": {"quality": 92, "subsampling": 0},
    }
    picture = Image.fromarray(sheet)
    if largest is not None and largest < images.shape[1]:
        picture = picture.resize((columns * largest, rows * largest), Image.Resampling.LANCZOS)
    picture.save(file, form.upper(), **options[form])
    return file.getvalue()


async def animate(
    request: AnimationRequest,
    view: View,
    content: Content,
    painter: Painter,
    worker: Worker,
    gone: Callable[[], Awaitable[bool]],
) -> bytes:
    """Make a GIF that goes along a direction, there and back, again and again.

    Its images are single jobs of the worker, so that sliders keep moving while it is made.

    Args:
        request: The direction, the frames and their rate.
        view: The samples, and where the other directions stand.
        content: The direction file.
        painter: Makes the images.
        worker: Whose thread makes them.
        gone: Whether nobody waits any more; asked before each image.

    Returns:
        The GIF.

    Raises:
        SupersededError: If nobody waits any more.
    """
    index = content.index(request.direction)
    size = min(content.directions.path_sizes[index], MAX_AMOUNT)  # an older file may have a larger one

    async def images(amounts: np.ndarray) -> np.ndarray:
        return await _along(request.direction, amounts, view, content, painter, worker.do, gone)

    stills = await images(strip(COLUMNS, size))
    frames = await images(there_and_back(request.frames, size))
    caption = row_caption(content.directions.names[index], size)
    return await asyncio.to_thread(_gif, frames, stills, caption, request.fps, painter.generator.resolution)


async def _along(
    direction: str,
    amounts: np.ndarray,
    view: View,
    content: Content,
    painter: Painter,
    do: Callable[[Callable[[], np.ndarray]], Awaitable[np.ndarray]],
    gone: Callable[[], Awaitable[bool]],
) -> np.ndarray:
    """Make the images (amounts, samples, height, width, 3) along a direction, each a job of its own."""
    made = []
    for amount in amounts.tolist():
        if await gone():
            raise SupersededError
        there = view.moved(direction, amount)
        moves = content.moves(there)
        made.append(await do(lambda: painter.images(there, content.directions, moves)))  # noqa: B023
    return np.stack(made)


async def preview(
    direction: str, content: Content, path: Path, painter: Painter, worker: Worker, gone: Callable[[], Awaitable[bool]]
) -> bytes:
    """Show what a direction does to sample 0, as it was learned; made when nobody else wants anything.

    It is kept in a hidden folder beside the file, where that can be written; the oldest go first.

    Args:
        direction: Its id.
        content: The direction file.
        path: Where the file is.
        painter: Makes the images.
        worker: Whose thread makes them.
        gone: Whether nobody waits any more; asked before each image.

    Returns:
        `PREVIEW_FRAMES` images side by side, from one end to the other: a JPEG.

    Raises:
        SupersededError: If nobody waits any more.
    """
    header, generator = content.directions.header, painter.generator
    size = min(content.directions.path_sizes[content.index(direction)], MAX_AMOUNT)
    classes, layers = header["classes"], header["layers"]
    labels = ((classes[0] if isinstance(classes, list) and classes else 0),) if generator.num_classes else None
    some = isinstance(generator, EditsLayers) and layers and len(layers) < generator.num_layers
    view = View((0,), labels, header["truncation"] or 1.0, (), (min(layers), max(layers) + 1) if some else None)
    name = hashlib.sha256(repr((direction, size, view, generator.digest)).encode()).hexdigest()[:32]
    folder = path.parent / f".{path.name}.previews"
    kept = folder / f"{name}.jpg"
    with contextlib.suppress(OSError):
        return await asyncio.to_thread(kept.read_bytes)
    frames = await _along(direction, strip(PREVIEW_FRAMES, size), view, content, painter, worker.when_idle, gone)

    def finish() -> bytes:
        jpeg = encode(frames[:, 0], PREVIEW_FRAMES, "jpeg", _PREVIEW_PIXELS)
        with contextlib.suppress(OSError, UserError):  # such as a folder that is only read
            folder.mkdir(exist_ok=True)
            write_bytes(kept, jpeg)
            for old in sorted(folder.glob("*.jpg"), key=lambda file: file.stat().st_mtime)[:-_PREVIEWS_KEPT]:
                old.unlink()
        return jpeg

    return await asyncio.to_thread(finish)


def _gif(frames: np.ndarray, stills: np.ndarray, caption: RowCaption, fps: float, resolution: int) -> bytes:
    """Lay frames (frames, samples, height, width, 3) out under a caption; the palette is that of the stills."""
    scale = math.ceil(SMALLEST_TILE / resolution)
    sample = stills.reshape(-1, 3)[:: max(1, stills.size // 3 // _SAMPLED_PIXELS)]
    encoder = Encoder("gif", fps, loop=True, pixels=sample)
    page = Page([caption], stills.shape[1], (stills.shape[2] * scale, stills.shape[3] * scale))
    blank = encoder.drawing(page.blank)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "direction.gif"
        with encoder.open(path) as add:
            for frame in frames:
                add(page.lay(blank, encoder.images(enlarge(frame, scale))[None]))
        return path.read_bytes()
