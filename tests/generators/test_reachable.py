"""Whether a server answers is known within the time-out, whatever it answers."""

from __future__ import annotations

import socket
import time

import pytest
from file_server import serve

from directions.generators.reachable import why_unreachable


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch):
    """Only those that a test sets."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.mark.parametrize("status", [200, 302, 404, 503])
def test_any_answer_counts(status):
    """An error's and a redirection's too."""
    with serve(b"content") as (url, behaviour):
        behaviour.status = status
        assert why_unreachable(url) is None


def test_closed_port_is_said_at_once():
    """With the cause."""
    with serve(b"") as (url, _):
        pass  # nobody listens there any more
    assert why_unreachable(url) == "Connection refused"


def test_silence_is_given_up_within_the_time_out():
    """Of a server that takes the connection and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        start = time.perf_counter()
        assert why_unreachable(f"http://127.0.0.1:{silent.getsockname()[1]}", timeout=0.2) == "no answer in time"
        assert time.perf_counter() - start < 2


def test_lookup_of_a_name_is_within_the_time_out_too(monkeypatch):
    """No time-out of a socket counts for it."""
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: time.sleep(1) or [])
    assert why_unreachable("http://hub.example", timeout=0.2) == "no answer in time"


def test_proxy_is_asked(monkeypatch):
    """It answers for a server that nobody could look up; one that speaks SOCKS is left to the client."""
    with serve(b"") as (url, _):
        monkeypatch.setenv("http_proxy", url.rpartition("/")[0])
        assert why_unreachable("http://hub.invalid") is None
    assert why_unreachable("http://hub.invalid") == "Connection refused"
    monkeypatch.setenv("http_proxy", "socks5://127.0.0.1:1")
    assert why_unreachable("http://hub.invalid") is None


def test_what_is_no_address_is_said():
    """Such as a wrong HF_ENDPOINT."""
    assert "unknown url type" in why_unreachable("hub")
