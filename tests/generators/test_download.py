"""A download is whole, or not there: against a server on this machine that misbehaves in every way."""

from __future__ import annotations

import hashlib
import json
import socket
import threading
from pathlib import Path

import pytest
from file_server import serve

from directions.errors import UserError
from directions.generators import download
from directions.generators.download import DownloadError, Expected, fetch

CONTENT = bytes(range(256)) * 4000
DIGEST = hashlib.sha256(CONTENT).hexdigest()
EXACT = Expected(sha256=DIGEST, size=len(CONTENT), least=1000)


@pytest.fixture
def server():
    """The address and the behaviour of a server of CONTENT."""
    with serve(CONTENT) as both:
        yield both


@pytest.fixture
def target(tmp_path: Path) -> Path:
    """A place in a folder that is still to be made."""
    return tmp_path / "cache" / "weights.bin"


def files(target: Path) -> set[str]:
    return {path.name for path in target.parent.iterdir()}


def test_full_download_is_checked_and_recorded(server, target):
    """The file, and the record of where it is from and what its digest is; nothing else."""
    url, _ = server
    assert fetch(url, target, EXACT) == DIGEST
    assert target.read_bytes() == CONTENT
    assert files(target) == {"weights.bin", "weights.bin.json"}
    record = json.loads((target.parent / "weights.bin.json").read_text())
    assert record == {"etag": '"one"', "sha256": DIGEST, "size": len(CONTENT), "url": url}


def test_progress_is_shown(server, target, capsys):
    """On stderr, with the name of the file."""
    fetch(server[0], target, EXACT)
    assert "weights.bin" in capsys.readouterr().err


@pytest.mark.parametrize("announce", [True, False])
def test_without_digest_what_comes_is_recorded(server, target, announce):
    """Trust on first use, also where the server does not say how long the file is."""
    url, behaviour = server
    behaviour.announce = announce
    assert fetch(url, target, Expected()) == DIGEST


def test_cut_connection_is_resumed_in_the_same_call(server, target):
    """Each attempt goes on where the one before ended."""
    url, behaviour = server
    behaviour.cut_after = len(CONTENT) // 2 + 1
    assert fetch(url, target, EXACT) == DIGEST
    assert behaviour.seen == [None, f"bytes={len(CONTENT) // 2 + 1}-"]


def test_cut_download_is_resumed_by_the_next_call(server, target):
    """What was received is kept aside, and the error says that the same command goes on."""
    url, behaviour = server
    behaviour.cut_after = 100_000
    with pytest.raises(DownloadError, match=r"cut off .*300,000 bytes are kept; the same command goes on"):
        fetch(url, target, EXACT)
    assert not target.exists()
    assert (target.parent / "weights.bin.partial").stat().st_size == 300_000
    behaviour.cut_after = None
    fetch(url, target, EXACT)
    assert behaviour.seen[-1] == "bytes=300000-"
    assert target.read_bytes() == CONTENT
    assert files(target) == {"weights.bin", "weights.bin.json"}


@pytest.mark.parametrize(
    ("etag", "cut_after"), [(None, 100_000), ('W/"weak"', 100_000), ('"one"', 0)], ids=["none", "weak", "nothing came"]
)
def test_cut_download_that_cannot_go_on_says_so(server, target, etag, cut_after):
    """Without an ETag nobody can tell whether the server still has the same file."""
    url, behaviour = server
    behaviour.etag, behaviour.cut_after = etag, cut_after
    with pytest.raises(DownloadError, match=r"cut off .*\. The same command tries again, from the beginning\.$"):
        fetch(url, target, EXACT)
    behaviour.cut_after = None
    assert fetch(url, target, EXACT) == DIGEST
    assert set(behaviour.seen) == {None}


@pytest.mark.parametrize(
    "change",
    [{"etag": '"two"'}, {"etag": None}, {"ranges": False}],
    ids=["another file", "no etag", "no ranges"],
)
def test_what_cannot_be_resumed_starts_anew(server, target, change):
    """The file has changed at the server, or it gives no parts: no mixture of two files."""
    url, behaviour = server
    behaviour.cut_after = 100_000
    with pytest.raises(DownloadError, match="cut off"):
        fetch(url, target, Expected())
    behaviour.cut_after = None
    for name, value in change.items():
        setattr(behaviour, name, value)
    behaviour.content = CONTENT[::-1]
    fetch(url, target, Expected())
    assert target.read_bytes() == CONTENT[::-1]


