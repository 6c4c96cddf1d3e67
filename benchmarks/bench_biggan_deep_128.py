"""Time and memory of a step of discovery on BigGAN-deep-128 at full size: the textbook's way against ours.

Textbook: Gram–Schmidt as a loop over rows, 2k + 1 separate forwards of the package's module with spectral norm in each,
the generator's weights frozen. Ours: one QR, 2k evaluations in one batch, the frozen form; eager, and compiled by
torch.compile, in a process as `directions discover` sets one up. The weights are random, with settled spectral norms
and batch norms calibrated on their own images. Each way has a process of its own; steps are timed in turn, two by two,
on the same samples, and the penalties and gradients are compared. Parts: step, gs, held, memory, growth, render.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from biggan_report import markdown, summary

PARTS = ("step", "gs", "held", "memory", "growth", "render")
DOCS = Path(__file__).parents[1] / "docs"


class Worker:
    """A process that does one thing after the other, as asked."""

    def __init__(self, kind: str, setup: dict[str, Any]) -> None:
        script = Path(__file__).with_name("biggan_worker.py")
        self.kind = kind
        self.process = subprocess.Popen(
            [sys.executable, str(script), kind, json.dumps(setup)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(self, task: str, **arguments: Any) -> Any:
        """Have something done, and wait for the answer."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        print(f"--> {self.kind}: {task} {arguments or ''}", file=sys.stderr, flush=True)
        self.process.stdin.write(json.dumps({"task": task, **arguments}) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            sys.exit(f"The {self.kind} worker died with exit status {self.process.wait()} at {task}.")
        answer = json.loads(line)
        shown = {k: v for k, v in answer.items() if k != "gradient"} if isinstance(answer, dict) else answer
        print(f"    {shown}", file=sys.stderr, flush=True)
        return answer

    def stop(self) -> None:
        """End it."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


def time_steps(workers: list[Worker], repeats: int) -> dict[str, Any]:
    """Steps of all workers in turn; the first of each is not counted, as it compiles and warms up."""
    first = {worker.kind: worker.ask("step") for worker in workers}
    # Two at a time, as in a run, where a step follows a step: after a wait for the others the first is slower.
    runs = [{worker.kind: worker.ask("step", repeats=2) for worker in workers} for _ in range(repeats)]
    result: dict[str, Any] = {}
    for worker in workers:
        kind = worker.kind
        result[kind] = {
            "seconds": median(run[kind]["seconds"] for run in runs),
            "cpu_seconds": median(run[kind]["busy"] for run in runs),
            "first_seconds": first[kind]["seconds"],
            "all_seconds": [run[kind]["seconds"] for run in runs],
            "penalty": first[kind]["penalty"],
        }
        if "textbook" in first:
            result[kind]["speed_up"] = median(run["textbook"]["seconds"] / run[kind]["seconds"] for run in runs)
            result[kind]["cpu_speed_up"] = median(run["textbook"]["busy"] / run[kind]["busy"] for run in runs)
            theirs = first["textbook"]["gradient"]
            distance = sum((a - b) ** 2 for a, b in zip(first[kind]["gradient"], theirs, strict=True)) ** 0.5
            result[kind]["gradient_difference"] = distance / sum(a**2 for a in theirs) ** 0.5
    return result


def measure(arguments: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """All the parts that were asked for."""
    setup = {"folder": str(folder), "width": 32 if arguments.quick else 128, "ndirs": 120, "threads": arguments.threads}
    setup |= {"batch": arguments.batch_size, "probes": 2}
    maker = Worker("maker", setup)
    result: dict[str, Any] = {"machine": maker.ask("machine"), **{k: setup[k] for k in ("width", "batch", "ndirs")}}
    maker.stop()
    kinds = ["textbook", "eager"] + ["compiled"] * (not arguments.no_compile)
    if "step" in arguments.only:
        workers = [Worker(kind, setup) for kind in kinds]
        eager = next(worker for worker in workers if worker.kind == "eager")
        rates = [eager.ask("sgemm")]
        result["step"] = time_steps(workers, arguments.repeats)
        rates.append(eager.ask("sgemm"))
        result["matmul_gflops"] = max(rates)
        for worker in workers[1:]:
            passes = worker.ask("passes", repeats=arguments.repeats)
            passes["share"] = passes["gflops"] / result["matmul_gflops"]
            result["step"][worker.kind]["passes"] = passes
        for worker in workers:
            worker.stop()
    eager = Worker("eager", setup)
    if "gs" in arguments.only:
        result["gram_schmidt"] = eager.ask("gram_schmidt")
    if "render" in arguments.only:
        result["render"] = eager.ask("render", frames=4 if arguments.quick else 16)
    if "growth" in arguments.only:
        result["growth"] = [
            changes | {"seconds": eager.ask("step", repeats=1 if arguments.quick else 2, **changes)["seconds"]}
            for changes in (
                {}, {"batch": 1}, {"batch": 2}, {"batch": 8}, {"batch": 8, "micro": 4}, {"ndirs": 8}, {"ndirs": 32},
                {"probes": 3}, {"probes": 4},
            )
        ]  # fmt: skip
    eager.stop()
    if "held" in arguments.only:
        counting = [sys.executable, str(Path(__file__).with_name("bench_held_memory.py")), "--json"]
        result["held"] = json.loads(subprocess.run(counting, check=True, capture_output=True, text=True).stdout)
    if "memory" in arguments.only:
        result["memory"] = memory(setup, kinds)
    return result


def memory(setup: dict[str, Any], kinds: list[str]) -> list[dict[str, Any]]:
    """Peak memory of a step, less what the process had before it; each in a process of its own."""
    rows = []
    cases: list[tuple[str, dict[str, Any]]] = [(kind, {}) for kind in kinds]
    cases[2:2] = [("recompute", {}), ("eager", {"micro": 2}), ("eager", {"batch": 8, "micro": 2})]
    for kind, changes in cases:
        worker = Worker(kind, {**setup, **changes})
        if kind == "compiled":
            worker.ask("step")  # what compiling takes is not what a step takes
        rows.append({"kind": kind, **changes, **worker.ask("peak")})
        worker.stop()
    return rows


def main() -> None:
    """Measure, print a table, and write it where documents are."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument(
        "--quick", action="store_true", help="a quarter of the width, one repeat: to try the script out"
    )
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS), help="the parts to measure")
    parser.add_argument("--repeats", type=int, default=5, help="times each step is timed, in turn")
    parser.add_argument("--batch-size", type=int, default=4, help="samples in a step")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="threads of each process")
    parser.add_argument("--no-compile", action="store_true", help="leave out torch.compile, which takes minutes")
    parser.add_argument("--out", type=Path, help="folder for benchmarks.json and benchmarks.md; not written without")
    parser.add_argument("--merge", action="store_true", help="keep the parts of OUT/benchmarks.json not measured now")
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.repeats = 1
    if arguments.out is not None:
        arguments.out.mkdir(parents=True, exist_ok=True)  # now, not after minutes
    with tempfile.TemporaryDirectory() as folder:
        result = measure(arguments, Path(folder))
    if arguments.out is not None:
        path = arguments.out / "benchmarks.json"
        if arguments.merge and path.exists():
            result = json.loads(path.read_text()) | result
        path.write_text(json.dumps(result, indent=2) + "\n")
        path.with_suffix(".md").write_text(markdown(result))
    print(json.dumps(result) if arguments.json else summary(result))


if __name__ == "__main__":
    main()
