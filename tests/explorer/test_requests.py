"""Requests: what is written on the file, what is refused, and who is turned away."""

from __future__ import annotations

import json

import pytest
from explorer_page import TOKEN
from fakes import BlobGenerator, blob_directions
from program import load_program

from directions.direction_file import edit_directions, load_directions
from directions.explorer.guard import MAX_BODY

GONE = "load the page again"


def test_change_writes_on_the_file(page):
    """It is in the file and in the answer; nothing else changes; each can be undone, one by one."""
    before = page.file()
    for key, given, written in [
        ("name", "  trimmed ", "trimmed"),
        ("path_size", 2.5, 2.5),
        ("note", "turns\nleft", "turns\nleft"),
        ("hidden", True, True),
    ]:
        answer = page.post("change", {"id": page.ids[2], key: given}).json()
        assert load_directions(page.path).header["directions"][2][key] == written
        assert answer == page.file()
        assert answer["directions"][2] == before["directions"][2] | {key: written}
        assert answer["directions"][3:] == before["directions"][3:]
        assert answer["revision"] != before["revision"]
        assert key in answer["last_change"]
        page.post("change", {"undo": True})
    order = [page.ids[index] for index in (3, 1, 0, 2, 5, 4)]
    answer = page.post("change", {"order": order}).json()
    assert [(entry["id"], entry["index"]) for entry in answer["directions"]] == list(
        zip(order, (3, 1, 0, 2, 5, 4), strict=True)
    )
    assert GONE in page.post("change", {"order": [NOBODY]}).json()["error"]
    assert page.post("change", {"undo": True}).json()["last_change"] is None
    assert "no change to undo" in page.post("change", {"undo": True}).json()["error"]


def test_changes_by_others_are_seen(page):
    """The command line and other pages write on the same file; neither's change is lost."""
    edit_directions(page.path, lambda found: found.renamed(0, "theirs"))
    assert page.file()["directions"][0]["name"] == "theirs"
    page.post("change", {"id": page.ids[1], "name": "ours"})
    assert load_directions(page.path).names[:2] == ("theirs", "ours")


def test_file_that_went_bad_is_reported(page):
    """Missing, damaged or of another generator: a sentence, and the page goes on when it is back."""
    good = page.path.read_bytes()
    page.path.unlink()
    assert "no direction file" in page.client.get("/api/file").json()["error"]
    page.path.write_bytes(good[:-7])
    assert "not a usable direction file" in page.client.get("/api/file").json()["error"]
    other = BlobGenerator()
    other.digest = "0" * 64
    blob_directions(other).save(page.path)
    assert "Load the same weights" in page.client.get("/api/file").json()["error"]
    page.path.write_bytes(good)
    assert page.client.get("/api/file").status_code == 200


@pytest.mark.parametrize("path", ["/", "/page/explore.js", "/api/file", "/none"])
def test_every_answer_keeps_the_page_in(page, path):
    """Scripts, styles and requests from this address only, nothing inline; nobody frames it or guesses at its type."""
    answer = page.client.get(path)
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "http" not in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-store"
    for forbidden in ("<script>", "style=", "onclick=", "innerHTML", "http://", "https://"):
        assert forbidden not in answer.text


KNOWN = {"X-Directions-Token": TOKEN}
ELSEWHERE = {"Sec-Fetch-Site": "cross-site"}