def test_partial_file_beyond_the_end_starts_anew(server, target):
    """A server that cannot give the range is asked for the whole."""
    url, behaviour = server
    target.parent.mkdir()
    (target.parent / "weights.bin.partial").write_bytes(CONTENT + b"more")
    (target.parent / "weights.bin.partial.json").write_text(json.dumps({"url": url, "etag": behaviour.etag}))
    assert fetch(url, target, EXACT) == DIGEST


def test_wrong_digest_is_refused_and_nothing_stays(server, target):
    """Both digests are named; an older file stays as it is."""
    url, behaviour = server
    fetch(url, target, EXACT)
    behaviour.content = CONTENT[:-1] + b"x"
    with pytest.raises(DownloadError, match=rf"SHA-256 is .*that of the published file is {DIGEST}.* deleted"):
        fetch(url, target, EXACT)
    assert target.read_bytes() == CONTENT
    assert files(target) == {"weights.bin", "weights.bin.json"}


@pytest.mark.parametrize("announce", [True, False])
@pytest.mark.parametrize("expected", [Expected(size=len(CONTENT) + 1), Expected(least=len(CONTENT) + 1)])
def test_wrong_size_is_refused(server, target, expected, announce):
    """Before it is received where the server says it, else after."""
    server[1].announce = announce
    with pytest.raises(DownloadError, match=r"1,024,000 bytes"):
        fetch(server[0], target, expected)
    assert not files(target)


@pytest.mark.parametrize("content_type", ["text/html", "application/octet-stream"])
def test_web_page_is_refused(server, target, content_type):
    """Whether the server says that it is one or not."""
    url, behaviour = server
    behaviour.content = b"\n<!DOCTYPE html><title>Sign in</title>" * 100
    behaviour.content_type = content_type
    with pytest.raises(DownloadError, match=r"is a web page \(HTML"):
        fetch(url, target, Expected())
    assert not files(target)


@pytest.mark.parametrize("status", [404, 403, 500])
def test_error_status_is_said(server, target, status):
    """The status and its meaning."""
    url, behaviour = server
    behaviour.status = status
    with pytest.raises(DownloadError, match=rf"answers {status} \w+"):
        fetch(url, target, EXACT)
    assert not files(target)


def test_error_status_keeps_what_was_received(server, target):
    """A server that is down for a while costs nothing."""
    url, behaviour = server
    behaviour.cut_after = 100_000
    with pytest.raises(DownloadError, match="cut off"):
        fetch(url, target, EXACT)
    behaviour.cut_after, behaviour.status = None, 503
    with pytest.raises(DownloadError, match="answers 503"):
        fetch(url, target, EXACT)
    behaviour.status = 200
    fetch(url, target, EXACT)
    assert behaviour.seen[-1] == "bytes=300000-"


def test_server_that_hangs_up_is_said(target):
    """Before any answer."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def hang_up():
            connection, _ = listener.accept()
            connection.close()

        thread = threading.Thread(target=hang_up)
        thread.start()
        with pytest.raises(DownloadError, match="cannot be reached: "):
            fetch(f"http://127.0.0.1:{listener.getsockname()[1]}/weights.bin", target, EXACT)
        thread.join()
    assert not files(target)


def test_server_that_does_not_answer_is_given_up(server, target):
    """After the time-out, not after minutes."""
    url, behaviour = server
    behaviour.stall = 1.0
    with pytest.raises(DownloadError, match="cannot be reached: no answer in time"):
        fetch(url, target, EXACT, timeout=0.1)


def test_closed_port_is_said_at_once(target):
    """No server, no waiting."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/weights.bin"
        with pytest.raises(DownloadError, match="cannot be reached: Connection refused"):
            fetch(url, target, EXACT)
    assert not files(target)


def test_full_disk_is_noticed_before(server, target, monkeypatch):
    """The free space and what is needed."""
    monkeypatch.setattr(download.shutil, "disk_usage", lambda _: download.shutil._ntuple_diskusage(10, 5, 5))
    with pytest.raises(DownloadError, match=r"has 5 bytes free, 1,024,000 are needed"):
        fetch(server[0], target, EXACT)
    assert not target.exists()


def test_folder_that_cannot_be_written_is_said(server, tmp_path):
    """With the variable that moves it."""
    (tmp_path / "cache").write_text("a file where the folder should be")
    with pytest.raises(UserError, match="DIRECTIONS_CACHE"):
        fetch(server[0], tmp_path / "cache" / "weights.bin", EXACT)


def test_two_processes_do_not_write_one_file(server, target):
    """The second one says so."""
    fcntl = pytest.importorskip("fcntl")
    target.parent.mkdir()
    with (target.parent / "weights.bin.partial").open("ab") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(DownloadError, match="Another process is downloading"):
            fetch(server[0], target, EXACT)
