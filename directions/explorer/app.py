"""The page's routes: what each request means, who does it, and what is answered.

On top of the package's other modules but the server (``server.py``), which gives this app an address. An answer is a
picture, JSON, or one of the page's own files, which are read at the start: no request's path ever reaches the disk.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from importlib import resources
from typing import TypeVar

from jinja2 import Environment, PackageLoader
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from directions import __version__
from directions.errors import UserError
from directions.explorer.animation import Animation, CancelledError, animate
from directions.explorer.body import Body, text, whole
from directions.explorer.guard import Guard, JSONReply, refusal
from directions.explorer.open_file import ChangedError, OpenFile
from directions.explorer.painter import Painter
from directions.explorer.snippet import Origin, snippet
from directions.explorer.turns import BusyError, SupersededError, Turns
from directions.explorer.view import FORMATS, MAX_AMOUNT, MAX_SAMPLES, MAX_SEED, Picture, View
from directions.generators.base import Generator
from directions.generators.edits import EditsLayers

Result = TypeVar("Result")

_PAGE_FILES = {"explore.css": "text/css", "explore.js": "text/javascript", "icon.svg": "image/svg+xml"}
_ANIMATIONS_AT_ONCE = 4
_LOG = logging.getLogger(__name__)


class Explorer:
    """Answers the requests of a page.

    Args:
        file: The direction file.
        generator: What makes images; it fits the file.
        origin: Where both come from, for the code that is copied.
        token: Secret of this start, which only the page knows.
    """

    def __init__(self, file: OpenFile, generator: Generator, origin: Origin, token: str) -> None:
        self._file, self._generator, self._origin = file, generator, origin
        self._painter = Painter(generator)
        self._turns = Turns()
        self._animator = ThreadPoolExecutor(1, thread_name_prefix="animation")
        self._animations: set[threading.Event] = set()
        page = resources.files("directions.explorer") / "page"
        self._page_files = {name: (page / name).read_bytes() for name in _PAGE_FILES}
        environment = Environment(loader=PackageLoader("directions.explorer", "page"), autoescape=True)
        self._page = environment.get_template("page.html").render(
            token=token, file=file.path.name, path=str(file.path), generator=generator, version=__version__
        )

    def routes(self) -> list[Route]:
        """List what is answered.

        Returns:
            The routes.
        """
        return [
            Route("/", self._get_page),
            Route("/page/{name}", self._get_page_file),
            Route("/api/generator", self._get_generator),
            Route("/api/file", self._get_file),
            Route("/api/image", self._post_image, methods=["POST"]),
            Route("/api/animation", self._post_animation, methods=["POST"]),
            Route("/api/python", self._post_python, methods=["POST"]),
            Route("/api/change", self._post_change, methods=["POST"]),
        ]

    def stop(self) -> None:
        """Give up what is being made; nobody will wait for it."""
        for cancelled in self._animations:
            cancelled.set()
        self._animator.shutdown(wait=False)
        self._turns.close()

    async def _get_page(self, request: Request) -> Response:
        return HTMLResponse(self._page)

    async def _get_page_file(self, request: Request) -> Response:
        name = request.path_params["name"]
        if name not in _PAGE_FILES:
            raise HTTPException(404)
        return Response(self._page_files[name], media_type=_PAGE_FILES[name])

    async def _get_generator(self, request: Request) -> Response:
        generator = self._generator
        names = generator.class_names
        return JSONReply(
            {
                "name": generator.name,
                "dim_z": generator.dim_z,
                "resolution": generator.resolution,
                "layers": generator.num_layers if isinstance(generator, EditsLayers) else 1,
                "classes": list(names) if names else [f"class {index}" for index in range(generator.num_classes)],
                "max_samples": MAX_SAMPLES,
                "max_seed": MAX_SEED - MAX_SAMPLES,
                "max_amount": MAX_AMOUNT,
            }
        )

    async def _get_file(self, request: Request) -> Response:
        content = await run_in_threadpool(self._file.read)
        return JSONReply(content.described())

    async def _post_image(self, request: Request) -> Response:
        body = Body.parse(await request.body())
        client = body.take("client", text(r"[\w-]{8,64}", "8 to 64 letters, digits or hyphens"))
        number = body.take("number", whole(0, 2**53))
        view, picture = View.take(body, self._generator), Picture.take(body)
        body.finish()

        def paint() -> bytes:
            content = self._file.read()
            return self._painter.picture(view, picture, content.directions, content.moves(view))

        return Response(await self._turns.take(client, number, paint), media_type=FORMATS[picture.format])

    async def _post_animation(self, request: Request) -> Response:
        body = Body.parse(await request.body())
        animation = Animation.take(body, View.take(body, self._generator))
        body.finish()
        if len(self._animations) >= _ANIMATIONS_AT_ONCE:
            raise BusyError
        cancelled = threading.Event()
        self._animations.add(cancelled)
        try:
            content = await run_in_threadpool(self._file.read)
            making = asyncio.get_running_loop().run_in_executor(
                self._animator, animate, animation, self._painter, content, cancelled
            )
            gif = await _while_connected(request, making, cancelled)
        finally:
            cancelled.set()
            self._animations.discard(cancelled)
        return Response(gif, media_type="image/gif")

    async def _post_python(self, request: Request) -> Response:
        body = Body.parse(await request.body())
        view = View.take(body, self._generator)
        body.finish()
        content = await run_in_threadpool(self._file.read)
        return JSONReply({"python": snippet(view, content.directions, content.moves(view), self._origin)})

    async def _post_change(self, request: Request) -> Response:
        body = Body.parse(await request.body())
        content = await run_in_threadpool(self._file.change, body)
        return JSONReply(content.described())


def make_app(file: OpenFile, generator: Generator, origin: Origin, token: str) -> Starlette:
    """Put the page together.

    Args:
        file: The direction file.
        generator: What makes images; it fits the file.
        origin: Where both come from, for the code that is copied.
        token: Secret of this start: letters and digits.

    Returns:
        An ASGI app; ``app.state.stop()`` gives up what it is making, for when the server ends.
    """
    explorer = Explorer(file, generator, origin, token)
    app = Starlette(
        routes=explorer.routes(),
        middleware=[Middleware(Guard, token=token)],
        exception_handlers={
            HTTPException: _answer_http,
            ChangedError: _answer_with(409),
            UserError: _answer_with(400),
            SupersededError: _answer_superseded,
            CancelledError: _answer_superseded,
            BusyError: _answer_busy,
            Exception: _answer_failure,
        },
    )
    app.state.stop = explorer.stop
    return app


async def _while_connected(request: Request, making: Awaitable[Result], cancelled: threading.Event) -> Result:
    """Wait for something; tell its maker when the client has gone away."""
    waiting = asyncio.ensure_future(making)
    while not waiting.done():
        await asyncio.wait([waiting], timeout=0.5)
        if await request.is_disconnected():
            cancelled.set()
    return waiting.result()


def _answer_with(status: int) -> Callable[[Request, Exception], Awaitable[Response]]:
    async def answer(request: Request, error: Exception) -> Response:
        return refusal(status, str(error))

    return answer


async def _answer_http(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    if status == 405:
        return refusal(405, f"{request.method} is not allowed here.")
    return refusal(status, "There is nothing here." if status == 404 else "This request is not answered.")


async def _answer_superseded(request: Request, error: Exception) -> Response:
    return Response(status_code=204)  # nobody waits for it, and a browser's console shall not call it a failure


async def _answer_busy(request: Request, error: Exception) -> Response:
    return refusal(503, "Too many pictures are being made at once. Try again in a moment.")


async def _answer_failure(request: Request, error: Exception) -> Response:
    _LOG.error("a request failed", exc_info=error)
    return refusal(500, "The program failed; its terminal says how.")
