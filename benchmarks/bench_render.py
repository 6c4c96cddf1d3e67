"""How fast `directions render` is in each format, beside the generator alone: is the encoder in the way?

    python benchmarks/bench_render.py                             # the built-in, and BigGAN-deep-128's size
    python benchmarks/bench_render.py --target biggan-deep-128    # that alone; random weights, calibrated statistics

The bare generator and each format take turns, on the same samples and directions and with the same batches. Images
that a format needs besides its frames (a GIF's palette is chosen from stills) are counted as images. Processor time is
that of all threads, and of ffmpeg; it says what encoding costs where a busy machine blurs the clock.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from biggan_worker import random_model

from directions.direction_file import Directions
from directions.direction_file.format import make_header
from directions.generators.base import Generator
from directions.generators.biggan_deep import BigGANDeep
from directions.generators.registry import load_generator
from directions.rendering.frames import Scene, strip
from directions.rendering.render import make_plan, render
from directions.settings.render import RenderSettings

OUTPUTS = {"gif": "a.gif", "webp": "a.webp", "mp4": "a.mp4", "strip": "a.png", "gallery": "a"}
SIZES = {"builtin": (4, 4, 12), "biggan-deep-128": (1, 2, 12)}
"""Directions, samples and frames: a few seconds for each format on two quiet cores."""


def large_generator() -> Generator:
    """BigGAN-deep-128 in the package's sizes, with random weights."""
    return BigGANDeep(random_model(128), name="biggan-deep-128 (random weights)", digest="random")


def spent(action: Callable[[], object]) -> tuple[float, float]:
    """Seconds by the clock and of processors, this process's and its children's."""

    def processors() -> float:
        used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        return sum(usage.ru_utime + usage.ru_stime for usage in used)

    started, before = time.perf_counter(), processors()
    action()
    return time.perf_counter() - started, processors() - before


def measure(target: str, repeats: int) -> dict[str, dict[str, float]]:
    """Images a second, processor milliseconds an image, and the share of the bare generator's rate."""
    generator = load_generator("builtin") if target == "builtin" else large_generator()
    rows, samples, frames = SIZES[target]
    settings = {"classes": None, "truncation": 1.0, "space": (0, generator.dim_z), "method": "adam", "config": {}}
    header = make_header(generator, path_sizes=[3.0] * rows, steps=0, seed=0, penalty=None, **settings)
    directions = Directions(np.eye(rows, generator.dim_z), header)
    scene = Scene.draw(directions, generator, RenderSettings(samples=samples, frames=frames), 0)
    places = [strip(frames, 3.0)] * rows

    def bare() -> None:
        for _ in scene.images(range(rows), places):
            pass

    bare()  # What is made on the first call is not counted.
    rates: dict[str, list[tuple[float, float, float]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(repeats):
            for kind, name in OUTPUTS.items():
                chosen = RenderSettings(format=kind, samples=samples, frames=frames)
                out = Path(folder) / name
                images = make_plan(directions, chosen, out).evaluations
                clock, processor = spent(bare)
                bare_rate = rows * samples * frames / clock
                rates.setdefault("bare generator", []).append((bare_rate, processor / rows / samples / frames, 1.0))
                clock, processor = spent(lambda c=chosen, o=out: render(directions, generator, c, out=o, y=0))
                rates.setdefault(kind, []).append((images / clock, processor / images, images / clock / bare_rate))
    medians = {name: [statistics.median(column) for column in zip(*of, strict=True)] for name, of in rates.items()}
    return {
        name: {"images_per_second": rate, "processor_ms": 1000 * processor, "of_bare": share}
        for name, (rate, processor, share) in medians.items()
    }


def main() -> None:
    """Print a table for each target; ``--json`` for machines."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--target", choices=list(SIZES), help="one of the two generators (default: both)")
    parser.add_argument("--repeats", type=int, default=3, help="times each is run, in turn (default: 3)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args()
    targets = [arguments.target] if arguments.target else list(SIZES)
    results = {target: measure(target, arguments.repeats) for target in targets}
    if arguments.json:
        print(json.dumps(results))
        return
    machine = f"{os.cpu_count()} CPU cores, {platform.machine()}, torch {torch.__version__}"
    for target, formats in results.items():
        rows, samples, frames = SIZES[target]
        print(f"{target}, {rows} × {samples} images at {frames} places, {machine}, medians of {arguments.repeats}:")
        for name, result in formats.items():
            print(
                f"  {name:14} {result['images_per_second']:7.2f} images/s, {result['of_bare']:4.0%} of the generator's"
                f"; {result['processor_ms']:6.1f} ms of a processor an image"
            )


if __name__ == "__main__":
    main()
