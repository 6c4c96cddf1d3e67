"""The results on the packaged generators: penalties and the factor table, found against not found.

Runs ``directions discover`` with its defaults for some seeds (a run that is already there is used or continued), scores
random orthonormal directions and the axes of z at the same held-out places, and lets the generator's judge say which
factor each direction moves. Writes a Markdown page and its figures as JSON.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import torch

from directions.direction_file import load_directions
from directions.errors import UserError
from directions.evaluation.factors import FactorTable, judge_of, measure_factors
from directions.files import write_text
from directions.generators.registry import PACKAGED, load_generator
from directions.held_out import axis_directions, draw_held_out, held_out_penalty, random_directions
from directions.search import Search
from directions.settings.discover import DiscoverConfig, Method

FACTOR_PATH = 2.0
"""Longest step of the factor table, in units of z: within what the generator was trained on."""
EXTRA = {"adam": ("--batch-size", "16")}
"""Options of a method: so that the paper's steps take no longer than the default does."""


def parse_arguments(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3, help="training runs, with seeds 0, 1, …")
    parser.add_argument("--random-seeds", type=int, default=5, help="random bases")
    parser.add_argument("--runs", type=Path, default=Path("outputs/results"), help="folder of the runs")
    parser.add_argument("--generator", choices=PACKAGED, default="builtin", help="whose directions")
    parser.add_argument("--out", type=Path, help="page, without its suffix (docs/GENERATOR_results)")
    arguments = parser.parse_args(argv)
    arguments.out = arguments.out or Path("docs") / f"{arguments.generator}_results"
    if arguments.seeds < 1 or arguments.random_seeds < 1:
        parser.error("--seeds and --random-seeds must be at least 1.")
    return arguments


def discovered(generator: str, runs: Path, method: str, seed: int) -> Path:
    """Train with one seed, as a user would, unless that was done; return the direction file."""
    name = f"{generator}-{method.replace('+', '-')}-seed-{seed}"
    folder = next(iter(sorted(runs.glob(f"[0-9]*-{name}"))), None)
    if folder is not None and (folder / "directions.safetensors").is_file():
        return folder / "directions.safetensors"
    command = [sys.executable, "-m", "directions", "discover"]
    if folder is not None:
        command += ["--resume", str(folder)]
    else:
        command += ["--generator", generator, "--method", method, *EXTRA.get(method, ()), "--seed", str(seed)]
        command += ["--out", str(runs), "--name", name]
    started = time.perf_counter()
    subprocess.run(command, check=True)
    if folder is None:
        folder = next(iter(sorted(runs.glob(f"[0-9]*-{name}"))))
        write_text(folder / "wall_seconds.json", json.dumps(time.perf_counter() - started))
    return folder / "directions.safetensors"


