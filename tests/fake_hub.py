"""A Hub on the loopback interface: as much of its interface as committing to a model and fetching from it takes.

Files are kept in memory, and come in the commit itself.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import http.server
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from urllib.parse import unquote

from file_server import started

TOKEN = "hf_test"


@dataclass
class FakeHub:
    """What the Hub holds, and how it behaves; a test looks at it, and changes it."""

    address: str = ""
    revisions: dict[str, dict[str, dict[str, bytes]]] = field(default_factory=dict)
    """For each repository and revision its files."""
    private: dict[str, bool] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    @property
    def hub(self) -> FakeHub:
        return self.server.state

    def answer(self, status: int, content: object, headers: dict[str, str] | None = None) -> None:
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for name, value in {**(headers or {}), "Content-Length": str(len(data))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def missing(self, code: str) -> None:
        self.answer(404, {"error": code}, {"X-Error-Code": code, "X-Error-Message": code})

    def parts(self) -> list[str]:
        path = unquote(self.path.split("?")[0])
        self.hub.requests.append(f"{self.command} {path}")
        return path.strip("/").split("/")

    def do_GET(self) -> None:
        owner, name, _, revision, *file = self.parts()
        self.resolve(f"{owner}/{name}", revision, "/".join(file))

    do_HEAD = do_GET  # noqa: N815 - a name of the standard library

    def do_POST(self) -> None:
        parts, body = self.parts(), self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers["Authorization"] != f"Bearer {TOKEN}":
            self.answer(401, {"error": "Invalid username or password."})
        elif parts[-2:] == ["repos", "create"]:
            asked = json.loads(body)
            name = f"{asked.get('organization') or 'owner'}/{asked['name']}"
            about = {"error": "You already created this model repo", "url": f"{self.hub.address}/{name}", "name": name}
            self.answer(409 if name in self.hub.revisions else 200, about)
            if name not in self.hub.revisions:
                self.hub.revisions[name] = {"main": {}}
                self.hub.private[name] = asked.get("visibility") == "private" or bool(asked.get("private"))
        elif "preupload" in parts:
            as_they_are = {"uploadMode": "regular", "shouldIgnore": False, "oid": None}
            self.answer(200, {"files": [{"path": one["path"], **as_they_are} for one in json.loads(body)["files"]]})
        elif "commit" in parts:
            self.commit("/".join(parts[2:4]), body)
        else:
            self.answer(200, {"errors": [], "warnings": []})  # of a card

    def commit(self, repository: str, body: bytes) -> None:
        files, digest = dict(self.hub.revisions[repository]["main"]), hashlib.sha1(body).hexdigest()
        for entry in map(json.loads, body.splitlines()):
            if entry["key"] == "file":
                files[entry["value"]["path"]] = base64.b64decode(entry["value"]["content"])
        self.hub.revisions[repository] |= {"main": files, digest: files}
        address = f"{self.hub.address}/{repository}/commit/{digest}"
        self.answer(200, {"success": True, "commitOid": digest, "commitUrl": address})

    def resolve(self, repository: str, revision: str, name: str) -> None:
        known = self.hub.revisions.get(repository)
        if known is None:
            self.missing("RepoNotFound")
        elif revision not in known:
            self.missing("RevisionNotFound")
        elif name not in known[revision]:
            self.missing("EntryNotFound")
        else:
            data = known[revision][name]
            commit = next(key for key, files in known.items() if files is known[revision] and key != "main")
            self.answer(200, data, {"ETag": f'"{hashlib.sha256(data).hexdigest()}"', "X-Repo-Commit": commit})

    def log_message(self, *_: object) -> None:
        pass


@contextlib.contextmanager
def serve_hub() -> Iterator[FakeHub]:
    """Start a Hub that is empty."""
    hub = FakeHub()
    with started(_Handler, hub) as hub.address:
        yield hub
