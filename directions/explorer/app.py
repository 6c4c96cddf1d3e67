"""The page's routes, and the server that gives them an address on this machine."""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import logging
import os
import socket
import sys
import threading
import webbrowser
from collections.abc import Awaitable, Callable
from importlib import resources
from typing import Any

import uvicorn
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
from directions.explorer.file import ChangedError, OpenFile
from directions.explorer.guard import Guard, JSONReply, refusal
from directions.explorer.models import (
    FORMATS,
    MAX_AMOUNT,
    MAX_SAMPLES,
    MAX_SEED,
    AnimationRequest,
    ChangeRequest,
    ImageRequest,
    PreviewRequest,
    ViewRequest,
)
from directions.explorer.painter import BusyError, Painter, SupersededError, Worker, animate, preview
from directions.explorer.snippet import Origin, snippet
from directions.generators.base import Generator
from directions.generators.layers import EditsLayers
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
    painter, worker = Painter(generator), Worker()
    animations = 0
    folder = resources.files("directions.explorer") / "page"
    page_files = {name: (folder / name).read_bytes() for name in _PAGE_FILES}
    environment = Environment(loader=PackageLoader("directions.explorer", "page"), autoescape=True)
    title = file.path.parent.name if file.path.name == FILE_NAME else file.path.name
    page = environment.get_template("page.html").render(
        token=token, title=title, path=str(file.path), generator=generator, version=__version__
    )
    names = generator.class_names or [f"class {index}" for index in range(generator.num_classes)]
    about = {
        "name": generator.name,
        "dim_z": generator.dim_z,
        "resolution": generator.resolution,
        "layers": generator.num_layers if isinstance(generator, EditsLayers) else 1,
        "classes": list(names),
        "max_samples": MAX_SAMPLES,
        "max_seed": MAX_SEED - MAX_SAMPLES,
        "max_amount": MAX_AMOUNT,
    }

    async def get_page(request: Request) -> Response:
        return HTMLResponse(page)

    async def get_page_file(request: Request) -> Response:
        name = request.path_params["name"]
        if name not in _PAGE_FILES:
            raise HTTPException(404)
        return Response(page_files[name], media_type=_PAGE_FILES[name])

    async def get_generator(request: Request) -> Response:
        return JSONReply(about)

    async def get_file(request: Request) -> Response:
        return JSONReply((await run_in_threadpool(file.read)).described())

    async def post_image(request: Request) -> Response:
        asked = ImageRequest.read(await request.body())
        view = asked.view(generator)
        picture = await worker.newest(asked.client, asked.number, lambda: painter.picture(view, asked, file.read()))
        return Response(picture, media_type=FORMATS[asked.format])

    async def post_animation(request: Request) -> Response:
        nonlocal animations
        asked = AnimationRequest.read(await request.body())
        view = asked.view(generator)
        if animations >= _ANIMATIONS_AT_ONCE:
            raise BusyError
        animations += 1
        try:
            content = await run_in_threadpool(file.read)
            gif = await animate(asked, view, content, painter, worker, request.is_disconnected)
        finally:
            animations -= 1
        return Response(gif, media_type="image/gif")

    async def post_preview(request: Request) -> Response:
        asked = PreviewRequest.read(await request.body())
        content = await run_in_threadpool(file.read)
        jpeg = await preview(asked.id, content, file.path, painter, worker, request.is_disconnected)
        return Response(jpeg, media_type="image/jpeg")

    async def post_python(request: Request) -> Response:
        view = ViewRequest.read(await request.body()).view(generator)
        content = await run_in_threadpool(file.read)
        return JSONReply({"python": snippet(view, content.directions, content.moves(view), origin)})

    async def post_change(request: Request) -> Response:
        asked = ChangeRequest.read(await request.body())
        return JSONReply((await run_in_threadpool(file.change, asked)).described())

    app = Starlette(
        routes=[
            Route("/", get_page),
            Route("/page/{name}", get_page_file),
            Route("/api/generator", get_generator),
            Route("/api/file", get_file),
            Route("/api/image", post_image, methods=["POST"]),
            Route("/api/animation", post_animation, methods=["POST"]),
            Route("/api/preview", post_preview, methods=["POST"]),
            Route("/api/python", post_python, methods=["POST"]),
            Route("/api/change", post_change, methods=["POST"]),
        ],
        middleware=[Middleware(Guard, token=token)],
        exception_handlers={
            HTTPException: _answer_http,
            ChangedError: _answer_with(409),
            UserError: _answer_with(400),
            # Nobody waits for it, and a browser's console shall not call it a failure.
            SupersededError: _answer_with(204),
            BusyError: _answer_with(503, "Too many pictures are being made at once. Try again in a moment."),
            Exception: _answer_failure,
        },
    )
    app.state.stop = worker.close
    return app


def _answer_with(status: int, message: str | None = None) -> Callable[[Request, Exception], Awaitable[Response]]:
    async def answer(request: Request, error: Exception) -> Response:
        return Response(status_code=204) if status == 204 else refusal(status, message or str(error))

    return answer


async def _answer_http(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    if status == 405:
        return refusal(405, f"{request.method} is not allowed here.")
    return refusal(status, "There is nothing here." if status == 404 else "This request is not answered.")


async def _answer_failure(request: Request, error: Exception) -> Response:
    _LOG.error("a request failed", exc_info=error)
    return refusal(500, "The program failed; its terminal says how.")


def listen(host: str, port: int | None) -> socket.socket:
    """Bind an address of this machine, before anything is loaded, so that a taken port is reported at once.

    Args:
        host: ``localhost`` or a loopback address.
        port: From 0 to 65535; 0 takes a free one, ``None`` the usual one or, where that is taken, a free one.

    Returns:
        The socket.

    Raises:
        UserError: If the address is not a loopback one, or cannot be had. It begins with "host" or "port".
    """
    address = "127.0.0.1" if host == "localhost" else host
    try:
        loopback = ipaddress.ip_address(address).is_loopback
    except ValueError:
        loopback = False
    if not loopback:
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
    return _Server(
        uvicorn.Config(
            app,
            loop="asyncio",
            http="h11",
            ws="none",
            lifespan="off",
            log_config=None,
            log_level="critical",
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=_SECONDS_TO_END,
        )
    )


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