@pytest.mark.parametrize(
    ("asked", "headers", "status"),
    [
        # No file but the page's own three, whatever the path.
        ("GET /no", {}, 404),
        ("GET /page/..%2f..%2fconfig.py", {}, 404),
        ("GET /api/image", {}, 405),
        ("DELETE /", KNOWN, 405),
        # A name elsewhere that points to this machine (DNS rebinding) reads nothing.
        ("GET /api/file", {"Host": "evil.example:8160"}, 403),
        ("GET /api/file", {"Host": "127.0.0.1.evil.example"}, 403),
        ("GET /api/file", {"Host": "[::2]"}, 403),
        # A link of another site opens the page; what embeds something is refused.
        ("GET /", ELSEWHERE, 200),
        ("GET /page/explore.js", ELSEWHERE, 403),
        ("GET /api/file", ELSEWHERE, 403),
        # A write needs the token of this start, JSON, and no origin but the page's.
        ("POST /api/change", {}, 403),
        ("POST /api/change", {"X-Directions-Token": "wrong"}, 403),
        ("POST /api/change", KNOWN | {"Origin": "http://127.0.0.1:9999"}, 403),
        ("POST /api/change", KNOWN | ELSEWHERE, 403),
        ("POST /api/change", KNOWN | {"Content-Type": "text/plain"}, 415),
        ("POST /api/change", KNOWN | {"Origin": "http://127.0.0.1:8160", "Sec-Fetch-Site": "same-origin"}, 200),
    ],
    ids=str,
)
def test_only_the_page_is_answered(page, asked, headers, status):
    """Others get a sentence, and change nothing."""
    before = page.path.read_bytes()
    content = json.dumps({"id": page.ids[0], "name": "hacked"}) if "POST" in asked else None
    answer = page.client.request(
        *asked.split(), content=content, headers={"Content-Type": "application/json"} | headers
    )
    assert answer.status_code == status
    assert status == 200 or set(answer.json()) == {"error"}
    assert "Host" not in headers or "127.0.0.1 and localhost only" in answer.json()["error"]
    assert (page.path.read_bytes() != before) == (asked.startswith("POST") and status == 200)


@pytest.mark.parametrize("streamed", [False, True])
def test_body_that_is_too_large_is_refused(page, streamed):
    """By its length if it says it, else when it is reached."""
    data = b" " * (MAX_BODY + 1)
    content = (data[start : start + 4096] for start in range(0, len(data), 4096)) if streamed else data
    answer = page.client.post("/api/change", content=content, headers=KNOWN | {"Content-Type": "application/json"})
    assert answer.status_code == 413
    assert str(MAX_BODY) in answer.json()["error"]


def test_failure_of_ours_is_told_without_its_inside(page, monkeypatch, caplog):
    """The terminal gets the traceback, the page a sentence; and the page goes on."""
    page.client.__init__(page.client.app, base_url="http://127.0.0.1", raise_server_exceptions=False)
    with monkeypatch.context() as patch:
        patch.setattr("directions.explorer.painter.encode", lambda *_: 1 / 0)
        answer = page.image(seeds=[77])
    assert answer.status_code == 500
    assert answer.json() == {"error": "The program failed; its terminal says how."}
    assert "division by zero" in caplog.text
    assert page.image(seeds=[77]).status_code == 200


def test_fuzzed_requests_are_answered_or_refused():
    """The short version of ``scripts/fuzz_explorer.py``: never a failure of ours, and the file stays sound."""
    counts = load_program("scripts/fuzz_explorer.py").fuzz(12)
    assert counts[200] >= 1
    assert counts[400] >= 10
    assert counts[403] >= 1


NOBODY = "0" * 16


@pytest.mark.parametrize(
    ("where", "changes", "message"),
    [
        ("change", {}, "There is nothing to write"),
        ("change", {"name": "up-down"}, "have the same name"),
        ("change", {"name": "x" * 5000}, "must be 1 to 64 printable characters"),
        ("change", {"path_size": 0}, "The path_size of direction 0 must be a positive number, got 0"),
        ("image", {"class": 3}, "class must be from 0 to 2, one for all or for each seed, got 3"),
        ("image", {"sedes": [1]}, "sedes: Extra inputs are not permitted"),
        ("image", {"moves": {NOBODY: 1.0}}, GONE),
        ("change", {"id": NOBODY, "name": "x"}, GONE),
        ("preview", {"id": NOBODY}, GONE),
        ("animation", {"direction": NOBODY}, GONE),
    ],
    ids=lambda value: str(value)[:40],
)
def test_request_that_is_wrong_is_explained_and_leaves_the_file(page, where, changes, message):
    """What, what was got, what is allowed; a page of an older file is told to load again."""
    before = page.path.read_bytes()
    starts = {"image": page.view(client="c" * 8, number=1), "change": {"id": page.ids[0]}}
    starts["animation"] = page.view()
    answer = page.post(where, starts.get(where, {}) | changes)
    assert answer.status_code == (409 if message == GONE else 400)
    assert message in answer.json()["error"]
    assert len(answer.content) < 2000
    assert page.path.read_bytes() == before
