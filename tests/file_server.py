"""Small HTTP servers on the loopback interface, and one that serves a file and misbehaves on request."""

from __future__ import annotations

import contextlib
import http.server
import threading
from collections.abc import Iterator
from dataclasses import dataclass


@contextlib.contextmanager
def started(handler: type[http.server.BaseHTTPRequestHandler], state: object) -> Iterator[str]:
    """Within the block a server runs, whose handlers find ``state`` as ``server.state``; gives its address."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    server.state = state
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@dataclass
class Behaviour:
    """What the server does; a test changes it between requests."""

    content: bytes
    """The file."""
    status: int = 200
    cut_after: int | None = None
    """Bytes of a response after which the connection is closed."""
    requests: int = 0


class _Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        behaviour: Behaviour = self.server.state
        behaviour.requests += 1
        if behaviour.status != 200:
            self.send_error(behaviour.status)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(behaviour.content)))
        self.end_headers()
        with contextlib.suppress(OSError):
            self.wfile.write(behaviour.content[: behaviour.cut_after])

    def log_message(self, *_: object) -> None:
        pass


@contextlib.contextmanager
def serve(content: bytes) -> Iterator[tuple[str, Behaviour]]:
    """Serve one file; gives its address and what can be changed about the server."""
    behaviour = Behaviour(content)
    with started(_Handler, behaviour) as address:
        yield f"{address}/weights.bin", behaviour
