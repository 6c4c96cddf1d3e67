"""The page on a generator that is small and known, and a client that speaks as the page does."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from starlette.testclient import TestClient

from directions.explorer.app import make_app
from directions.explorer.file import OpenFile, direction_id
from directions.explorer.snippet import Origin

TOKEN = "t0ken"


@dataclass
class Page:
    """A page of one file, and what it is of."""

    client: TestClient
    generator: Any
    path: Path
    ids: list[str]
    number: int = 0

    def view(self, **changes: Any) -> dict[str, Any]:
        """A view of one sample."""
        return {"seeds": [0], "class": 0, "moves": {}} | changes

    def image(self, **changes: Any) -> Any:
        """Ask for the picture of a view."""
        self.number += 1
        return self.post("image", {"client": "c" * 8, "number": self.number} | self.view(**changes))

    def post(self, where: str, body: Any) -> Any:
        """Send a request as the page does."""
        headers = {"X-Directions-Token": TOKEN, "Content-Type": "application/json"}
        return self.client.post(f"/api/{where}", content=json.dumps(body), headers=headers)

    def file(self) -> dict[str, Any]:
        """What the page is told of the file."""
        return self.client.get("/api/file").json()


def make_page(generator: Any, path: Path) -> Page:
    """Put a page together for a file that is there; to be used within its client."""
    opened = OpenFile(path, lambda found: found.require_fits(generator))
    app = make_app(opened, generator, Origin(path), TOKEN)
    ids = [direction_id(row) for row in opened.read().directions.matrix]
    return Page(TestClient(app, base_url="http://127.0.0.1:8160"), generator, path, ids)
