"""How wrong the penalty and its gradient are in each precision, as epsilon varies: the table of docs/precision.md.

A step's penalty and gradient by A on fixed samples, in float32, bf16 (autocast) and, on a GPU, TF32, against float64:
on the built-in generator, and on a BigGAN-deep-128 of a quarter of the width with random, calibrated weights. Beside
them stands how much the gradient changes from one step's samples to the next's.
"""

from __future__ import annotations

import argparse
import json
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from directions.basis import gram_schmidt, initial_matrix
from directions.discovery import penalty_and_gradient, prepare_steps
from directions.generators.biggan_deep import BigGANDeep
from directions.generators.frozen import FrozenBigGAN
from directions.generators.registry import load_generator
from directions.sampling import Points, derived_rng
from directions.search import Batch, Search, draw_batch
from directions.settings.discover import DiscoverConfig

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
from biggan_worker import random_model

EPSILONS = (0.01, 0.03, 0.1, 0.3, 1.0)


def generators(width: int, only: str | None) -> dict[str, tuple[FrozenBigGAN, int]]:
    """The generators, each with the samples of a step."""
    found: dict[str, tuple[FrozenBigGAN, int]] = {}
    if only != "biggan":
        built_in = load_generator("builtin")
        assert isinstance(built_in, FrozenBigGAN)
        found["built-in generator"] = (built_in, 16)
    if only != "builtin":
        middle = BigGANDeep(random_model(width), name="biggan-deep-128", digest="0" * 64)
        found[f"BigGAN-deep-128, channel width {width}"] = (middle, 4)
    return found


def as_type(batch: Batch, dtype: torch.dtype) -> Batch:
    """The same samples in other numbers."""
    return Batch(Points(batch.points.z.to(dtype), batch.points.y), batch.w.to(dtype), batch.probes.to(dtype))


def gradients(
    generator: FrozenBigGAN, config: DiscoverConfig, batches: Sequence[Batch], dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    """Penalty of each batch, (batches,), and its gradient by A, (batches, ndirs · size), as float64."""
    search = Search.resolve(generator, config)
    generator.to(dtype)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that bf16 loses digits is what is to be measured
        prepare_steps(generator, config)
    start = initial_matrix(search.ndirs, search.space.size, "random", derived_rng(0, purpose="precision"))
    A = start.to(dtype).to(generator.device).requires_grad_()
    found = []
    for batch in batches:
        Q = search.space.embed(gram_schmidt(A))
        penalty, gradient = penalty_and_gradient(generator, Q.detach(), as_type(batch, dtype), config)
        found.append((penalty, torch.autograd.grad(Q, A, gradient)[0].double().flatten().cpu()))
    penalties, all_gradients = zip(*found, strict=True)
    return torch.tensor(penalties, dtype=torch.float64), torch.stack(all_gradients)


def measure(
    generator: FrozenBigGAN, batch_size: int, steps: int, precisions: Sequence[str], epsilons: Sequence[float]
) -> list[dict[str, Any]]:
    """Errors for each epsilon and precision."""
    rows = []
    for epsilon in epsilons:
        config = DiscoverConfig(method="adam", batch_size=batch_size, epsilon=epsilon)
        search = Search.resolve(generator, config)
        generator.float()
        batches = [draw_batch(generator, config, search, step) for step in range(1, steps + 1)]
        exact, true = gradients(generator, config, batches, torch.float64)
        noise = (true - true.mean(0)).norm(dim=1).mean() / true.mean(0).norm()
        for precision in precisions:
            penalties, found = gradients(generator, config.replace(precision=precision), batches, torch.float32)
            mean, true_mean = found.mean(0), true.mean(0)
            rows.append({
                "epsilon": epsilon,
                "precision": precision,
                "penalty": float(exact.mean()),
                "penalty_error": float((penalties / exact - 1).mean()),
                "gradient_error": float(((found - true).norm(dim=1) / true.norm(dim=1)).mean()),
                "mean_gradient_error": float((mean - true_mean).norm() / true_mean.norm()),
                "sampling": float(noise),
            })  # fmt: skip
            print(json.dumps(rows[-1]), file=sys.stderr, flush=True)
    return rows


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Markdown."""
    heads = [
        "ε",
        "precision",
        "penalty (float64)",
        "error of the penalty",
        "of a step's gradient",
        "of the mean gradient",
        "steps' gradients differ from their mean by",
    ]
    lines = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    lines += [
        f"| {row['epsilon']:g} | {row['precision']} | {row['penalty']:.3g} | {row['penalty_error']:+.2g} | "
        f"{row['gradient_error']:.2g} | {row['mean_gradient_error']:.2g} | {row['sampling']:.2g} |"
        for row in rows
    ]
    return "\n".join(lines)


def main() -> None:
    """Measure, print, and write where documents are; the text around the table is in the page itself."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--width", type=int, default=32, help="channel width of the BigGAN-deep-128")
    parser.add_argument("--steps", type=int, default=6, help="steps' samples to measure on")
    parser.add_argument("--epsilons", nargs="+", type=float, default=list(EPSILONS), help="steps of the difference")
    parser.add_argument("--only", choices=("builtin", "biggan"), help="one of the two generators")
    parser.add_argument("--device", default="cpu", help="cpu or cuda; with a GPU TF32 is measured too")
    parser.add_argument("--out", type=Path, help="file for the numbers, such as docs/precision.json")
    arguments = parser.parse_args()
    precisions = ["float32", *(["tf32"] if arguments.device.startswith("cuda") else []), "bf16"]
    result = {}
    for name, (generator, batch_size) in generators(arguments.width, arguments.only).items():
        generator.to(arguments.device)
        result[name] = measure(generator, batch_size, arguments.steps, precisions, arguments.epsilons)
    for name, rows in result.items():
        print(f"**{name}**, {arguments.steps} steps:\n\n{table(rows)}\n")
    if arguments.out is not None:
        arguments.out.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
