"""A small HTTP server on the loopback interface that misbehaves on request."""

from __future__ import annotations

import contextlib
import http.server
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field


@dataclass
class Behaviour:
    """What the server does; a test changes it between requests."""

    content: bytes
    """The file."""
    etag: str | None = '"one"'
    status: int = 200
    content_type: str = "application/octet-stream"
    cut_after: int | None = None
    """Bytes of a response after which the connection is closed."""
    stall: float = 0.0
    """Seconds to wait before the first byte."""
    ranges: bool = True
    """Whether a part of the file can be asked for."""
    announce: bool = True
    """Whether the length is said."""
    seen: list[str | None] = field(default_factory=list)
    """The Range header of each request."""


class _Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        behaviour: Behaviour = self.server.behaviour
        behaviour.seen.append(self.headers.get("Range"))
        time.sleep(behaviour.stall)
        if behaviour.status != 200:
            self.send_error(behaviour.status)
            return
        start = 0
        asked = self.headers.get("Range")
        if asked and behaviour.ranges and self.headers.get("If-Range") == behaviour.etag:
            start = int(asked.removeprefix("bytes=").removesuffix("-"))
            if start >= len(behaviour.content):
                self.send_error(416)
                return
        body = behaviour.content[start:]
        self.send_response(206 if start else 200)
        self.send_header("Content-Type", behaviour.content_type)
        if behaviour.announce:
            self.send_header("Content-Length", str(len(body)))
        if behaviour.etag:
            self.send_header("ETag", behaviour.etag)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(behaviour.content) - 1}/{len(behaviour.content)}")
        self.end_headers()
        with contextlib.suppress(OSError):
            self.wfile.write(body if behaviour.cut_after is None else body[: behaviour.cut_after])

    def log_message(self, *_: object) -> None:
        pass


@contextlib.contextmanager
def serve(content: bytes) -> Iterator[tuple[str, Behaviour]]:
    """Serve one file; gives its address and what can be changed about the server."""
    behaviour = Behaviour(content)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.behaviour = behaviour
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/weights.bin", behaviour
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
