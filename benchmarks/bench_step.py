"""Time one step of discovery on the built-in generator: the textbook's way against ours, in turn, in one process.

Textbook: Gram–Schmidt as a loop over rows, 2k + 1 separate forwards of the package's own module, spectral norm in each.
Ours: QR, 2k evaluations in one batch, the frozen generator. Both see the same samples and must find the same penalty.
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
from torch import Tensor
from torch.nn import functional as F

from directions.basis import gram_schmidt, initial_matrix
from directions.discovery import penalty_and_gradient
from directions.generators.biggan_deep import read_model
from directions.generators.registry import PACKAGED, load_generator
from directions.generators.weights import CONFIG, WEIGHTS, read_config
from directions.sampling import derived_rng
from directions.search import Search, draw_batch
from directions.settings.discover import DiscoverConfig

# The tests' reference is the one textbook version there is.
sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from naive import textbook_gram_schmidt, textbook_variances


def seconds(action: Callable[[], object]) -> float:
    """How long a call takes."""
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


def main() -> None:
    """Print the medians and their ratio; ``--json`` for machines."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5, help="times each is run, in turn")
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args()

    config = DiscoverConfig()
    generator = load_generator("builtin")
    folder = PACKAGED["builtin"]
    package_model = read_model(folder / WEIGHTS, read_config(folder / CONFIG), CONFIG)
    package_model.requires_grad_(False)
    search = Search.resolve(generator, config)
    batch = draw_batch(generator, config, search, step=1)
    A = initial_matrix(search.ndirs, search.space.size, "random", derived_rng(0, purpose="bench")).requires_grad_()
    one_hot = F.one_hot(batch.points.y, generator.num_classes).float()

    def textbook() -> tuple[float, Tensor]:
        Q = textbook_gram_schmidt(A)
        f = lambda w: package_model(batch.points.z + w @ Q, one_hot, config.truncation)  # noqa: E731 - a formula
        penalty = textbook_variances(f, batch.w, batch.probes, config.epsilon).mean()
        return penalty.item(), torch.autograd.grad(penalty, A)[0]

    def ours() -> tuple[float, Tensor]:
        Q = search.space.embed(gram_schmidt(A))
        penalty, gradient = penalty_and_gradient(generator, Q.detach(), batch, config)
        return penalty, torch.autograd.grad(Q, A, gradient)[0]

    (expected, expected_gradient), (got, gradient) = textbook(), ours()
    torch.testing.assert_close(got, expected, rtol=1e-2, atol=0)
    torch.testing.assert_close(gradient, expected_gradient, rtol=0.05, atol=0.05 * float(expected_gradient.abs().max()))
    pairs = [(seconds(textbook), seconds(ours)) for _ in range(arguments.repeats)]
    result = {
        "machine": f"{os.cpu_count()} CPU cores, {platform.machine()}, torch {torch.__version__}",
        "batch_size": config.batch_size,
        "textbook_seconds": statistics.median(pair[0] for pair in pairs),
        "ours_seconds": statistics.median(pair[1] for pair in pairs),
        "speed_up": statistics.median(pair[0] / pair[1] for pair in pairs),
    }
    if arguments.json:
        print(json.dumps(result))
        return
    print(f"One step on the built-in generator, batch {config.batch_size}, {result['machine']}:")
    print(f"  textbook {result['textbook_seconds']:.3f} s, ours {result['ours_seconds']:.3f} s")
    print(f"  {result['speed_up']:.2f} times as fast (median of {arguments.repeats} pairs)")


if __name__ == "__main__":
    main()
