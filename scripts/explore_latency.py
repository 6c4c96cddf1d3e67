"""Time from a page's request to its picture, over a real connection, on the built-in generator.

    python scripts/explore_latency.py

Every request moves a slider to a new place, so no picture is a kept one. Prints milliseconds for one sample and for
four.
"""

from __future__ import annotations

import argparse
import http.client
import json
import statistics
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

from directions import Directions, load_generator
from directions.direction_file.format import make_header
from directions.explorer.app import listen, make_app, make_server
from directions.explorer.file import OpenFile, direction_id
from directions.explorer.snippet import Origin


def ask(connection: http.client.HTTPConnection, body: dict[str, object]) -> int:
    """Send a request and read the whole answer."""
    headers = {"Content-Type": "application/json", "X-Directions-Token": "token"}
    connection.request("POST", "/api/image", json.dumps(body), headers)
    answer = connection.getresponse()
    answer.read()
    return answer.status


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--requests", type=int, default=60, help="requests of each kind")
    number = parser.parse_args().requests
    generator = load_generator("builtin")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "axes.safetensors"
        header = make_header(
            generator, path_sizes=[3.0] * 12, classes=[0], truncation=1.0, space=(0, 12), method="none", config={},
            steps=0, seed=0, penalty=None,
        )  # fmt: skip
        Directions(np.eye(12), header).save(path)
        server = make_server(make_app(OpenFile(path), generator, Origin(path), "token"))
        bound = listen("127.0.0.1", 0)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]})
        thread.start()
        connection = http.client.HTTPConnection("127.0.0.1", bound.getsockname()[1])
        identifier, count = direction_id(np.eye(12, dtype=np.float32)[0]), 0
        for samples in (1, 4):
            times = []
            for _ in range(number + 3):
                count += 1
                body = {
                    "client": "measuring", "number": count, "class": 0, "seeds": list(range(samples)), "columns": 2,
                    "moves": {identifier: count / 1000},
                }  # fmt: skip
                start = time.perf_counter()
                assert ask(connection, body) == 200
                times.append(1000 * (time.perf_counter() - start))
            rest = sorted(times[3:])
            print(
                f"{samples} sample{'s' * (samples > 1)}: median {statistics.median(rest):.1f} ms, "
                f"95% within {rest[int(0.95 * len(rest))]:.1f} ms"
            )
        server.should_exit = True
        connection.close()
        thread.join()
        bound.close()


if __name__ == "__main__":
    main()
