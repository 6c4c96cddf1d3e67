"""Compare the ways to minimise the penalty: Adam on A, joint diagonalisation, and Adam from the joint solution.

    python scripts/compare_solvers.py                            # on the built-in generator
    python scripts/compare_solvers.py --target biggan-deep-128   # full size, random calibrated weights
    python scripts/compare_solvers.py --report                   # table and plot from the cells that are there

Each cell of the study (a method with its settings and a seed) runs in a process of its own with one thread and leaves a
JSON file; what is there is not run again. Times are processor seconds of that thread, so that cells may run side by
side, and scoring is not counted. The report is written by ``solver_report.py``.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from solver_report import SCORES, load_cells, score_name, write_report
from torch import Tensor

from directions.atomic import write_text
from directions.basis import random_basis
from directions.config import DiscoverConfig
from directions.discovery.loop import discover
from directions.evaluation.activeness import activeness
from directions.evaluation.baselines import axis_directions, random_directions
from directions.evaluation.factors import measure_factors
from directions.evaluation.scene_reader import load_scene_reader
from directions.gan.export import measure_statistics
from directions.gan.networks import build_generator
from directions.generators.base import Generator
from directions.generators.biggan_deep import BigGANDeep
from directions.generators.registry import load_generator
from directions.held_out import draw_held_out, held_out_penalty
from directions.joint.measure import Measurement, measure
from directions.joint.solve import solve
from directions.joint.start import planned_measurement
from directions.memory import keep_freed_memory
from directions.sampling import derived_rng
from directions.search import Search

FACTOR_PATH = 2.0
PAPER_RATE = 0.01 / 2**0.5
"""The paper's 0.01 for its A, whose rows have a length of √2, where ours have 1; Adam on A sees only the ratio."""


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
    reader: Any | None
    cells: list[Cell]

    def __post_init__(self) -> None:
        self.search = Search.resolve(self.generator, self.config)
        self.held_out = draw_held_out(self.generator, self.config)

    def score(self, basis: Tensor) -> float:
        return held_out_penalty(self.generator, basis, self.held_out)

    def finish(self, basis: Tensor) -> dict[str, Any]:
        """What is reported of a basis beside its penalty."""
        result: dict[str, Any] = {"basis": basis.tolist()}
        if self.reader is not None:
            active = activeness(self.generator, basis, samples=self.config.final_samples, classes=self.search.classes)
            result["activeness"] = active.tolist()
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
    return Target(load_generator(name), DiscoverConfig(generator=name), load_scene_reader(), cells)


def large_target(budget: float) -> Target:
    """BigGAN-deep-128 in full size; random weights say nothing about factors, but cost what trained ones do."""
    torch.manual_seed(0)
    config = {
        "output_dim": 128, "z_dim": 128, "class_embed_dim": 128, "channel_width": 128, "num_classes": 1000,
        "n_stats": 2, "attention_layer_position": 8, "eps": 1e-4,
        "layers": [[False, 16, 16], [True, 16, 16], [False, 16, 16], [True, 16, 8], [False, 8, 8], [True, 8, 4],
                   [False, 4, 4], [True, 4, 2], [False, 2, 2], [True, 2, 1]],
    }  # fmt: skip
    model = build_generator(config)
    for _ in measure_statistics(model, samples=32, batch_size=32):
        pass
    generator = BigGANDeep(model, name="biggan-deep-128 (random weights)", digest="random")
    calm(generator)
    settings = DiscoverConfig(batch_size=4, held_out=32, held_out_probes=2, final_samples=1, classes=(207,))
    adam = {"learning_rate": 0.1, "decay_steps": 100, "batch_size": 4, "seconds": budget}
    cells = [
        Cell("baselines", "baselines"),
        Cell("joint-0", "joint", 0, {"kind": "gradients", "output_probes": 2, "points": [1, 2, 4],
             "seconds": budget}),
        Cell("joint+adam-0", "joint+adam", 0, {"learning_rate": 0.001, "batch_size": 4, "steps": 8}, "joint-0"),
        Cell("adam-tuned-0", "adam, rate 0.1 falling, batch 4", 0, adam),
        Cell("adam-paper-0", "adam, the paper's settings", 0, adam | {"learning_rate": PAPER_RATE, "decay_steps": 0,
             "batch_size": 96, "micro_batch": 4}),
    ]  # fmt: skip
    return Target(generator, settings, None, cells)


@torch.no_grad()
def calm(generator: BigGANDeep) -> None:
    """Let z act weakly, and along some directions more than along others.

    With weights as they are drawn, images are black or white nearly everywhere and a step of 0.1 in z flips pixels:
    second differences are then bounded by the range of the images, in every direction alike.
    """
    n = generator.dim_z
    R = random_basis(n, n, derived_rng(0, purpose="strong and weak directions"))
    strength = 1 / (1 + torch.arange(n) / 8)
    turn = R.mT @ torch.diag(0.15 * strength / strength.square().mean().sqrt()) @ R
    for weight in (generator.first_weight, generator.scales, generator.shifts):
        weight[:, :n] = weight[:, :n] @ turn
    generator.embeddings *= 0.3
    generator.to_rgb.weight *= 0.15


