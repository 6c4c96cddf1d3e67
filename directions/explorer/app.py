"""The page's routes, and the server that gives them an address on this machine."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import socket
import sys
import threading
import webbrowser
from collections.abc import Callable
from importlib import resources
from typing import Any

import uvicorn
from jinja2 import Environment, PackageLoader
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from directions import __version__
from directions.errors import UserError
from directions.explorer import models
from directions.explorer.backstage import Backstage
from directions.explorer.file import ChangedError, Content, OpenFile
from directions.explorer.guard import Guard, read_body, refusal
from directions.explorer.painter import Painter, Shared, SupersededError, Worker, animate
from directions.explorer.snippet import Origin, snippet
from directions.generators.base import EditsLayers, Generator
from directions.hub import FILE_NAME

USUAL_PORT = 8160
"""The same each time where it is free: a page that is open finds the program again when it is started anew."""

_PAGE_FILES = {"explore.css": "text/css", "explore.js": "text/javascript", "icon.svg": "image/svg+xml"}
_ANIMATIONS_AT_ONCE = 4
_SECONDS_TO_END = 60
"""How long the last picture may take when the program ends; a second Ctrl-C does not wait."""

_LOG = logging.getLogger(__name__)


def make_app(file: OpenFile, generator: Generator, origin: Origin, token: str) -> Starlette:
    """Put the page together.

    An answer is a picture, JSON, or one of the page's own files, which are read at the start: no request's path ever
    reaches the disk.

    Args:
        file: The direction file.
        generator: What makes images; it fits the file.
        origin: Where both come from, for the code that is copied.
        token: Secret of this start, which only the page knows: letters and digits.

    Returns:
        An ASGI app; ``app.state.stop()`` gives up what it is making, for when the server ends.
    """
    painter, worker, backstage = Painter(generator), Worker(), Backstage(file.path)
    animations = asyncio.Semaphore(_ANIMATIONS_AT_ONCE)
    folder = resources.files("directions.explorer") / "page"
    environment = Environment(loader=PackageLoader("directions.explorer", "page"), autoescape=True)
    title = file.path.parent.name if file.path.name == FILE_NAME else file.path.name
    page = environment.get_template("page.html").render(
        token=token, title=title, path=str(file.path), generator=generator, version=__version__
    )
    about = {
        "name": generator.name,
        "dim_z": generator.dim_z,
        "resolution": generator.resolution,
        "layers": generator.num_layers if isinstance(generator, EditsLayers) else 1,
        "classes": list(generator.class_names or [f"class {index}" for index in range(generator.num_classes)]),
        "max_samples": models.MAX_SAMPLES,
        "max_seed": models.MAX_SEED - models.MAX_SAMPLES,
        "max_amount": models.MAX_AMOUNT,
    }
    fixed = {"/": HTMLResponse(page), "/api/generator": JSONResponse(about)} | {
        f"/page/{name}": Response((folder / name).read_bytes(), media_type=kind) for name, kind in _PAGE_FILES.items()
    }

    async def get_file(request: Request) -> Response:
        return JSONResponse((await run_in_threadpool(file.read)).described())

    async def post_image(request: Request) -> Response:
        asked = models.ImageRequest.read(await read_body(request)).check(generator)
        picture = await worker.newest(asked.client, asked.number, lambda: painter.picture(asked, file.read()))
        return Response(picture, media_type=f"image/{asked.format}")

    async def post_animation(request: Request) -> Response:
        asked = models.AnimationRequest.read(await read_body(request)).check(generator)
        shared: Any = Shared(generator, worker.do, request.is_disconnected)
        async with animations:
            gif = await run_in_threadpool(lambda: animate(asked, file.read(), shared))
        return Response(gif, media_type="image/gif")

    async def when_idle(request: Request, make: Callable[[Content, str, Any], Any]) -> Any:
        asked = models.DirectionRequest.read(await read_body(request))
        shared = Shared(generator, worker.when_idle, request.is_disconnected)
        return await run_in_threadpool(lambda: make(file.read(), asked.id, shared))

    async def post_preview(request: Request) -> Response:
        return Response(await when_idle(request, backstage.preview), media_type="image/jpeg")

    async def post_suggestion(request: Request) -> Response:
        return JSONResponse({"suggestion": await when_idle(request, backstage.suggestion)})

    async def post_python(request: Request) -> Response:
        view = models.View.read(await read_body(request)).check(generator)
        content = await run_in_threadpool(file.read)
        return JSONResponse({"python": snippet(view, content.directions, content.moves(view), origin)})

    async def post_change(request: Request) -> Response:
        asked = models.ChangeRequest.read(await read_body(request))
        return JSONResponse((await run_in_threadpool(file.change, asked)).described())

    posts = [post_image, post_animation, post_preview, post_suggestion, post_python, post_change]
    app = Starlette(
        routes=[
            *(Route(path, answer, methods=["GET"]) for path, answer in fixed.items()),
            Route("/api/file", get_file),
            *(Route(post.__name__.replace("post_", "/api/"), post, methods=["POST"]) for post in posts),
        ],
        middleware=[Middleware(Guard, token=token)],
        exception_handlers=dict.fromkeys((HTTPException, UserError, SupersededError, Exception), _answer),
    )
    app.state.stop = worker.close
    return app


async def _answer(request: Request, error: Exception) -> Response:
    """Answer a request that failed or was refused."""
    if isinstance(error, SupersededError):  # nobody waits for it, and a browser's console shall not call it a failure
        return Response(status_code=204)
    if isinstance(error, UserError):
        return refusal(409 if isinstance(error, ChangedError) else 400, str(error))
    if isinstance(error, HTTPException):
        said = {404: "There is nothing here.", 405: f"{request.method} is not allowed here.", 413: error.detail}
        return refusal(error.status_code, said.get(error.status_code, "This request is not answered."), error.headers)
    _LOG.error("a request failed", exc_info=error)
    return refusal(500, "The program failed; its terminal says how.")


def listen(host: str, port: int | None) -> socket.socket:
    """Bind an address of this machine, before anything is loaded, so that a taken port is reported at once.

    Args:
        host: ``localhost``, ``127.0.0.1`` or ``::1``.
        port: From 0 to 65535; 0 takes a free one, ``None`` the usual one or, where that is taken, a free one.

    Returns:
        The socket.

    Raises:
        UserError: If the address is another one, or cannot be had. It begins with "host" or "port".
    """
    if host not in ("localhost", "127.0.0.1", "::1"):
        raise UserError(
            f"host must be localhost, 127.0.0.1 or ::1, got {host!r}: whoever reaches the page can write on the file. "
            "From another machine, reach it through SSH: ssh -L 8000:localhost:8000 THIS_MACHINE"
        )
    if port is None:
        try:
            return listen(host, USUAL_PORT)
        except UserError:
            port = 0
    if not 0 <= port <= 65535:
        raise UserError(f"port must be from 0 (any free one) to 65535, got {port}.")
    address = "127.0.0.1" if host == "localhost" else host
    bound = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
    try:
        if os.name == "posix":  # elsewhere the option lets two programs have one port
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((address, port))
        bound.listen(64)
    except OSError as error:
        bound.close()
        why = "another program has it" if error.errno == errno.EADDRINUSE else str(error)
        raise UserError(f"port {port} of {host} cannot be had: {why}. Give another, or 0 for any free one.") from error
    return bound


def address(bound: socket.socket) -> str:
    """Write a socket's address as a browser takes it."""
    host, port = bound.getsockname()[:2]
    return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"


