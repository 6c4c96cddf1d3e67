"""Time a ProGAN generator's step with the Hessian Penalty: ours against the textbook, and against no penalty at all.

Textbook: 2k + 1 separate forwards, as the formula is written. Ours: 2k evaluations in one batch, which stop at the last
activation that is looked at. Both see the same latents and signs and must find the same penalty and gradient. The steps
are run in turn, in one process. Also: how many images a second the data path delivers.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from directions.gan.data import ImageData
from directions.gan.progan import GrowingGAN
from directions.penalty import rademacher
from directions.sampling import derived_rng
from directions.settings.train import Stage, TrainConfig

CHANNELS = {32: (64, 64, 48, 32), 64: (64, 64, 64, 48, 32)}


def seconds(action: Callable[[], object]) -> float:
    """How long a call takes."""
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


def time_step(resolution: int, batch: int, repeats: int) -> dict[str, Any]:
    """Time a generator's step at a resolution."""
    config = TrainConfig(
        data="none", resolution=resolution, channels=CHANNELS[resolution], penalty="hessian", kimg=1,
        stable_kimg=(0,), fade_kimg=(0,),
    )  # fmt: skip
    gan = GrowingGAN(config, torch.device("cpu"))
    generator = gan.generator.to(memory_format=torch.channels_last)
    discriminator = gan.discriminator.to(memory_format=torch.channels_last).requires_grad_(False)
    stage = Stage(generator.levels - 1, 1.0, batch)
    z = torch.randn(batch, config.dim_z, generator=derived_rng(0, purpose="bench"))
    probes = rademacher((config.num_probes, *z.shape), derived_rng(1, purpose="bench"))
    layers = config.activations()[0]

    def plain() -> None:
        generator.zero_grad()
        (-discriminator(generator(z)).mean()).backward()

    def textbook() -> Tensor:
        centre = generator.activations(z, layers)
        second = []
        for v in config.epsilon * probes:
            sides = zip(generator.activations(z + v, layers), centre, generator.activations(z - v, layers), strict=True)
            second.append([(plus - 2 * middle + minus) / config.epsilon**2 for plus, middle, minus in sides])
        return torch.stack([torch.stack(layer).var(dim=0).max() for layer in zip(*second, strict=True)]).sum()

    def ours() -> Tensor:
        return gan.penalty(z, probes, stage)

    def step(penalty: Callable[[], Tensor]) -> None:
        plain()
        (config.penalty_weight * penalty()).backward()

    expected, got = textbook(), ours()
    torch.testing.assert_close(got, expected, rtol=1e-2, atol=0)
    times: dict[str, list[float]] = {"plain": [], "textbook": [], "ours": []}
    for _ in range(repeats + 1):
        times["plain"].append(seconds(plain))
        times["textbook"].append(seconds(lambda: step(textbook)))
        times["ours"].append(seconds(lambda: step(ours)))
    kept = {name: values[1:] for name, values in times.items()}  # the first of each warms up
    medians = {name: statistics.median(values) for name, values in kept.items()}
    return {
        "resolution": resolution,
        "batch_size": batch,
        **{f"{name}_seconds": value for name, value in medians.items()},
        "speed_up": statistics.median(t / o for t, o in zip(kept["textbook"], kept["ours"], strict=True)),
        "over_plain": statistics.median(o / p for o, p in zip(kept["ours"], kept["plain"], strict=True)),
    }


def time_data(resolution: int, batch: int, repeats: int) -> float:
    """Images a second from a memory-mapped array to batches in [-1, 1]."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "images.npy"
        np.save(path, np.zeros((5000, resolution, resolution, 3), np.uint8))
        data = ImageData(np.load(path, mmap_mode="r"), "bench")
        draws = [torch.randint(len(data), (batch,), generator=derived_rng(n, purpose="bench")) for n in range(200)]

        def read() -> None:
            for indices in draws:
                data.read(indices)

        read()
        return len(draws) * batch / statistics.median(seconds(read) for _ in range(repeats))


def main() -> None:
    """Print the medians and their ratios; ``--json`` for machines."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--repeats", type=int, default=7, help="times each is run, in turn")
    parser.add_argument("--batch-size", type=int, default=16, help="latents in a step")
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args()
    torch.set_flush_denormal(True)
    steps = [time_step(resolution, arguments.batch_size, arguments.repeats) for resolution in CHANNELS]
    result = {
        "machine": f"{os.cpu_count()} CPU cores, {platform.machine()}, torch {torch.__version__}",
        "steps": steps,
        "images_a_second": {size: time_data(size, arguments.batch_size, arguments.repeats) for size in CHANNELS},
    }
    if arguments.json:
        print(json.dumps(result))
        return
    print(f"A ProGAN generator's step, {result['machine']}:")
    for step in steps:
        print(f"  {step['resolution']} pixels, batch {step['batch_size']}:")
        for name in ("plain", "textbook", "ours"):
            print(f"    {name:<9}{step[f'{name}_seconds']:.3f} s")
        print(f"    ours is {step['speed_up']:.2f} times as fast as the textbook, {step['over_plain']:.2f} plain steps")
    for size, rate in result["images_a_second"].items():
        print(f"  data, {size} pixels: {rate:,.0f} images a second")


if __name__ == "__main__":
    main()
