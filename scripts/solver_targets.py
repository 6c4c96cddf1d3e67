"""What ``compare_solvers.py`` compares solvers on: a generator, held-out Hessians, and the cells of the study.

The built-in generator asks for all cells. BigGAN-deep-128 in full size, with random weights, shows what |z| = 128
costs; so that there is something to find, z acts strongly along a few planted directions and weakly along the others.
"""

from __future__ import annotations

import dataclasses
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
from biggan_worker import random_model

from directions.basis import random_basis
from directions.evaluation.activeness import activeness
from directions.evaluation.factors import measure_factors
from directions.evaluation.scene_reader import load_scene_reader
from directions.files import atomic_write
from directions.generators.base import Generator
from directions.generators.biggan_deep import BigGANDeep
from directions.generators.registry import load_generator
from directions.held_out import axis_directions, draw_held_out, held_out_penalty, random_directions
from directions.joint.measure import measure, planned_measurement
from directions.joint.moments import Moments, quadratic_penalty
from directions.sampling import derived_rng
from directions.search import Search
from directions.settings.discover import DiscoverConfig

FACTOR_PATH = 2.0
PAPER_RATE = 0.01 / 2**0.5
"""The paper's 0.01 for its A, whose rows have a length of √2, where ours have 1; Adam on A sees only the ratio."""
PLANTED = 3.0
"""z's effect along the planted direction i falls as exp(−i / 2·PLANTED)."""
HELD_OUT_POINTS = 6
HELD_OUT_SEED = 1000
"""Seed of the Hessians that the large target is scored by; the cells' own are small."""


@dataclass(frozen=True)
class Cell:
    """One run of the study."""

    name: str
    method: str
    seed: int = 0
    settings: dict[str, Any] = field(default_factory=dict)
    after: str | None = None
    """Cell whose result this one starts from."""


@dataclass
class Target:
    """A generator and the scale on which it can be studied here."""

    generator: Generator
    config: DiscoverConfig
    cells: list[Cell]
    reader: Any | None = None
    baselines: dict[str, Tensor] = field(default_factory=dict)
    """Bases to score beside the axes of z and random ones."""
    scored_by: str | None = None
    """What the report says about its scores; ``None`` says what is so for a held-out set."""
    hessians: Tensor | None = None
    """Held-out Hessians, by which a basis is scored in a moment and for all probes at once; ``None`` scores as
    ``directions discover`` does."""

    def __post_init__(self) -> None:
        self.search = Search.resolve(self.generator, self.config)
        self.held_out = draw_held_out(self.generator, self.config)
        self.baselines = {
            "axes of z": axis_directions(self.search),
            **{f"random {seed}": random_directions(self.search, seed) for seed in range(3)},
            **self.baselines,
        }

    def score(self, basis: Tensor) -> float:
        """The held-out penalty."""
        if self.hessians is not None:
            return quadratic_penalty(self.hessians, basis)
        return held_out_penalty(self.generator, basis, self.held_out)

    def finish(self, basis: Tensor) -> dict[str, Any]:
        """What is reported of a basis beside its penalty."""
        active = activeness(self.generator, basis, samples=self.config.final_samples, classes=self.search.classes)
        result: dict[str, Any] = {"basis": basis.tolist(), "activeness": active.tolist()}
        if self.reader is not None:
            table = measure_factors(self.generator, basis, self.reader, path_sizes=FACTOR_PATH)
            result |= {"on_one_factor": table.single_factor_share, "factors": table.to_dict()}
        return result


def builtin_target(name: str, budget: float) -> Target:
    """The built-in generator, or one exported to a folder: all that the study asks."""
    adam = {"learning_rate": 0.1, "decay_steps": 100, "batch_size": 16}
    refine = {"learning_rate": 0.001, "steps": 100}
    cells = [
        Cell("baselines", "baselines"),
        *(Cell(f"joint-{s}", "joint", s, {"points": [6, 12, 24, 45, 90]}) for s in range(3)),
        *(Cell(f"joint+adam-{s}", "joint+adam", s, refine, f"joint-{s}") for s in range(3)),
        Cell("joint+adam-fast", "joint+adam, rate 0.01", 0, refine | {"learning_rate": 0.01}, "joint-0"),
        *(Cell(f"joint-more-{s}", "joint, 180 base points", s, {"points": [180]}) for s in range(2)),
        *(Cell(f"gradients-{k}", f"gradients, {k} probes", 0, {"kind": "gradients", "output_probes": k,
               "points": [6, 12, 24, 45, 90]}) for k in (1, 4, 16)),
        *(Cell(f"step-{h}", f"differences, step {h}", 0, {"step": h, "points": [24]})
          for h in (0.02, 0.05, 0.1, 0.15, 0.4)),
        *(Cell(f"adam-tuned-{s}", "adam, rate 0.1 falling, batch 16", s, adam | {"seconds": budget}) for s in range(2)),
        *(Cell(f"adam-rate-{rate}", f"adam, rate {rate} falling, batch 16", 0,
               adam | {"learning_rate": rate, "seconds": budget / 2}) for rate in (0.03, 0.3)),
        Cell("adam-constant", "adam, rate 0.1, batch 16", 0, adam | {"decay_steps": 0, "seconds": budget / 2}),
        Cell("adam-batch-4", "adam, rate 0.1 falling, batch 4", 0, adam | {"batch_size": 4, "seconds": budget / 2}),
        Cell("adam-batch-64", "adam, rate 0.1 falling, batch 64", 0,
             adam | {"batch_size": 64, "micro_batch": 16, "seconds": budget}),
        Cell("adam-batch-96", "adam, rate 0.03, batch 96", 0, {"learning_rate": 0.03, "decay_steps": 0,
             "batch_size": 96, "micro_batch": 16, "seconds": 3 * budget}),
        Cell("adam-paper-batch-16", "adam, the paper's rate, batch 16", 0, {"learning_rate": PAPER_RATE,
             "decay_steps": 0, "batch_size": 16, "seconds": 3 * budget}),
        *(Cell(f"adam-paper-{s}", "adam, the paper's settings", s, {"learning_rate": PAPER_RATE, "decay_steps": 0,
               "batch_size": 96, "micro_batch": 16, "seconds": 3 * budget}) for s in range(2)),
    ]  # fmt: skip
    return Target(load_generator(name), DiscoverConfig(generator=name), cells, load_scene_reader())