def scored(name: str, basis: torch.Tensor, penalty: float, factors: Callable[[torch.Tensor], FactorTable]) -> dict:
    """The figures of one basis."""
    return {"name": name, "held_out": penalty, "factors": factors(basis).to_dict()}


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Train and score everything."""
    arguments.runs.mkdir(parents=True, exist_ok=True)
    config = DiscoverConfig(generator=arguments.generator)
    others = [method for method in get_args(Method) if method != config.method]
    runs = functools.partial(discovered, arguments.generator, arguments.runs)
    files = {method: [runs(method, 0)] for method in others}
    files["found"] = [runs(config.method, seed) for seed in range(arguments.seeds)]
    generator = load_generator(arguments.generator)
    judge = judge_of(generator)
    assert judge is not None, "every generator of the package has one"
    search, held_out = Search.resolve(generator, config), draw_held_out(generator, config)

    def factors(basis: torch.Tensor) -> FactorTable:
        return measure_factors(generator, basis, judge, path_sizes=FACTOR_PATH)

    def entry(name: str, basis: torch.Tensor) -> dict[str, Any]:
        return scored(name, basis, held_out_penalty(generator, basis, held_out), factors)

    def found(file: Path) -> dict[str, Any]:
        directions = load_directions(file)
        row = entry(f"seed {directions.header['seed']}", torch.from_numpy(directions.matrix.copy()))
        wall = file.parent / "wall_seconds.json"
        row["seconds"] = json.loads(wall.read_text()) if wall.is_file() else None
        row["steps"] = directions.header["steps"]
        return row

    return {
        "machine": f"{os.cpu_count()} CPU cores, {platform.machine()}, torch {torch.__version__}",
        "name": arguments.generator,
        "generator": generator.digest,
        "factor_path": FACTOR_PATH,
        "method": config.method,
        **{key: [found(file) for file in paths] for key, paths in files.items()},
        "random": [entry(f"random {s}", random_directions(search, s)) for s in range(arguments.random_seeds)],
        "axes": [entry("axes of z", axis_directions(search))],
    }


def mean_and_range(values: list[float]) -> str:
    """A mean, and from where to where."""
    if len(values) == 1:
        return f"{values[0]:.4g}"
    return f"{statistics.fmean(values):.4g} ({min(values):.4g} to {max(values):.4g})"


def page(results: dict[str, Any]) -> str:
    """Lay the figures out in Markdown."""
    labels = {"found": f"found, default `--method {results['method']}` ({len(results['found'])} seeds)"}
    for method in get_args(Method):
        if method in results:
            labels[method] = f"found, `--method {' '.join((method, *EXTRA.get(method, ())))}` (seed 0)"
    labels |= {"random": f"random orthonormal ({len(results['random'])} seeds)", "axes": "axes of z"}
    whose = {"builtin": "the built-in generator of scenes", "letters": "the generator of letters"}[results["name"]]
    lines = [f"# Directions of {whose}", ""]
    command = "python scripts/builtin_results.py" + f" --generator {results['name']}" * (results["name"] != "builtin")
    lines += [f"Made by `{command}` on {results['machine']}.", ""]
    lines += [
        "| directions | held-out penalty | on one factor | DCI disentanglement | seconds |",
        "|---|---|---|---|---|",
    ]
    for key, label in labels.items():
        rows = results[key]
        columns = [
            [row["held_out"] for row in rows],
            [row["factors"]["single_factor_share"] for row in rows],
            [row["factors"]["disentanglement"] for row in rows],
        ]
        seconds = [row["seconds"] for row in rows if row.get("seconds")]
        cells = [*map(mean_and_range, columns), f"{statistics.fmean(seconds):.0f}" if seconds else ""]
        lines.append(f"| {label} | " + " | ".join(cells) + " |")
    lines += ["", "Seconds are those of `directions discover`, start to end. Ranges are over the seeds.", ""]
    lines += ["*On one factor*: the share of a direction's effect that falls on a single factor, the mean over"]
    lines += [f"directions weighted by their effect. Steps of up to {results['factor_path']:g} along each direction."]
    for key in ("found", "random", "axes"):
        row = results[key][0]
        factors = list(row["factors"]["directions"][0]["effects"])
        title = {"found": "Found, seed 0", "random": "Random, seed 0", "axes": "Axes of z"}[key]
        lines += ["", f"## {title}", "", f"| direction | {' | '.join(factors)} | largest share |"]
        lines.append("|---" * (len(factors) + 2) + "|")
        for direction in row["factors"]["directions"]:
            cells = " | ".join(f"{direction['effects'][column]:.3f}" for column in factors)
            lines.append(f"| {direction['name']} | {cells} | {direction['share']:.0%} {direction['factor']} |")
    lines += ["", "Effects are mean squared changes of a factor, in its variance over the renders.", ""]
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> int:
    """Make the page; 2 after bad input, the code of ``discover`` if that fails."""
    arguments = parse_arguments(argv)
    try:
        results = measure(arguments)
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        write_text(arguments.out.with_suffix(".json"), json.dumps(results, indent=1) + "\n")
        write_text(arguments.out.with_suffix(".md"), page(results))
        print(page(results))
    except UserError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 2
    except subprocess.CalledProcessError as error:
        return error.returncode
    return 0


if __name__ == "__main__":
    sys.exit(main())
