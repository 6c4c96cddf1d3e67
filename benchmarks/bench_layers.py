"""Time one step of discovery on some layers against all of them, in turn, in one process.

On the built-in generator, or on BigGAN-deep-128 at full size with random weights (times do not depend on them). What
lies before the first edited layer is computed once a sample instead of 2k times, and without a gradient. Beside the
time, which is the processor's (so that other programs matter less), it counts the operations, which do not depend on
the machine.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch.utils.flop_counter import FlopCounterMode

from directions.discovery import penalty_and_gradient
from directions.generators.base import Generator
from directions.generators.biggan_deep import BigGANDeep
from directions.generators.registry import load_generator
from directions.generators.weights import PUBLISHED
from directions.search import Search, draw_batch
from directions.settings.discover import DiscoverConfig

# The tests' random models behave as trained ones do.
sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from biggan_models import random_model

CHOICES = ("all", "coarse", "mid", "fine")


def main() -> None:
    """Print the medians and their ratios; ``--json`` for machines."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--generator", choices=("builtin", "biggan-deep-128"), default="builtin")
    parser.add_argument("--batch-size", type=int, default=4, help="samples a step")
    parser.add_argument("--repeats", type=int, default=5, help="times each is run, in turn")
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args()

    generator = make_generator(arguments.generator)
    steps = {layers: make_step(generator, layers, arguments.batch_size) for layers in CHOICES}
    work = {layers: operations(step) for layers, step in steps.items()}
    rounds = [{layers: seconds(step) for layers, step in steps.items()} for _ in range(arguments.repeats)]
    result = {
        "machine": f"{os.cpu_count()} CPU cores, {platform.machine()}, torch {torch.__version__}",
        "generator": arguments.generator,
        "batch_size": arguments.batch_size,
        "layers": {
            layers: {
                "range": str(Search.resolve(generator, DiscoverConfig(layers=layers)).layers or "all"),
                "seconds": statistics.median(times[layers] for times in rounds),
                "times_as_fast": statistics.median(times["all"] / times[layers] for times in rounds),
                "gigaflop": work[layers] / 1e9,
                "times_less_work": work["all"] / work[layers],
            }
            for layers in CHOICES
        },
    }
    if arguments.json:
        print(json.dumps(result))
        return
    print(f"One step on {arguments.generator}, batch {arguments.batch_size}, {result['machine']}:")
    print(f"  {'layers':6}  {'range':>5}  {'processor s':>11}  {'of all':>7}  {'GFLOP':>7}  {'of all':>7}")
    for layers, row in result["layers"].items():
        print(
            f"  {layers:6}  {row['range']:>5}  {row['seconds']:>11.3f}  {'÷':>2}{row['times_as_fast']:>5.2f}  "
            f"{row['gigaflop']:>7.1f}  {'÷':>2}{row['times_less_work']:>5.2f}"
        )
    print(f"(medians of {arguments.repeats} rounds)")


def make_generator(name: str) -> Generator:
    """Load the built-in generator, or make one of the published architecture with random weights."""
    if name == "builtin":
        return load_generator(name)
    return BigGANDeep(random_model(**PUBLISHED[name].config), name=name, digest="").float()


def make_step(generator: Generator, layers: str, batch_size: int) -> Callable[[], object]:
    """Return what a step does but for Adam: the penalty of a batch and its gradient."""
    config = DiscoverConfig().replace(layers=layers, batch_size=batch_size)
    search = Search.resolve(generator, config)
    batch = draw_batch(generator, config, search, step=1)
    Q = search.space.embed(torch.eye(search.space.size))
    return lambda: penalty_and_gradient(generator, Q, batch, config)


def seconds(action: Callable[[], object]) -> float:
    """How much time of the processor a call takes, of all threads together."""
    started = time.process_time()
    action()
    return time.process_time() - started


def operations(action: Callable[[], object]) -> int:
    """How many floating-point operations the convolutions, products and attention of a call take, forward and back."""
    with FlopCounterMode(display=False) as counter:
        action()
    return counter.get_total_flops()


if __name__ == "__main__":
    main()