def large_target(budget: float, folder: Path) -> Target:
    """BigGAN-deep-128 in full size; random weights say nothing about factors, but cost what trained ones do.

    Args:
        budget: Seconds of each cell.
        folder: Where the held-out Hessians are kept, which take minutes.
    """
    generator = BigGANDeep(random_model(128), name="biggan-deep-128 (random weights)", digest="random")
    planted = plant_directions(generator)
    settings = DiscoverConfig(batch_size=4, final_samples=1, classes=(207,))
    joint = {"kind": "gradients", "output_probes": 2, "points": [1, 2, 4, 8, 12, 16, 24, 32], "seconds": budget}
    adam = {"learning_rate": 0.1, "decay_steps": 100, "batch_size": 4, "seconds": budget}
    cells = [
        Cell("baselines", "baselines"),
        Cell("joint-0", "joint", 0, joint),
        Cell("adam-tuned-0", "adam, rate 0.1 falling, batch 4", 0, adam),
        Cell("joint-1", "joint", 1, joint),
        Cell("adam-paper-0", "adam, the paper's settings", 0, adam | {"learning_rate": PAPER_RATE, "decay_steps": 0,
             "batch_size": 96, "micro_batch": 4, "seconds": budget / 2}),
        Cell("joint+adam-0", "joint+adam", 0, {"learning_rate": 0.001, "batch_size": 4, "steps": 20}, "joint-0"),
    ]  # fmt: skip
    target = Target(
        generator, settings, cells, baselines={"planted directions": planted},
        scored_by=f"*penalty*: the quadratic form of Hessians measured at {HELD_OUT_POINTS} other places: the "
        "mean over all probes.",
    )  # fmt: skip
    target.hessians = held_out_hessians(target, folder)
    return target


@torch.no_grad()
def plant_directions(generator: BigGANDeep) -> Tensor:
    """Let z act weakly, and along a few directions more than along others; return them, most strongly acting first.

    With weights as they are drawn, images are black or white nearly everywhere and a step of 0.1 in z flips pixels:
    second differences are then bounded by the range of the images, in every direction alike.
    """
    n = generator.dim_z
    R = random_basis(n, n, derived_rng(0, purpose="strong and weak directions"))
    strength = torch.exp(-torch.arange(n) / (2 * PLANTED))
    turn = R.mT @ torch.diag(0.15 * strength / strength.square().mean().sqrt()) @ R
    for weight in (generator.first_weight, generator.scales, generator.shifts):
        weight[:, :n] = weight[:, :n] @ turn
    generator.embeddings *= 0.3
    generator.to_rgb.weight *= 0.15
    return R


def held_out_hessians(target: Target, folder: Path) -> Tensor:
    """Measure Hessians where no cell does, or read those that are there.

    At |z| = 128 the score that a run takes, of a few sign vectors at each place, varies more between two random bases
    than a good basis differs from them. The quadratic form of measured Hessians is its mean over all sign vectors.
    """
    plan = dataclasses.replace(
        planned_measurement(target.config, target.search),
        base_points=HELD_OUT_POINTS, kind="gradients", output_probes=2, seed=HELD_OUT_SEED,
    )  # fmt: skip
    path = folder / "held_out.pt"
    state = torch.load(path, weights_only=True) if path.exists() else None
    moments = Moments(target.search.space.size)
    for moments in measure(target.generator, plan, resume_from=state):
        if state is None or moments.base_points > state["base_points"]:
            print(f"{time.strftime('%H:%M:%S')}  held-out {moments.base_points}", file=sys.stderr, flush=True)
            with atomic_write(path) as part:
                torch.save(moments.state_dict(), part)
    return moments.matrices()
