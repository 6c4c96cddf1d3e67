"""Give the page an address on this machine, say it, and serve until Ctrl-C.

The last of the flow. The address is bound before anything is loaded, so a taken port is reported at once.
"""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import os
import socket
import sys
import threading
import webbrowser

import uvicorn
from starlette.applications import Starlette

from directions.errors import UserError

USUAL_PORT = 8160
"""The same each time where it is free: a page that is open finds the program again when it is started anew."""

_SECONDS_TO_END = 60
"""How long the last picture may take when all is over; a second Ctrl-C does not wait."""


def listen(host: str, port: int | None) -> socket.socket:
    """Bind an address of this machine.

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
    except (OSError, OverflowError) as error:
        bound.close()
        taken = isinstance(error, OSError) and error.errno == errno.EADDRINUSE
        why = "another program has it" if taken else str(error)
        raise UserError(f"port {port} of {host} cannot be had: {why}. Give another, or 0 for any free one.") from error
    return bound


def address(bound: socket.socket) -> str:
    """Write a socket's address as a browser takes it.

    Args:
        bound: From `listen`.

    Returns:
        Its URL.
    """
    host, port = bound.getsockname()[:2]
    return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"


class _Server(uvicorn.Server):
    """Gives up what is being made before it waits for its connections."""

    def __init__(self, app: Starlette, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._app = app

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End."""
        self._app.state.stop()
        await super().shutdown(sockets)


def make_server(app: Starlette) -> uvicorn.Server:
    """Make the server of an app; its ``run`` takes the socket.

    Args:
        app: What answers, from `directions.explorer.app.make_app`, which logs its own failures.

    Returns:
        The server.
    """
    return _Server(
        app,
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
        ),
    )


def serve(app: Starlette, bound: socket.socket, *, open_browser: bool) -> None:
    """Serve until SIGINT or SIGTERM.

    Args:
        app: What answers.
        bound: From `listen`; closed at the end.
        open_browser: Whether to open the page, where there is a screen.
    """
    if open_browser and _has_screen():
        # The socket listens already: what connects now waits until the server runs.
        threading.Thread(target=webbrowser.open, args=[address(bound)], daemon=True).start()
    with bound, contextlib.suppress(KeyboardInterrupt):  # uvicorn raises the signal again once it has ended
        make_server(app).run(sockets=[bound])


def _has_screen() -> bool:
    """Whether a browser window can open; a text browser would take over the terminal."""
    if sys.platform in ("win32", "darwin"):
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
