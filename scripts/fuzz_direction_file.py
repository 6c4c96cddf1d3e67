"""Damage direction files in every way, and see that reading one gives an error in words each time.

Four kinds of damage: every byte of a small file replaced by every other; random cuts, insertions, swaps and splices;
files of other formats, damaged too; and headers with wrong or hostile entries under a right checksum, which must be
refused, or be sound through and through. Anything but a ``UserError`` is a fault: another exception, a wrong answer,
more than two seconds, or more than a gigabyte of memory. Prints figures; keeps the files that were
not handled, and exits 1 if there are any.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import io
import pickle
import random
import resource
import signal
import struct
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from safetensors.numpy import save

from directions.direction_file import Directions, load_directions
from directions.direction_file.format import as_json, make_header, pack
from directions.errors import UserError

SECONDS = 2.0
MEMORY = 2**30
KINDS = ("bytes", "mutations", "formats", "headers")
REFUSED, SOUND, SAME = "refused", "sound", "unchanged"


def small_directions() -> Directions:
    """Three directions with everything that a header can hold."""
    generator = SimpleNamespace(name="toy", digest="ab" * 32, dim_z=4, resolution=8)
    header = make_header(
        generator,
        path_sizes=[3.0, 2.5, 1e-05],
        names=["hue", "größe", "d2"],
        activeness=[0.5, None, 0.0],
        penalty_shares=[0.25, 0.5, None],
        classes=[0, 2],
        truncation=0.5,
        space=(0, 4),
        method="adam",
        config={"epsilon": 0.1, "nested": {"list": [1, 2.5, None, True, "x"]}},
        steps=400,
        seed=0,
        penalty={"before": 20.0, "after": 14.0},
        layers=[1, 2],
        source={"file": "x.pt"},
    )
    matrix = np.linalg.qr(np.random.default_rng(0).standard_normal((4, 3)))[0].T
    return Directions(matrix, header).annotated(1, note="two\nlines", starred=True).reordered([2])


def every_byte(good: bytes, rng: random.Random, cases: int | None) -> Iterator[bytes]:
    """Each byte replaced by each other value, or a random part of these."""
    places = [(position, change) for position in range(len(good)) for change in range(1, 256)]
    for position, change in places if cases is None else rng.sample(places, min(cases, len(places))):
        data = bytearray(good)
        data[position] ^= change
        yield bytes(data)


def mutated(good: bytes, rng: random.Random, cases: int) -> Iterator[bytes]:
    """Several of: bits flipped, pieces cut, doubled, swapped, filled; the end cut; the length before it changed."""
    for _ in range(cases):
        data = bytearray(good)
        for _ in range(rng.choice([1, 1, 1, 2, 3, 8])):
            start, stop = sorted(rng.randrange(len(data) + 1) for _ in range(2))
            piece = data[start:stop]
            kind = rng.randrange(8)
            if kind == 0 and data:
                data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
            elif kind == 1:
                del data[start:stop]
            elif kind == 2:
                data[start:start] = piece
            elif kind == 3:
                data[start:stop] = rng.randbytes(len(piece))
            elif kind == 4:
                data[start:stop] = bytes([rng.choice(b'\0 {}[]",:0-9ex\xff')]) * len(piece)
            elif kind == 5:
                del data[start:]
            elif kind == 6:
                data[:8] = struct.pack("<Q", rng.choice([0, 1, len(data), 2**31, 2**63, rng.randrange(2**64)]))
            else:
                data[start:start] = rng.randbytes(rng.randrange(1, 40))
            data = data or bytearray(b"\0")
        yield bytes(data)


def other_formats(good: bytes, rng: random.Random, cases: int) -> Iterator[bytes]:
    """Files that are something else, whole, cut short, or with a direction file stuck to them."""
    array = io.BytesIO()
    np.save(array, np.eye(4))
    deep = b'{"a":' * 100_000
    wholes = [
        b"",
        array.getvalue(),
        pickle.dumps(np.eye(4), protocol=2),
        pickle.dumps(np.eye(4), protocol=5),
        save({"conv.weight": np.ones((4, 4), np.float32)}),
        save({"directions": np.eye(4, dtype=np.float32)}, {"directions": "[" * 100_000}),
        save({"directions": np.eye(4, dtype=np.float32)}, {"directions": '{"seed":' + "9" * 10_000 + "}"}),
        save({"directions": np.eye(4, dtype=np.float32)}, {"directions": '{"seed":1e999}', "other": "x"}),
        struct.pack("<Q", len(deep)) + deep,
        struct.pack("<Q", 7_000_000) + b"{" + b"[]," * 2_500_000,
        b"PK\x03\x04" + rng.randbytes(200),
        b"<html>" + rng.randbytes(200),
        b'{"directions": []}',
        rng.randbytes(4096),
    ]
    for _ in range(cases):
        data = rng.choice(wholes)
        cut = rng.choice([len(data), rng.randrange(len(data) + 1)])
        tail = rng.choice([b"", b"", good[rng.randrange(len(good)) :]])
        yield data[:cut] + tail


_CHANGE = {"time": "", "tool_version": "", "what": "", "before": {"order": "x"}}
VALUES: list[Any] = [
    None, True, False, 0, 1, -1, 2, 3, 2**63, -(2**70), 0.0, -0.5, 1e308, 1e-320,
    "", "x", "12", "a\x1b[31m", "\u202e", "x" * 5000, "all", "d2",
    [], [0], [0, 1], [1, 0, 2], [2, 2, 2], list(range(50)), [[]], [None], [-1], [0, 9], ["x"],
    {}, {"name": "x"}, {"before": None}, {"directions": {"0": {"name": 3}}}, [_CHANGE],
]  # fmt: skip


def wrong_headers(directions: Directions, rng: random.Random, cases: int) -> Iterator[bytes]:
    """Some entries of the header replaced, removed or added anywhere, or rows of the matrix changed; checksum right."""
    for _ in range(cases):
        header, matrix = directions.header, directions.matrix.copy()
        for _ in range(rng.choice([1, 1, 2, 4])):
            node: Any = header
            while True:
                keys = list(node) if isinstance(node, dict) else list(range(len(node)))
                key = rng.choice(keys) if keys else None
                inner = node[key] if keys else None
                if isinstance(inner, dict | list) and inner and rng.random() < 0.7:
                    node = inner
                    continue
                break
            kind = rng.randrange(4)
            if kind == 0 and keys:
                del node[key]
            elif kind == 1 and isinstance(node, dict):
                name = rng.choice(["name", "order", "joint", "layers", "x", "sha256"])
                node[name] = copy.deepcopy(rng.choice(VALUES))
            elif keys:
                node[key] = copy.deepcopy(rng.choice(VALUES))
        if rng.random() < 0.1:
            row = rng.randrange(len(matrix))
            matrix[row] = rng.choice([0.0, np.nan, np.inf, 1e30, matrix[0] + 1e-3, matrix[row] * (1 + 1e-5)])
        if isinstance(header, dict):
            header.pop("sha256", None)
            yield pack(matrix, header)


def judge(path: Path, original: Directions, *, may_be_sound: bool) -> str:
    """Read a file; return the outcome, or raise whatever is wrong."""
    try:
        found = load_directions(path)
    except UserError as error:
        message = str(error)
        found = None
    if found is None:
        assert message, "the message is empty"
        assert message.isprintable(), f"the message controls the terminal: {message!r}"
        return REFUSED
    if found.header == original.header and np.array_equal(found.matrix, original.matrix):
        return SAME
    assert may_be_sound, "a damaged file was read as if it were not"
    check_sound(found)
    return SOUND


def check_sound(found: Directions) -> None:
    """Use everything that a program would use of a file; what is allowed to be there must work."""
    np.testing.assert_allclose(found.matrix @ found.matrix.T, np.eye(len(found)), atol=1e-3)
    assert len({*found.names}) == len(found) == len(found.path_sizes) == len(found.notes) == len(found.activeness)
    assert sorted(found.order) == list(range(len(found)))
    assert all(found.index(name) == index for index, name in enumerate(found.names))
    assert all(size > 0 for size in found.path_sizes)
    _ = (repr(found), found.generator, found.layers, found.history, found.hidden, found.starred, list(found))
    found.move(np.zeros((2, found.dim_z)), [*range(len(found))], [1.0] * len(found))
    header = as_json(found.header)
    assert Directions(found.matrix, header).header == header
    with contextlib.suppress(UserError):
        found.undone()
    assert found.annotated(0, note="changed").undone().header["directions"] == header["directions"]


def fuzz(
    cases: dict[str, int | None], *, seed: int, folder: Path, faults: Path | None = None
) -> dict[str, Counter[str]]:
    """Try all kinds of damage.

    Args:
        cases: How many of each kind; ``None`` for all there are (``bytes`` only).
        seed: Of everything random.
        folder: Where to write the files to be read.
        faults: Where to keep files that were not handled rightly; ``None`` raises at the first one instead.

    Returns:
        For each kind how often each outcome occurred.
    """
    original = small_directions()
    good = pack(original.matrix, original.header)
    smallest = original[:1]
    kinds: dict[str, Callable[[random.Random, Any], Iterator[bytes]]] = {
        "bytes": lambda rng, number: every_byte(pack(smallest.matrix, smallest.header), rng, number),
        "mutations": lambda rng, number: mutated(good, rng, number),
        "formats": lambda rng, number: other_formats(good, rng, number),
        "headers": lambda rng, number: wrong_headers(original, rng, number),
    }
    path = folder / "damaged.safetensors"
    outcomes: dict[str, Counter[str]] = {}
    for kind, number in cases.items():
        outcomes[kind] = Counter()
        for data in kinds[kind](random.Random(f"{kind} {seed}"), number):
            path.write_bytes(data)
            signal.setitimer(signal.ITIMER_REAL, SECONDS)
            try:
                outcome = judge(path, original, may_be_sound=kind == "headers")
            except Exception as error:
                if faults is None:
                    raise
                faults.mkdir(parents=True, exist_ok=True)
                outcome = f"FAULT {type(error).__name__}: {str(error)[:80]}"
                (faults / f"{kind}-{sum(outcomes[kind].values())}.safetensors").write_bytes(data)
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
            outcomes[kind][outcome] += 1
    return outcomes


def too_slow(number: int, frame: object) -> None:
    """What the timer does."""
    raise TimeoutError(f"reading took more than {SECONDS:g} seconds")


def main(argv: list[str] | None = None) -> int:
    """Fuzz, print figures; 1 if there were faults."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--cases", type=int, default=20_000, help="cases of each random kind")
    parser.add_argument("--bytes", type=int, help="cases of replaced bytes, drawn at random", default=None)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--faults", type=Path, default=Path("outputs/fuzz"), help="where to keep what was not handled")
    arguments = parser.parse_args(argv)
    if arguments.cases < 1 or (arguments.bytes is not None and arguments.bytes < 1):
        parser.error("--cases and --bytes must be at least 1.")
    signal.signal(signal.SIGALRM, too_slow)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, resource.RLIM_INFINITY))
    cases: dict[str, int | None] = {
        "bytes": arguments.bytes,
        "mutations": arguments.cases,
        "formats": arguments.cases // 4,
    }
    cases["headers"] = arguments.cases
    faulty = total = 0
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        for kind, number in cases.items():
            started = time.perf_counter()
            counts = fuzz({kind: number}, seed=arguments.seed, folder=Path(folder), faults=arguments.faults)[kind]
            seconds, tried = time.perf_counter() - started, sum(counts.values())
            said = ", ".join(f"{outcome} {count}" for outcome, count in counts.most_common())
            print(f"{kind}: {tried} cases in {seconds:.0f} s: {said}", flush=True)
            faulty += sum(count for outcome, count in counts.items() if outcome.startswith("FAULT"))
            total += tried
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"all: {total} cases in {time.perf_counter() - began:.0f} s, {faulty} faults, at most {peak:.0f} MiB of memory"
    )
    return int(faulty > 0)


if __name__ == "__main__":
    sys.exit(main())
