"""Time a ProGAN generator's step with the Hessian Penalty: ours against the textbook, and against no penalty at all.

Textbook: 2k + 1 separate forwards, as the formula is written. Ours: 2k evaluations in one batch, which stop at the last
activation that is looked at. Both see the same latents and signs and must find the same penalty and gradient. The steps
are run in turn, in one process. Also: how many images a second the data path delivers; and where a whole step of
``gan train`` at 16 pixels goes, in CPU time of one thread, with kimg an hour beside those without what makes it faster:
weights with their channels last, and Adam in one kernel.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from directions.gan.data import ImageData
from directions.gan.progan import GrowingGAN
from directions.gan.trainer import Trainer
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


def time_training(
    penalty: str, repeats: int, channels: tuple[int, ...], batch: int, *, slow: bool = False
) -> dict[str, float]:
    """CPU seconds of a step of ``gan train`` at 16 pixels and of its parts.

    Args:
        penalty: ``"none"`` or ``"hessian"``.
        repeats: Number of times that eight steps are run; the fastest counts.
        channels: Of both networks, at 4, 8 and 16 pixels.
        batch: Images a step.
        slow: Without channels last and the fused Adam.

    Returns:
        Seconds by the name of the part; ``step`` is the whole.
    """
    images = np.random.default_rng(0).integers(0, 256, (1000, 16, 16, 3), np.uint8)
    config = TrainConfig(
        data="none", resolution=16, channels=channels, batch_size=batch, stable_kimg=0, fade_kimg=0, r1_every=4,
        loss="nonsaturating", penalty=penalty,
    )  # fmt: skip
    trainer = Trainer(config, ImageData(images, "bench"))
    for name, optimiser in trainer.optimisers.items() if slow else ():
        parameters = optimiser.param_groups[0]["params"]
        for parameter in parameters:
            parameter.data = parameter.data.contiguous()
        trainer.optimisers[name] = torch.optim.Adam(parameters, 1e-3, (0.0, 0.99), foreach=False)
    parts: Counter[str] = Counter()

    def timed(owner: Any, name: str, part: str) -> None:
        call = getattr(owner, name)

        def wrapped(*arguments: Any, **more: Any) -> Any:
            started = time.process_time()
            try:
                return call(*arguments, **more)
            finally:
                parts[part] += time.process_time() - started

        setattr(owner, name, wrapped)

    timed(ImageData, "read", "data")
    timed(trainer.arch, "discriminator_terms", "discriminator, forwards")
    timed(trainer.arch, "_squared_slopes", "R1, in the former")
    timed(trainer.arch, "generator_terms", "generator, forwards")
    timed(trainer.arch, "penalty", "Hessian Penalty, in the former")
    timed(trainer, "_descend", "backwards, and Adam")
    timed(trainer, "_average", "average")
    for _ in range(4):
        trainer.train_step()
    best: dict[str, float] = {"step": float("inf")}
    for _ in range(repeats):
        parts.clear()
        started = time.process_time()
        for _ in range(8):
            trainer.train_step()
        whole = (time.process_time() - started) / 8
        if whole < best["step"]:
            best = {"step": whole} | {part: value / 8 for part, value in parts.items()}
    return best


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
    parser.add_argument("--channels", default="48,48,32", help="channels at 4, 8 and 16 pixels, for gan train's step")
    parser.add_argument("--training-only", action="store_true", help="time gan train's step at 16 pixels, nothing else")
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args()
    torch.set_flush_denormal(True)
    torch.set_num_threads(1)
    channels, batch = tuple(int(width) for width in arguments.channels.split(",")), arguments.batch_size
    training = {name: time_training(name, arguments.repeats, channels, batch) for name in ("none", "hessian")}
    before = {name: time_training(name, arguments.repeats, channels, batch, slow=True)["step"] for name in training}
    torch.set_num_threads(os.cpu_count() or 1)
    sizes = () if arguments.training_only else tuple(CHANNELS)
    steps = [time_step(resolution, batch, arguments.repeats) for resolution in sizes]
    result = {
        "machine": f"{os.cpu_count()} CPU cores, {platform.machine()}, torch {torch.__version__}",
        "steps": steps,
        "training_16": training,
        "training_16_before": before,
        "images_a_second": {size: time_data(size, batch, arguments.repeats) for size in sizes},
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
    for name, seconds_of in training.items():
        kimg = {"before": 3.6 * batch / before[name], "now": 3.6 * batch / seconds_of["step"]}
        print(f"  gan train, 16 pixels, batch {batch}, channels {channels}, penalty {name}, one thread:", end=" ")
        print(f"{kimg['now']:.0f} kimg an hour, {kimg['before']:.0f} without channels last and a fused Adam")
        for part, value in seconds_of.items():
            print(f"    {part:<32}{1000 * value:8.2f} ms")
    for size, rate in result["images_a_second"].items():
        print(f"  data, {size} pixels: {rate:,.0f} images a second")


if __name__ == "__main__":
    main()
