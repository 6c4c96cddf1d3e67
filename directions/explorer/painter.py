"""From a view to the bytes of a picture or a GIF, by one thread that serves every page in turn."""

from __future__ import annotations

import asyncio
import functools
import io
import math
import tempfile
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from PIL import Image

from directions.explorer.file import Content
from directions.explorer.models import MAX_AMOUNT, AnimationRequest, ImageRequest
from directions.generators.base import Generator
from directions.rendering.animate import PlannedPage, write_animations
from directions.rendering.frames import Samples, Scene
from directions.settings.render import RenderSettings

Result = TypeVar("Result")

_SAMPLES_KEPT = 4
"""Views of which the samples, and what lies before edited layers, are kept; each may hold megabytes."""

_BYTES_KEPT = 32 * 2**20
_CLIENTS_KNOWN = 1024
_QUIET = 0.3
"""Seconds without a request after which previews go on: whoever moves a slider is not slowed by them."""


class SupersededError(Exception):
    """The client has asked for something newer, or has gone; nobody waits for this."""


class BusyError(Exception):
    """More clients wait than can be served in a reasonable time."""


class Worker:
    """One thread, which does jobs in the order in which they come; used within one event loop.

    A page that moves a slider may ask for more pictures than are made; only the last of them is wanted. So a request
    that waits is dropped as soon as its client has made a newer one.

    Args:
        most_waiting: Requests of clients that may wait at once.
    """

    def __init__(self, most_waiting: int = 32) -> None:
        self._most_waiting, self._waiting = most_waiting, 0
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="generator")
        self._newest: OrderedDict[str, int] = OrderedDict()
        self._asked = -math.inf
        self._closed = False

    async def do(self, job: Callable[[], Result]) -> Result:
        """Do a job when those that came before are done.

        Returns:
            What the job gives.

        Raises:
            SupersededError: If the program ends.
            CancelledError: If the client has gone.
        """
        if self._closed:
            raise SupersededError
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, job)
        except asyncio.CancelledError:
            if self._closed:
                raise SupersededError from None
            raise

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
            BusyError: If too many requests wait.
        """
        if number <= self._newest.get(client, -1):
            raise SupersededError
        if self._waiting >= self._most_waiting:
            raise BusyError
        self._newest[client] = number
        self._newest.move_to_end(client)
        if len(self._newest) > _CLIENTS_KNOWN:
            self._newest.popitem(last=False)
        self._asked = asyncio.get_running_loop().time()

        def unless_overtaken() -> Result:
            if self._newest.get(client) != number:
                raise SupersededError
            return job()

        self._waiting += 1
        try:
            return await self.do(unless_overtaken)
        finally:
            self._waiting -= 1

    def close(self) -> None:
        """Begin no further job; the one that runs is finished."""
        self._closed = True
        self._thread.shutdown(wait=False, cancel_futures=True)


class Shared:
    """A generator for other threads: each of its calls waits for its turn, and ends where nobody waits any more.

    Args:
        generator: What makes images, in the worker's thread.
        do: `Worker.do` or `Worker.when_idle`.
        gone: Whether nobody waits any more; asked before each call.

    Attributes:
        seconds: How long its calls have taken, without their waiting.
    """

    def __init__(
        self, generator: Generator, do: Callable[[Callable[[], Any]], Awaitable[Any]],
        gone: Callable[[], Awaitable[bool]],
    ) -> None:  # fmt: skip
        self._generator, self._do, self._gone, self._loop = generator, do, gone, asyncio.get_running_loop()
        self.seconds = 0.0

    def __getattr__(self, name: str) -> Any:
        """Tell what the generator tells of itself."""
        return getattr(self._generator, name)

    def __call__(self, *arguments: Any, **settings: Any) -> torch.Tensor:
        """Make images."""
        return self._in_turn(lambda: self._generator(*arguments, **settings))

    def prefix(self, *arguments: Any, **settings: Any) -> Callable[[torch.Tensor], torch.Tensor]:
        """Return a map whose images are made in turn too."""
        generator: Any = self._generator
        images = self._in_turn(lambda: generator.prefix(*arguments, **settings))
        return lambda edited: self._in_turn(lambda: images(edited))

    def _in_turn(self, job: Callable[[], Result]) -> Result:
        @torch.no_grad()
        def without_gradients() -> Result:
            began = time.perf_counter()
            result = job()
            self.seconds += time.perf_counter() - began
            return result

        async def unless_gone() -> Result:
            if await self._gone():
                raise SupersededError
            result: Result = await self._do(without_gradients)
            return result

        return asyncio.run_coroutine_threadsafe(unless_gone(), self._loop).result()


class Store:
    """Keeps bytes that were made for a key, up to a total size; what was not asked for the longest goes first."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._things: OrderedDict[Hashable, bytes] = OrderedDict()

    def get(self, key: Hashable, make: Callable[[], bytes]) -> bytes:
        """Return what was kept for a key, or make and keep it."""
        if key not in self._things:
            self._things[key] = make()
        self._things.move_to_end(key)
        while sum(map(len, self._things.values())) > self._most and len(self._things) > 1:
            self._things.popitem(last=False)
        return self._things[key]

    def __len__(self) -> int:
        """Count what is kept."""
        return len(self._things)


