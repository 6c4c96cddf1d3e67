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
from pathlib import Path
from typing import Any

import torch
from solver_report import SCORES, load_cells, score_name, write_report
from solver_targets import Cell, Target, builtin_target, large_target

from directions.device import keep_freed_memory
from directions.discovery import discover
from directions.files import atomic_write, write_text
from directions.held_out import draw_held_out, held_out_penalty
from directions.joint.measure import Measurement, measure, planned_measurement
from directions.joint.solve import solve


def run_baselines(target: Target, cell: Cell, folder: Path) -> dict[str, Any]:
    """Score what needs no search."""
    entries = []
    for name, basis in target.baselines.items():
        finished = target.finish(basis)
        entries.append({"name": name, "held_out": target.score(basis), "on_one_factor": finished.get("on_one_factor")})
    return {"curve": [], "entries": entries}


def run_adam(target: Target, cell: Cell, folder: Path) -> dict[str, Any]:
    """Adam from a random start, or from another cell's basis, scored now and then."""
    settings = dict(cell.settings)
    seconds, steps = settings.pop("seconds", float("inf")), settings.pop("steps", 10**6)
    config = target.config.replace(method="adam", seed=cell.seed, steps=steps, eval_every=10**9, **settings)
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
            cheap = target.hessians is not None
            next_score = 0.0 if cheap else max(snapshot.record.step + 5, 1.3 * snapshot.record.step)
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
    config = target.config.replace(seed=cell.seed)
    plan = dataclasses.replace(planned_measurement(config, target.search), base_points=points[-1], **settings)
    part = folder / f"{cell.name}.part"
    before = torch.load(part, weights_only=True) if part.exists() else {"moments": None, "measuring": 0.0, "curve": []}
    measuring, curve = before["measuring"], before["curve"]
    stream: Iterator[Any] = measure(target.generator, plan, resume_from=before["moments"])
    next(stream)
    while True:
        started = time.process_time()
        moments = next(stream)
        measuring += time.process_time() - started
        done = moments.base_points
        finished = done == points[-1] or measuring > seconds
        if done in points or finished:
            started = time.process_time()
            solution = solve(moments, starts=2 if target.reader is None else 8, seed=cell.seed)
            solving = time.process_time() - started
            basis = target.search.space.embed(solution.basis).float()
            curve.append({
                "base_points": done, "seconds": measuring + solving, "solving": solving,
                "held_out": target.score(basis), **passes_of(plan, done), "report": solution.report(),
                "confidence": solution.confidence and list(solution.confidence), "basis": basis.tolist(),
            })  # fmt: skip
        if finished:
            break
        if target.reader is None:
            with atomic_write(part) as partial:
                torch.save({"moments": moments.state_dict(), "measuring": measuring, "curve": curve}, partial)
    part.unlink(missing_ok=True)
    matrices = moments.matrices()
    curvature = {
        name: (Q @ matrices @ Q.mT).square().sum(dim=0).sqrt().tolist()
        for name, Q in (("axes of z", torch.eye(len(solution.basis)).double()), ("joint", solution.basis))
    }
    return {"curve": curve, "plan": plan.report(), "curvature": curvature} | target.finish(basis)


def passes_of(plan: Measurement, base_points: int) -> dict[str, int]:
    """Images that went through the generator, forwards and backwards."""
    n = plan.size
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
        return large_target(arguments.seconds, arguments.folder)
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
        "scored_by": target.scored_by,
        "machine": f"one core of {os.cpu_count()}, {platform.machine()}, torch {torch.__version__}",
    }  # fmt: skip
    write_text(arguments.folder / f"{cell.name}.json", json.dumps(result) + "\n")


def score_again(arguments: argparse.Namespace) -> None:
    """Score on a larger held-out set, which tells bases apart that are nearly as good: where each cell ended, and the
    way there of the joint solutions, which are few."""
    target = make_target(arguments)
    larger = target.config.replace(held_out=arguments.final_points, micro_batch=None)
    held_out = draw_held_out(target.generator, larger)
    path = arguments.folder / SCORES
    scores = json.loads(path.read_text()) if path.exists() else {"points": arguments.final_points}
    bases = {}
    for name, cell in load_cells(arguments.folder).items():
        for number, point in enumerate(cell["curve"]):
            last = number == len(cell["curve"]) - 1
            if last or "basis" in point:
                bases[score_name(name, number)] = torch.tensor(cell["basis"] if last else point["basis"])
    bases |= target.baselines
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
    parser.add_argument(
        "--seconds",
        type=float,
        default=150.0,
        help="budget of an Adam cell; the paper's gets 3 times (with biggan-deep-128: of any cell)",
    )
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
    if not arguments.report and arguments.target != "biggan-deep-128":
        score_again(arguments)
    write_report(arguments.folder, arguments.out)
    return code


if __name__ == "__main__":
    sys.exit(main())
