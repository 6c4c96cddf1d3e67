"""Turns away what no page of ours sends: other sites in the user's browser, foreign host names, endless bodies."""

from __future__ import annotations

import secrets
from collections.abc import Mapping

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LOOPBACK_NAMES = ("127.0.0.1", "localhost", "[::1]")
TOKEN_HEADER = "X-Directions-Token"
MAX_BODY = 2**18
"""Bytes of a request; all sliders of 4096 directions fit."""

_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


def refusal(status: int, message: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """Answer with a status and the message, what is wrong and what to do, as ``error`` in JSON."""
    return JSONResponse({"error": message}, status, headers)


async def read_body(request: Request) -> bytes:
    """Read the body of a request, but not an endless one.

    Returns:
        Its bytes.

    Raises:
        HTTPException: If it is longer than it may be.
    """
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > MAX_BODY:
            raise HTTPException(413, f"A request may have at most {MAX_BODY} bytes.", {"Connection": "close"})
    return bytes(body)


class Guard:
    """Refuses what no page of ours sends, and adds the headers that every answer has; plain ASGI around the routes.

    The server listens on this machine only, but so does every browser on it: a page anywhere can send requests to
    127.0.0.1, or, with a name of its own that it points there, even read the answers.

    Args:
        app: What answers the rest.
        token: Secret of this start; a page has it, another site has not.
    """

    def __init__(self, app: ASGIApp, token: str) -> None:
        self._app, self._token = app, token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or have it answered."""

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(_HEADERS)
            await send(message)

        if scope["type"] == "http":
            answer = self._refusal(scope["method"], scope["path"], Headers(scope=scope))
            await (answer or self._app)(scope, receive, send_guarded)
        else:
            await self._app(scope, receive, send)

    def _refusal(self, method: str, path: str, headers: Headers) -> Response | None:
        """The answer to a request that comes from elsewhere or cannot be right."""
        host = headers.get("host", "")
        if host.rpartition(":")[0] not in LOOPBACK_NAMES and host not in LOOPBACK_NAMES:
            return refusal(403, "This page answers to 127.0.0.1 and localhost only. Open the address that was printed.")
        # A link may lead here from anywhere; nothing else may come from another site.
        opened = method == "GET" and path == "/"
        embedded = headers.get("sec-fetch-site", "none") not in ("none", "same-origin") and not opened
        if embedded or headers.get("origin", f"http://{host}") != f"http://{host}":
            return refusal(403, "Another site may not use this page.")
        if method in ("GET", "HEAD"):
            return None
        if not secrets.compare_digest(headers.get(TOKEN_HEADER, "").encode(), self._token.encode()):
            return refusal(403, "The program was started anew: load the page again.")
        if headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            return refusal(415, "A request must be of the type application/json.")
        return None