def run_baselines(target: Target, cell: Cell, folder: Path) -> dict[str, Any]:
    """Score what needs no search."""
    entries = []
    bases = [("axes of z", axis_directions(target.search))]
    bases += [(f"random {seed}", random_directions(target.search, seed)) for seed in range(3)]
    for name, basis in bases:
        finished = target.finish(basis)
        entries.append({"name": name, "held_out": target.score(basis), "on_one_factor": finished.get("on_one_factor")})
    return {"curve": [], "entries": entries}


def run_adam(target: Target, cell: Cell, folder: Path) -> dict[str, Any]:
    """Adam from a random start, or from another cell's basis, scored now and then."""
    settings = dict(cell.settings)
    seconds, steps = settings.pop("seconds", float("inf")), settings.pop("steps", 10**6)
    config = dataclasses.replace(
        target.config, method="adam", seed=cell.seed, steps=steps, eval_every=10**9, **settings
    )
    state, spent, passes = None, 0.0, {"forwards": 0, "backwards": 0}
    if cell.after:
        before = json.loads((folder / f"{cell.after}.json").read_text())
        state = next(discover(target.generator, config)).state
        state["A"] = torch.tensor(before["basis"]).to(state["A"])
        spent, passes = before["curve"][-1]["seconds"], {key: before["curve"][-1][key] for key in passes}
    images = 2 * config.num_probes * config.batch_size
    curve: list[dict[str, Any]] = []
    snapshots = discover(target.generator, config, resume_from=state)
    snapshot = next(snapshots)
    next_score = 0.0
    while True:
        if snapshot.record.step >= next_score or snapshot.record.step == steps or spent >= seconds:
            held_out = target.score(snapshot.basis)
            curve.append({"step": snapshot.record.step, "seconds": spent, **passes, "held_out": held_out})
            next_score = max(snapshot.record.step + 5, 1.3 * snapshot.record.step)
        if snapshot.record.step == steps or spent >= seconds:
            break
        started = time.process_time()
        snapshot = next(snapshots)
        spent += time.process_time() - started
        passes = {key: count + images for key, count in passes.items()}
    return {"curve": curve} | target.finish(snapshot.basis)


def run_joint(target: Target, cell: Cell, folder: Path) -> dict[str, Any]:
    """Measure in a stream; at the given numbers of base points solve with what is there."""
    settings = dict(cell.settings)
    points, seconds = settings.pop("points"), settings.pop("seconds", float("inf"))
    config = dataclasses.replace(target.config, seed=cell.seed)
    plan = dataclasses.replace(planned_measurement(config, target.search), base_points=points[-1], **settings)
    measuring, curve = 0.0, []
    stream: Iterator[Any] = measure(target.generator, plan)
    while True:
        started = time.process_time()
        moments = next(stream)
        measuring += time.process_time() - started
        done = moments.base_points
        if done not in points and not (done and measuring > seconds):
            continue
        started = time.process_time()
        solution = solve(moments, starts=2 if target.reader is None else 8, seed=cell.seed)
        solving = time.process_time() - started
        basis = target.search.space.embed(solution.basis).float()
        curve.append({
            "base_points": done, "seconds": measuring + solving, "solving": solving, "held_out": target.score(basis),
            **passes_of(plan, done), "report": solution.report(), "confidence": solution.confidence,
            "basis": basis.tolist(),
        })  # fmt: skip
        if done == points[-1] or measuring > seconds:
            matrices = moments.matrices()
            curvature = {
                name: (Q @ matrices @ Q.mT).square().sum(dim=0).sqrt().tolist()
                for name, Q in (("axes of z", torch.eye(len(solution.basis)).double()), ("joint", solution.basis))
            }
            return {"curve": curve, "plan": plan.report(), "curvature": curvature} | target.finish(basis)


def passes_of(plan: Measurement, base_points: int) -> dict[str, int]:
    """Images that went through the generator, forwards and backwards."""
    n = plan.space.size
    if plan.kind == "differences":
        return {"forwards": base_points * (2 * n * n + 1), "backwards": 0}
    return {"forwards": base_points * 2 * n, "backwards": base_points * 2 * n * plan.output_probes}


def runner(cell: Cell) -> Callable[[Target, Cell, Path], dict[str, Any]]:
    """How a cell is run."""
    if cell.method == "baselines":
        return run_baselines
    return run_joint if "points" in cell.settings else run_adam


