"""Time joint diagonalisation: measuring, solving from all starts with both halves, beside one sweep of plane rotations.

Cases: the built-in generator; the faces of `gan_face_generate` (|z| = 100), if that package is there; and synthetic
matrices of |z| = 128 and 512, which one basis diagonalises but for noise. The sweep is what the solver did before, over
and over: where it arrives is printed beside where the present method does.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import math
import platform
import resource
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from directions.basis import random_basis
from directions.generators.registry import load_generator
from directions.generators.wrap import wrap
from directions.joint.diagonalise import joint_diagonalise
from directions.joint.measure import measure, planned_measurement
from directions.joint.moments import Moments, half_vectors, quadratic_penalty
from directions.joint.solve import solve, start_basis
from directions.search import Search
from directions.settings.discover import DiscoverConfig

CASES = {"builtin": 90, "faces": 90, "128": 360, "512": 200}
"""Base points of the generators, matrices of the synthetic cases."""


def faces() -> Any:
    """The generator of somebody else's package, without its other dependencies."""
    from gan_face_generate import models

    weights = torch.load(Path(models.__file__).with_name("weights.tar"), map_location="cpu", weights_only=True)
    network = models.Generator(1, 3, 100, 64)
    network.load_state_dict(weights["netG_state_dict"])
    return wrap(network.eval().requires_grad_(False), "faces")


def measured(generator: Any, base_points: int) -> Moments:
    """Hessians as the default configuration measures them."""
    config = DiscoverConfig(method="joint", base_points=base_points)
    *_, moments = measure(generator, planned_measurement(config, Search.resolve(generator, config)))
    return moments


def synthetic(n: int, count: int) -> Moments:
    """Matrices that one basis diagonalises but for noise of three times their size; one a base point."""
    rng = torch.Generator().manual_seed(0)
    Q = random_basis(n, n, rng, dtype=torch.float32)
    moments = Moments(n, count)
    for _ in range(count):
        noise = torch.randn(n, n, generator=rng) * (3 / math.sqrt(n))
        M = Q.mT @ (torch.randn(n, 1, generator=rng) * Q) + (noise + noise.mT) / 2
        moments.add(half_vectors(M).unsqueeze(0))
    return moments


def pairs(n: int) -> Iterator[tuple[list[int], list[int]]]:
    """Rounds of a tournament: each row meets every other once."""
    players = list(range(n + n % 2))
    for _ in range(len(players) - 1):
        half = len(players) // 2
        met = [(a, b) for a, b in zip(players[:half], players[: half - 1 : -1], strict=True) if max(a, b) < n]
        yield [a for a, _ in met], [b for _, b in met]
        players = [players[0], players[-1], *players[1:-1]]


def sweep(matrices: Tensor, Q: Tensor) -> Tensor:
    """Turn every plane of two rows once by its best angle, disjoint planes together: one sweep of the former method."""
    X, Q = (Q @ matrices @ Q.mT).permute(1, 2, 0).contiguous(), Q.clone()
    for p, q in pairs(len(Q)):
        d, o = X[p, p] - X[q, q], 2 * X[p, q]
        angle = torch.atan2(2 * (d * o).sum(dim=1), (d * d - o * o).sum(dim=1)) / 4
        for rows in (X, X.transpose(0, 1), Q):
            c, s = (part.view(-1, *[1] * (rows.ndim - 1)) for part in (angle.cos(), angle.sin()))
            first, second = rows[p], rows[q]
            rows[p], rows[q] = c * first + s * second, c * second - s * first
    return Q


def bench(name: str, count: int, starts: int) -> dict[str, Any]:
    """Measure and solve one case."""
    began = time.perf_counter()
    if name.isdigit():
        moments = synthetic(int(name), count)
    else:
        moments = measured(faces() if name == "faces" else load_generator(name), count)
    row: dict[str, Any] = {"case": name, "count": count, "measure_seconds": time.perf_counter() - began}
    matrices, start = moments.matrices(), start_basis(moments.size, 1, 0)
    began = time.perf_counter()
    one = joint_diagonalise(matrices, start)
    row |= {
        "matrices": list(matrices.shape),
        "one_start_seconds": time.perf_counter() - began,
        "iterations": one.iterations,
        "energy": one.energy,
    }
    if moments.size <= 128:  # a sweep over 512 rows takes minutes
        began = time.perf_counter()
        swept = sweep(matrices, start)
        row |= {"sweep_seconds": time.perf_counter() - began, "sweep_energy": quadratic_penalty(matrices, swept) / 2}
    began = time.perf_counter()
    solution = solve(moments, starts=starts)
    return row | {
        "solve_seconds": time.perf_counter() - began,
        "starts": len(solution.excess),
        "agreeing_starts": solution.agreeing_starts,
        "largest_excess": max(solution.excess),
        "share_of_random": solution.penalty / solution.random_penalty,
        "halves_agree": None if solution.confidence is None else sum(solution.confidence) / len(solution.basis),
        "peak_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
    }


def main() -> None:
    """Print a line a case; ``--json`` for machines."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--cases", nargs="+", choices=list(CASES), default=list(CASES), help="what to time")
    parser.add_argument("--count", type=int, help="base points or matrices; default: 90, 90, 360, 200")
    parser.add_argument("--starts", type=int, default=8, help="starts at most")
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args()
    rows = []
    for name in arguments.cases:
        if name == "faces" and importlib.util.find_spec("gan_face_generate") is None:
            print(
                "faces: left out, gan_face_generate is not installed (pip install --no-deps gan_face_generate==1.1.1)"
            )
            continue
        row = bench(name, arguments.count or CASES[name], arguments.starts)
        rows.append(row)
        if arguments.json:
            continue
        K, n, _ = row["matrices"]
        print(f"{name}: {K} matrices of {n} x {n}, measured in {row['measure_seconds']:.1f} s")
        print(
            f"  one start: {row['one_start_seconds']:.2f} s, {row['iterations']} iterations, energy {row['energy']:.5g}"
        )
        if "sweep_seconds" in row:
            print(f"  one sweep of rotations: {row['sweep_seconds']:.2f} s, energy {row['sweep_energy']:.5g}")
        print(
            f"  all places and both halves: {row['solve_seconds']:.1f} s; {row['agreeing_starts']} of {row['starts']} "
            f"starts agree, {row['share_of_random']:.1%} of random's penalty, halves agree to "
            f"{row['halves_agree']:.2f}; peak {row['peak_gb']:.1f} GB"
        )
    if arguments.json:
        print(json.dumps({"threads": torch.get_num_threads(), "machine": platform.processor(), "rows": rows}, indent=1))


if __name__ == "__main__":
    main()
