"""Fuzz the page of ``directions explore``: thousands of wrong, damaged and hostile requests.

    python scripts/fuzz_explorer.py --examples 5000

Each request must be answered within seconds by a picture, JSON, or one of the page's own files; a refusal must be a
status of 4xx with a sentence, never a failure of ours (5xx), a traceback or another's file; and after all of them the
direction file must be as sound as it was, with the same numbers. The tests run a short version.
"""

from __future__ import annotations

import argparse
import io
import json
import string
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from PIL import Image
from starlette.testclient import TestClient

from directions import Directions, load_directions
from directions.direction_file.format import make_header
from directions.explorer.app import make_app
from directions.explorer.file import OpenFile, direction_id
from directions.explorer.snippet import Origin

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))  # the tests' small generator
from closed import ClosedFormGenerator

TOKEN = "token"
SECONDS = 10.0  # of processor time; on a machine that does something else as well, the clock says less
WALL_SECONDS = 120.0
REFUSALS = {400, 403, 404, 405, 409, 413, 415}
ANSWERS = {200, 204}
LONGEST_MESSAGE = 4000

NUMBERS = st.one_of(
    st.integers(), st.integers(-3, 20), st.floats(), st.sampled_from([10**400, -(10**400), 2**53, 2**64, 1e308, 5e-324])
)
TEXTS = st.one_of(
    st.text(max_size=40),
    st.text(st.characters(categories=["Cs", "Cc", "Cf", "Lo", "So"]), max_size=20),
    st.sampled_from(
        ["<script>alert(1)</script>", "../../etc/passwd", "\u202e", "\ud800", "x" * 5000, "NaN", "__proto__"]
    ),
)
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.one_of(st.none(), st.booleans(), NUMBERS, TEXTS),
    lambda inner: st.one_of(st.lists(inner, max_size=5), st.dictionaries(TEXTS, inner, max_size=5)),
    max_leaves=12,
)


class Target:
    """A page of three directions of a small generator.

    Args:
        folder: Where its file is.
    """

    def __init__(self, folder: Path) -> None:
        generator = ClosedFormGenerator(dim_z=4, resolution=8)
        self.path = folder / "fuzzed.safetensors"
        header = make_header(
            generator, path_sizes=[3.0, 2.0, 1.0], classes="all", truncation=1.0, space=(0, 4), method="none",
            config={}, steps=0, seed=0, penalty=None,
        )  # fmt: skip
        self.matrix = np.eye(4, dtype=np.float32)[:3]
        Directions(self.matrix, header).save(self.path)
        self.ids = [direction_id(row) for row in self.matrix]
        app = make_app(OpenFile(self.path), generator, Origin(self.path), TOKEN)
        self.client = TestClient(app, base_url="http://127.0.0.1:8160")
        self.number = 0
        self.counts: dict[int, int] = {}

    def bodies(self) -> dict[str, dict[str, Any]]:
        """A sound request of each kind."""
        self.number += 1
        view = {"seeds": [1], "class": 0, "truncation": 0.5, "moves": {self.ids[0]: 1.0}, "layers": None}
        return {
            "image": view | {"columns": 1, "format": "png", "client": "client-1", "number": self.number},
            "python": view,
            "animation": view | {"direction": self.ids[1], "frames": 4, "fps": 10},
            "change": {"id": self.ids[2], "name": f"n{self.number}", "note": "", "path_size": 2.0, "starred": True},
        }

    def send(self, method: str, path: str, content: bytes, headers: dict[str, bytes]) -> None:
        """Send a request and check its answer."""
        start, wall_start = time.process_time(), time.perf_counter()
        answer = self.client.request(method, path, content=content, headers=headers)
        taken, wall = time.process_time() - start, time.perf_counter() - wall_start
        status = answer.status_code
        self.counts[status] = self.counts.get(status, 0) + 1
        assert taken < SECONDS, f"{method} {path} took {taken:.1f} s of processor time"
        assert wall < WALL_SECONDS, f"{method} {path} took {wall:.1f} s"
        assert status in REFUSALS | ANSWERS, f"{method} {path} gave {status}: {answer.text[:500]}"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["content-security-policy"].startswith("default-src 'none'")
        if status in REFUSALS and method != "HEAD":
            message = answer.json()["error"]
            assert message, f"{method} {path} gave {status} without a sentence"
            assert len(message) <= LONGEST_MESSAGE, f"{method} {path} gave a message of {len(message)} characters"
            assert "Traceback" not in message
        elif answer.headers.get("content-type", "").startswith("image/") and method == "POST":
            Image.open(io.BytesIO(answer.content)).verify()

    def post(self, where: str, content: bytes) -> None:
        """Send a body as the page does."""
        headers = {"Content-Type": b"application/json", "X-Directions-Token": TOKEN.encode()}
        self.send("POST", f"/api/{where}", content, headers)

    def check_file(self) -> None:
        """The file can be read, and its numbers are what they were."""
        np.testing.assert_array_equal(load_directions(self.path).matrix, self.matrix)


