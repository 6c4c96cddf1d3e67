"""Find out whether a server answers at all, before a client is started that would try again and again.

Used by ``sources`` before the Hub is asked for weights. Torch is not imported.
"""

from __future__ import annotations

import http.client
import queue
import ssl
import threading
import urllib.error
import urllib.request
from typing import Any

TIMEOUT = 4.0
"""Seconds to wait for an answer, looking up the name and trying all of its addresses included."""


def why_unreachable(url: str, *, timeout: float = TIMEOUT) -> str | None:
    """Say why a server does not answer.

    Any answer counts, an error's too, and so does a certificate that is refused here: it is not known which the real
    client trusts. What this request cannot go through, a SOCKS proxy, is not tried.

    Args:
        url: Any address of the server; proxies of the environment are honoured.
        timeout: Seconds to wait in all.

    Returns:
        The reason, or ``None`` if it answers or cannot be told.
    """
    if _needs_socks(url):
        return None
    reasons: queue.SimpleQueue[str | None] = queue.SimpleQueue()
    # In a thread, because a time-out of a socket counts for each address of the server anew, and not for its name.
    threading.Thread(target=lambda: reasons.put(_ask(url, timeout)), daemon=True).start()
    try:
        return reasons.get(timeout=timeout)
    except queue.Empty:
        return "no answer in time"


def cause_of(error: BaseException) -> str:
    """Say in a few words why a connection failed."""
    reason = getattr(error, "reason", None) or error
    if isinstance(reason, TimeoutError):
        return "no answer in time"
    return getattr(reason, "strerror", None) or str(reason) or type(reason).__name__


class _FirstAnswer(urllib.request.HTTPRedirectHandler):
    """Where a server points elsewhere, it has answered."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


def _ask(url: str, timeout: float) -> str | None:
    try:
        request = urllib.request.Request(url, method="HEAD", headers={"User-Agent": "biggan-directions"})
        urllib.request.build_opener(_FirstAnswer).open(request, timeout=timeout).close()
    except urllib.error.HTTPError as error:
        error.close()
    except (OSError, http.client.HTTPException, ValueError) as error:
        if not isinstance(getattr(error, "reason", error), ssl.SSLError):
            return cause_of(error)
    return None


def _needs_socks(url: str) -> bool:
    proxies, scheme = urllib.request.getproxies(), url.partition(":")[0]
    return proxies.get(scheme, proxies.get("all", "")).startswith("socks")
