"""Try the paper's steps after a joint start where z is long: batch sizes, rates, and averages of A over the steps.

    python scripts/steps_after_joint.py --generator examples/faces.py:load

Every setting starts from the same joint solution and sees the same samples where batches are as large. The score is the
energy off the diagonal of Hessians at held-out places, relative to that of the start: below 1, the steps help.
"""

from __future__ import annotations

import argparse
import time

import torch

from directions.basis import gram_schmidt
from directions.discovery import discover
from directions.generators.registry import load_generator
from directions.held_out import HeldOutHessians
from directions.settings.discover import DiscoverConfig

SETTINGS = ((16, 1e-3), (64, 3e-4), (64, 1e-4))
"""Batch size, and Adam's rate."""


def main() -> None:
    """Print a line for every setting and number of steps."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--generator", default="builtin", help="generator by name, folder or FILE:FUNCTION")
    parser.add_argument("--base-points", type=int, default=40, help="places of the joint start (Jacobians)")
    parser.add_argument("--steps", type=int, default=60, help="steps of each setting")
    parser.add_argument("--places", type=int, default=8, help="places of the held-out Hessians")
    arguments = parser.parse_args()
    generator = load_generator(arguments.generator)
    config = DiscoverConfig(
        method="joint", criterion="jacobian", base_points=arguments.base_points, held_out=4, held_out_probes=2,
        final_samples=2, free=(),
    )  # fmt: skip
    hessians = HeldOutHessians.measure(generator, config, places=arguments.places)
    *_, start = discover(generator, config, known={("hessians", config.held_out_places): hessians})
    before = hessians.score(start.basis)
    random = hessians.random()
    print(f"random: {random.off_diagonal / before.off_diagonal:.3f}, on the diagonal {random.share_on_diagonal:.1%}")
    print(f"joint start: 1, on the diagonal {before.share_on_diagonal:.1%} ± {before.share_error:.1%}", flush=True)
    for batch_size, rate in SETTINGS:
        began = time.perf_counter()
        stepping = config.replace(
            method="adam", criterion="hessian", batch_size=batch_size, learning_rate=rate, steps=arguments.steps,
            eval_every=10 * arguments.steps, micro_batch=16,
        )  # fmt: skip
        first = next(discover(generator, stepping))
        state = first.state | {"A": start.state["A"].to(first.state["A"])}
        total = torch.zeros_like(state["A"])
        for snapshot in discover(generator, stepping, resume_from=state):
            step = snapshot.record.step
            if step == 0:
                continue
            total += snapshot.state["A"]
            if step % (arguments.steps // 3) == 0:
                scores = [hessians.score(basis) for basis in (snapshot.basis, gram_schmidt(total))]
                last, mean = (
                    f"{score.off_diagonal / before.off_diagonal:.3f} ({score.share_on_diagonal:.1%})"
                    for score in scores
                )
                print(
                    f"batch {batch_size}, rate {rate:g}, {step} steps ({time.perf_counter() - began:.0f} s): "
                    f"last {last}, mean of A {mean}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