class _Server(uvicorn.Server):
    """Gives up what is being made before it waits for its connections."""

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End."""
        app: Any = self.config.app
        app.state.stop()
        await super().shutdown(sockets)


def make_server(app: Starlette) -> uvicorn.Server:
    """Make the server of an app from `make_app`, which logs its own failures; ``run`` takes the socket."""
    config = uvicorn.Config(
        app, loop="asyncio", http="h11", ws="none", lifespan="off", log_config=None, log_level="critical",
        server_header=False, proxy_headers=False, timeout_graceful_shutdown=_SECONDS_TO_END,
    )  # fmt: skip
    return _Server(config)


def serve(app: Starlette, bound: socket.socket, *, open_browser: bool) -> None:
    """Serve until SIGINT or SIGTERM.

    Args:
        app: What answers.
        bound: From `listen`; closed at the end.
        open_browser: Whether to open the page, where there is a screen; a text browser would take over the terminal.
    """
    screen = sys.platform in ("win32", "darwin") or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    if open_browser and screen:
        # The socket listens already: what connects now waits until the server runs.
        threading.Thread(target=webbrowser.open, args=[address(bound)], daemon=True).start()
    with bound, contextlib.suppress(KeyboardInterrupt):  # uvicorn raises the signal again once it has ended
        make_server(app).run(sockets=[bound])
