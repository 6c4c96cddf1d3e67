"""Time what the page waits for, over a real connection: moved sliders, and the first screen of previews.

    python scripts/explore_latency.py

Pictures are of the built-in generator; every request moves a slider to a new place, so none is a kept one. Previews are
of 128 directions of a generator of 128 pixels that makes 50 images a second, asked for as the page does: one at a time,
after the first picture. Prints milliseconds for one sample and four, seconds for 12 previews (a screen) and for all,
and how much memory they take in the page.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from directions import Directions, load_generator
from directions.direction_file.format import make_header
from directions.explorer.app import listen, make_app, make_server
from directions.explorer.file import OpenFile, direction_id
from directions.explorer.snippet import Origin

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))  # the tests' small generator
from closed import ClosedFormGenerator

SECONDS_AN_IMAGE = 0.02
SCREEN = 12


class Slow(ClosedFormGenerator):
    """Takes as long for an image as a generator that makes 50 a second; it is noise, of which files are largest."""

    def __call__(self, z: Any, *arguments: Any, **settings: Any) -> Tensor:
        """Wait, and return (n, 3, height, width) images."""
        time.sleep(len(z) * SECONDS_AN_IMAGE)
        return 2 * torch.rand(1, 3, self.resolution, self.resolution).expand(len(z), -1, -1, -1) - 1


@contextlib.contextmanager
def page_of(generator: Any, ndirs: int) -> Iterator[Callable[[str, dict[str, Any]], bytes]]:
    """Serve a page of axes of z; yields what asks it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "axes.safetensors"
        header = make_header(
            generator, path_sizes=[3.0] * ndirs, classes=[0], truncation=1.0, space=(0, generator.dim_z), method="none",
            config={}, steps=0, seed=0, penalty=None,
        )  # fmt: skip
        Directions(np.eye(ndirs, generator.dim_z), header).save(path)
        server = make_server(make_app(OpenFile(path), generator, Origin(path), "token"))
        bound = listen("127.0.0.1", 0)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]})
        thread.start()
        connection = http.client.HTTPConnection("127.0.0.1", bound.getsockname()[1])
        count = 0

        def ask(what: str, body: dict[str, Any]) -> bytes:
            nonlocal count
            count += 1
            if what == "image":
                body = {"client": "measuring", "number": count, "class": 0, "columns": 2} | body
            headers = {"Content-Type": "application/json", "X-Directions-Token": "token"}
            connection.request("POST", f"/api/{what}", json.dumps(body), headers)
            answer = connection.getresponse()
            content = answer.read()
            assert answer.status == 200, content
            return content

        try:
            yield ask
        finally:
            connection.close()
            server.should_exit = True
            thread.join()
            bound.close()


def axis(number: int, dim_z: int) -> str:
    """The id of an axis of z."""
    return direction_id(np.eye(dim_z, dtype=np.float32)[number])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--requests", type=int, default=60, help="requests of each kind")
    number = parser.parse_args().requests
    with page_of(load_generator("builtin"), 12) as ask:
        for samples in (1, 4):
            times = []
            for count in range(number + 3):
                start = time.perf_counter()
                ask("image", {"seeds": list(range(samples)), "moves": {axis(0, 12): (count + 1) / 1000}})
                times.append(1000 * (time.perf_counter() - start))
            rest = sorted(times[3:])
            print(
                f"{samples} sample{'s' * (samples > 1)}: median {statistics.median(rest):.1f} ms, "
                f"95% within {rest[int(0.95 * len(rest))]:.1f} ms"
            )
    with page_of(Slow(dim_z=128, resolution=128), 128) as ask:
        start = time.perf_counter()
        ask("image", {"seeds": [0, 1, 2, 3]})
        sizes, seconds = [], []
        for direction in range(128):
            sizes.append(len(ask("preview", {"id": axis(direction, 128)})))
            seconds.append(time.perf_counter() - start)
        size = sum(sizes) / 2**20
        print(f"previews: {SCREEN} after {seconds[SCREEN - 1]:.1f} s, all after {seconds[-1]:.1f} s; {size:.2f} MiB")


if __name__ == "__main__":
    main()