class Painter:
    """Makes pictures with one generator, in one thread; keeps samples, what lies before edited layers, and pictures.

    Args:
        generator: In eval mode.
    """

    def __init__(self, generator: Generator) -> None:
        self.generator = generator
        self._samples = functools.lru_cache(_SAMPLES_KEPT)(functools.partial(draw, generator))
        self._pictures = Store(_BYTES_KEPT)

    def picture(self, request: ImageRequest, content: Content) -> bytes:
        """Make the picture of a view, its samples side by side, encoded; what random directions do comes after.

        Returns:
            The picture in the format that is asked for.

        Raises:
            UserError: If an image is not finite.
        """
        moves = content.moves(request)
        indices, amounts = [index for index, _ in moves], [amount for _, amount in moves]

        def make() -> bytes:
            samples = self._samples(*of)
            shown = [content.directions, content.rivals] if request.random else [content.directions]
            images = [samples.make(directions.move(samples.z, indices, amounts)) for directions in shown]
            return encode(np.concatenate(images), request.columns, request.format)

        of = request.seeds, request.labels, request.truncation, request.layers_of(self.generator)
        moved = tuple(content.ids[index] for index in indices), tuple(amounts)
        # A random direction depends on the whole file, a found one on its own numbers, which its id tells.
        return self._pictures.get((of, moved, request.columns, request.format, request.random and content.ids), make)


def draw(generator: Generator, seeds: tuple[int, ...], labels: Any, truncation: float, layers: Any) -> Samples:
    """Draw the samples of a view."""
    z = torch.cat([generator.sample_z(1, seed=seed, truncation=truncation) for seed in seeds])
    y = None if labels is None else torch.tensor(labels, device=z.device)
    return Samples(generator, z, y, layers, truncation)


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
    picture = Image.fromarray(sheet)
    if largest is not None:
        picture.thumbnail((columns * largest, rows * largest), Image.Resampling.LANCZOS)
    options: dict[str, dict[str, Any]] = {
        "png": {"compress_level": 1}, "webp": {"quality": 92, "method": 0}, "jpeg": {"quality": 92, "subsampling": 0}
    }  # fmt: skip
    file = io.BytesIO()
    picture.save(file, form.upper(), **options[form])
    return file.getvalue()


def animate(request: AnimationRequest, content: Content, generator: Shared) -> bytes:
    """Make a GIF that goes along a direction, there and back, again and again, from where the others stand.

    Args:
        request: The view, the direction, the frames and their rate.
        content: The direction file.
        generator: Makes one step after another, so that sliders keep moving meanwhile.

    Returns:
        The GIF.
    """
    index = content.index(request.direction)
    size = min(content.directions.path_sizes[index], MAX_AMOUNT)  # an older file may have a larger one
    samples = draw(generator, request.seeds, request.labels, request.truncation, request.layers_of(generator))
    samples.batch = min(samples.batch, len(samples))
    others = [move for move in content.moves(request) if move[0] != index]
    starts = content.directions.move(samples.z, [other for other, _ in others], [amount for _, amount in others])
    settings = RenderSettings(samples=len(samples), frames=request.frames, fps=request.fps, path_size=size)
    scene = Scene(content.directions, samples, settings, starts=starts)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "direction.gif"
        write_animations(scene, "gif", PlannedPage([index], {path: [index]}), looks_ahead=True)
        return path.read_bytes()