def as_json(value: Any) -> bytes:
    """Write JSON as a program of any kind might: NaN and unpaired surrogates included."""
    return json.dumps(value, allow_nan=True).encode()


def fuzz(examples: int, start: int = 0) -> dict[int, int]:
    """Send requests of four kinds, as many of each.

    Args:
        examples: Requests of each kind.
        start: Seed.

    Returns:
        How often each status was answered.
    """
    thorough = settings(
        max_examples=examples, deadline=None, database=None, phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    kinds = st.sampled_from(["image", "python", "animation", "change"])

    with tempfile.TemporaryDirectory() as folder:
        target = Target(Path(folder))
        fields = st.sampled_from(sorted({key for body in target.bodies().values() for key in body} | {"order", "undo"}))

        @seed(start)
        @thorough
        @given(kinds, st.dictionaries(fields, VALUES, max_size=3), st.sets(fields, max_size=2), st.booleans())
        def almost_right(where: str, changes: dict[str, Any], missing: set[str], known: bool) -> None:
            body = {key: value for key, value in target.bodies()[where].items() if key not in missing}
            if known:  # only fields that the request has, so that the values themselves are looked at
                changes = {key: value for key, value in changes.items() if key in body}
            target.post(where, as_json(body | changes))

        @seed(start)
        @thorough
        @given(kinds, VALUES)
        def any_json(where: str, value: Any) -> None:
            target.post(where, as_json(value))

        @seed(start)
        @thorough
        @given(kinds, st.data())
        def damaged_bytes(where: str, data: st.DataObject) -> None:
            content = bytearray(as_json(target.bodies()[where]))
            for _ in range(data.draw(st.integers(1, 4))):
                content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
            target.post(where, bytes(content[: data.draw(st.integers(0, len(content)))]))

        paths = st.one_of(
            st.text(string.printable.replace("#", "").replace("?", ""), max_size=40),
            st.lists(
                st.sampled_from(["..", "%2e%2e", "page", "api", "explore.js", "etc", "passwd", "%00", "", "."])
            ).map("/".join),
            st.sampled_from(["", "page/explore.css", "api/file", "api/image", "api/change"]),
        )
        values = st.one_of(
            st.binary(max_size=30).map(lambda value: bytes(b for b in value if b not in b"\r\n\0")),
            st.sampled_from(
                [b"127.0.0.1", b"localhost:1", b"evil.example", b"http://127.0.0.1:8160", b"application/json"]
            ),
            st.just(TOKEN.encode()),
        )
        names = st.sampled_from(
            [
                "Host",
                "Origin",
                "X-Directions-Token",
                "Content-Type",
                "Sec-Fetch-Site",
                "Range",
                "Accept-Encoding",
                "Cookie",
            ]
        )

        @seed(start)
        @thorough
        @given(
            st.sampled_from(["GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "TRACE"]),
            paths,
            st.dictionaries(names, values, max_size=3),
            st.binary(max_size=20),
            st.booleans(),
        )
        def any_request(method: str, path: str, headers: dict[str, bytes], content: bytes, trusted: bool) -> None:
            if trusted:
                headers = {"Content-Type": b"application/json", "X-Directions-Token": TOKEN.encode()} | headers
            try:
                target.client.build_request(method, f"http://127.0.0.1/{path}", headers=headers)
            except Exception:  # noqa: BLE001 — what the client itself cannot send
                return
            target.send(method, f"http://127.0.0.1/{path}", content, headers)

        with target.client:
            for part in (almost_right, any_json, damaged_bytes, any_request):
                part()
                target.check_file()
        return target.counts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--examples", type=int, default=3000, help="requests of each of four kinds")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    start = time.perf_counter()
    counts = fuzz(arguments.examples, arguments.seed)
    answered = ", ".join(f"{count} × {status}" for status, count in sorted(counts.items()))
    print(f"{sum(counts.values())} requests to the page in {time.perf_counter() - start:.0f} s: {answered}")


if __name__ == "__main__":
    main()
