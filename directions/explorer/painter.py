"""From a view to the bytes of a picture or a GIF, by one thread that serves every page in turn."""

from __future__ import annotations

import asyncio
import functools
import io
import math
import tempfile
import time
from collections.abc import Awaitable, Callable
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
from directions.rendering.page import tiled
from directions.settings.render import RenderSettings

Result = TypeVar("Result")

_SAMPLES_KEPT = 4
"""Views of which the samples, and what lies before edited layers, are kept; each may hold megabytes."""

_PICTURES_KEPT = 32
_QUIET = 0.3
"""Seconds without a request after which previews go on: whoever moves a slider is not slowed by them."""


class SupersededError(Exception):
    """The client has asked for something newer, or has gone; nobody waits for this."""


class Worker:
    """One thread, which does jobs in the order in which they come; used within one event loop.

    A page that moves a slider may ask for more pictures than are made; only the last of them is wanted. So a request
    that waits is dropped as soon as its client has made a newer one.
    """

    def __init__(self) -> None:
        self._waiting = 0
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="generator")
        self._newest: dict[str, int] = {}
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
        """
        if number <= self._newest.get(client, -1):
            raise SupersededError
        self._newest[client] = number
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


class Painter:
    """Makes pictures with one generator, in one thread; keeps samples, what lies before edited layers, and pictures.

    Args:
        generator: In eval mode.
    """

    def __init__(self, generator: Generator) -> None:
        self.generator = generator
        self._samples = functools.lru_cache(_SAMPLES_KEPT)(functools.partial(draw, generator))
        self._pictures = functools.lru_cache(_PICTURES_KEPT)(self._paint)

    def picture(self, request: ImageRequest, content: Content) -> bytes:
        """Make the picture of a view, its samples side by side, encoded; what random directions do comes after.

        Returns:
            The picture in the format that is asked for.

        Raises:
            UserError: If an image is not finite.
        """
        of = request.seeds, request.labels, request.truncation, request.layers_of(self.generator)
        return self._pictures(of, content.moves(request), request.random, request.columns, request.format, content)

    def _paint(
        self, of: Any, moves: tuple[tuple[int, float], ...], random: bool, columns: int, form: str, content: Content
    ) -> bytes:
        samples = self._samples(*of)
        indices, amounts = [index for index, _ in moves], [amount for _, amount in moves]
        shown = [content.directions, content.rivals] if random else [content.directions]
        images = [samples.make(directions.move(samples.z, indices, amounts)) for directions in shown]
        return encode(np.concatenate(images), columns, form)


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
        form: ``"png"``, ``"webp"`` or ``"jpeg"``.
        largest: Pixels to which larger images are reduced; ``None`` leaves them.

    Returns:
        The encoded picture.
    """
    picture = Image.fromarray(tiled(images, columns, ground=0))
    if largest is not None:
        picture.thumbnail((min(columns, len(images)) * largest, picture.height), Image.Resampling.LANCZOS)
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
        write_animations(scene, "gif", PlannedPage([index], {path: [index]}))
        return path.read_bytes()