def make_target(arguments: argparse.Namespace) -> Target:
    """Load what is to be studied."""
    if arguments.target == "biggan-deep-128":
        return large_target(arguments.seconds)
    return builtin_target(arguments.target, arguments.seconds)


def run_cell(arguments: argparse.Namespace) -> None:
    """Run one cell in this process."""
    torch.set_num_threads(1)
    keep_freed_memory()  # as directions discover does
    target = make_target(arguments)
    cell = next(cell for cell in target.cells if cell.name == arguments.cell)
    result = runner(cell)(target, cell, arguments.folder)
    result |= {
        "cell": cell.name, "method": cell.method, "seed": cell.seed, "settings": cell.settings,
        "generator": {"name": target.generator.name, "digest": target.generator.digest},
        "machine": f"one core of {os.cpu_count()}, {platform.machine()}, torch {torch.__version__}",
    }  # fmt: skip
    write_text(arguments.folder / f"{cell.name}.json", json.dumps(result) + "\n")


def score_again(arguments: argparse.Namespace) -> None:
    """Score on a larger held-out set, which tells bases apart that are nearly as good: where each cell ended, and the
    way there of the joint solutions, which are few."""
    target = make_target(arguments)
    larger = dataclasses.replace(target.config, held_out=arguments.final_points, micro_batch=None)
    held_out = draw_held_out(target.generator, larger)
    path = arguments.folder / SCORES
    scores = json.loads(path.read_text()) if path.exists() else {"points": arguments.final_points}
    bases = {}
    for name, cell in load_cells(arguments.folder).items():
        for number, point in enumerate(cell["curve"]):
            last = number == len(cell["curve"]) - 1
            if last or "basis" in point:
                bases[score_name(name, number)] = torch.tensor(cell["basis"] if last else point["basis"])
    bases["axes of z"] = axis_directions(target.search)
    bases |= {f"random {seed}": random_directions(target.search, seed) for seed in range(3)}
    if scores["points"] != arguments.final_points:
        scores = {"points": arguments.final_points}
    for name in sorted(set(bases) - set(scores)):
        print(f"{time.strftime('%H:%M:%S')}  scoring {name}", file=sys.stderr, flush=True)
        scores[name] = held_out_penalty(target.generator, bases[name], held_out)
        write_text(path, json.dumps(scores, indent=1, sort_keys=True) + "\n")


def run_all(arguments: argparse.Namespace) -> int:
    """Run the cells that are missing, some at a time; return 1 if one failed."""
    cells = [cell for cell in make_target(arguments).cells if not arguments.only or arguments.only in cell.name]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}

    def run(cell: Cell) -> int:
        if (arguments.folder / f"{cell.name}.json").exists():
            return 0
        print(f"{time.strftime('%H:%M:%S')}  {cell.name}", file=sys.stderr, flush=True)
        command = [sys.executable, __file__, "--cell", cell.name, "--target", arguments.target]
        command += ["--seconds", str(arguments.seconds), "--folder", str(arguments.folder)]
        return subprocess.run(command, env=environment, check=False).returncode

    codes = []
    with ThreadPoolExecutor(arguments.jobs) as pool:
        for later in (False, True):  # cells that start from another one's result come after it
            codes += list(pool.map(run, [cell for cell in cells if bool(cell.after) == later]))
    return int(any(codes))


def parse_arguments(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--target", default="builtin", help="builtin, an exported folder, or biggan-deep-128")
    parser.add_argument("--seconds", type=float, default=150.0, help="budget of an Adam cell; the paper's gets 3 times")
    parser.add_argument("--jobs", type=int, default=2, help="cells at a time, one core each (default: 2)")
    parser.add_argument("--folder", type=Path, help="folder of the cells (default: outputs/solvers-TARGET)")
    parser.add_argument("--out", type=Path, help="report, without suffix (default: docs/solvers-TARGET)")
    parser.add_argument(
        "--final-points", type=int, default=256, help="held-out samples of the last score (default: 256)"
    )
    parser.add_argument("--only", help="run only cells whose name contains this")
    parser.add_argument("--cell", help=argparse.SUPPRESS)
    parser.add_argument("--report", action="store_true", help="run nothing, write the report")
    arguments = parser.parse_args(argv)
    name = Path(arguments.target).name
    arguments.folder = arguments.folder or Path(f"outputs/solvers-{name}")
    arguments.out = arguments.out or Path(f"docs/solvers-{name}")
    return arguments


def main(argv: list[str] | None = None) -> int:
    """Run the study; 1 if a cell failed."""
    arguments = parse_arguments(argv)
    arguments.folder.mkdir(parents=True, exist_ok=True)
    if arguments.cell:
        run_cell(arguments)
        return 0
    code = 0 if arguments.report else run_all(arguments)
    if not arguments.report:
        score_again(arguments)
    write_report(arguments.folder, arguments.out)
    return code


if __name__ == "__main__":
    sys.exit(main())
