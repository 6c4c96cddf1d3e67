"""Train and score the GANs of the paper's table, and print it next to the published one.

    python scripts/reproduce_table.py                          # small, CLEVR-Simple and CLEVR-1FOV, seed 0
    python scripts/reproduce_table.py --seeds 0,1 --jobs 2             # a second seed; what is there is not run again
    python scripts/reproduce_table.py --scale paper --device cuda      # the paper's setting, for GPUs
    python scripts/reproduce_table.py --report                         # table from the cells that are there
    python scripts/reproduce_table.py --scale long --seeds 0,1         # 16 pixels, days: curves, see table_curves.py

A cell is a row of the table on one data set with one seed. Each runs in a process of its own with one thread, in a
folder of its own, and goes on where it was stopped (Ctrl-C, kill, a reboot): run the same command again. The rows:

    infogan    a head of the discriminator reads components of z back
    progan     nothing added; the start of fine-tuning
    progan+    the same run, trained on for as long as the others
    hp         with the Hessian Penalty from the beginning
    hp-ft      progan, fine-tuned with the penalty

``table_report.py`` has the published figures and writes docs/gan_table.md and .json.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from table_curves import Curves, write_curves
from table_report import ROWS, write_report
from table_runs import measured, opened

from directions.device import keep_freed_memory
from directions.errors import Interrupted, NonFiniteError, UserError
from directions.evaluation.metrics import NamedMetric, find_metrics
from directions.files import write_text
from directions.gan.data import open_data
from directions.gan.recording import record_training
from directions.gan.trainer import Line, Trainer
from directions.settings.train import PAPER_CHANNELS, TrainConfig

AFTER = {"progan+": "progan", "hp-ft": "progan"}
"""Rows that go on from another one."""
METRICS = "quick,scenes"
"""What cells are scored by."""
SCORE = "score.json"


@dataclass(frozen=True)
class DataSet:
    """One column of the table."""

    folder: str
    infogan: int
    """Components that InfoGAN reads back."""
    penalty_weight: float = 0.05
    """The paper's λ for the unbiased variance: half of what its TensorFlow code says."""
    dim_z: int = 12
    data_format: str = "scenes"


SETS = {
    "edges-shoes": DataSet("data/edges2shoes", infogan=12, data_format="pairs"),
    "clevr-simple": DataSet("data/clevr-simple-64", infogan=4),
    "clevr-complex": DataSet("data/clevr-complex-64", infogan=10),
    "clevr-u": DataSet("data/clevr-simple-64", infogan=3, penalty_weight=0.0125, dim_z=3),
    "clevr-1fov": DataSet("data/clevr-1fov-64", infogan=1, penalty_weight=0.0125),
}

# Non-saturating with R1 at every fourth step, for a small machine's sake. The penalty of so narrow a network is large
# (the stats.jsonl of hp-ft on CLEVR-Simple begins with 73,245): λ is the paper's times 2e-4, with which the two losses
# are of one order.
SMALL: dict[str, Any] = {
    "resolution": 32,
    "channels": (48, 48, 32, 24),
    "batch_size": (16,),
    "stable_kimg": (2, 3, 5, 0),  # of 60; growth takes as much of another budget
    "fade_kimg": (0, 3, 5, 6),
    "loss": "nonsaturating",
    "gradient_weight": 2.0,
    "r1_every": 4,
    "learning_rate": 0.0015,
    "ema_kimg": 2.0,
    "bfloat16": True,
    "sheet_kimg": 10.0,
    "checkpoint_minutes": 1.0,
}
PAPER: dict[str, Any] = {"resolution": 128, "channels": PAPER_CHANNELS, "sheet_kimg": 500.0, "checkpoint_minutes": 15.0}


@dataclass(frozen=True)
class Scale:
    """How much is trained."""

    settings: dict[str, Any]
    kimg: float
    """Length of every row but progan, in all."""
    penalty_factor: float = 1.0
    """λ is the paper's times this."""
    ramp: float = 0.4
    """λ of hp-ft rises over this share of the fine-tuning; the paper's example: 10,000 of 25,000 kimg."""


SCALES = {"small": Scale(SMALL, 60.0, penalty_factor=2e-4), "paper": Scale(PAPER, 50_000.0)}


@dataclass(frozen=True)
class Cell:
    """A row on a data set with a seed."""

    data: str
    row: str
    seed: int

    @property
    def name(self) -> str:
        return f"{self.data}/{self.row}-{self.seed}"


def settings_of(cell: Cell, arguments: argparse.Namespace) -> TrainConfig:
    """The configuration of a cell's training."""
    scale, data = SCALES[arguments.scale], SETS[cell.data]
    total = arguments.kimg or scale.kimg
    settings = scale.settings | {
        "data": str(arguments.data.get(cell.data, data.folder)),
        "data_format": data.data_format,
        "dim_z": data.dim_z,
        "seed": cell.seed,
        "device": arguments.device,
        "kimg": total / 2 if cell.row in ("progan", "hp-ft") else total,
    }
    for field in ("stable_kimg", "fade_kimg"):
        paper = (600.0,)
        settings[field] = tuple(kimg * total / scale.kimg for kimg in scale.settings.get(field, paper))
    if cell.row == "infogan":
        settings["infogan"] = data.infogan
    if cell.row in ("hp", "hp-ft"):
        weight = data.penalty_weight * (arguments.penalty_factor or scale.penalty_factor)
        settings |= {"penalty": "hessian", "penalty_weight": weight}
    if cell.row == "hp-ft":
        settings |= {
            "fine_tune": str(run_of(before(cell), arguments)),
            "penalty_ramp_kimg": scale.ramp * total / 2,
            "stable_kimg": (0,),
            "fade_kimg": (0,),
            "batch_size": settings["batch_size"][-1:] if "batch_size" in settings else (16,),
        }
    return TrainConfig(**settings)


def before(cell: Cell) -> Cell:
    """The cell that this one goes on from."""
    return Cell(cell.data, AFTER[cell.row], cell.seed)


def folder_of(cell: Cell, arguments: argparse.Namespace) -> Path:
    """Folder of a cell."""
    folder: Path = arguments.folder / cell.name
    return folder


def run_of(cell: Cell, arguments: argparse.Namespace) -> Path:
    """Run folder of a cell; not there before it has begun."""
    return folder_of(cell, arguments) / "00000-run"


def run_cell(cell: Cell, arguments: argparse.Namespace) -> None:
    """Train a cell to its end and score it, in this process."""
    keep_freed_memory()
    torch.set_flush_denormal(True)  # the first steps of a fading block make numbers that a CPU is very slow with
    config, run = settings_of(cell, arguments), run_of(cell, arguments)
    if cell.row == "progan+" and not run.exists():
        # What goes on from a whole copy is, bit for bit, one long run.
        partial = run.with_name("copy.partial")
        shutil.rmtree(partial, ignore_errors=True)
        shutil.copytree(run_of(before(cell), arguments), partial).rename(run)
    trainer = Trainer(config, open_data(config), config.device)
    folder = opened(run, trainer)
    first, begun, cpu = trainer.seen, time.time(), time.process_time()

    def tell(trainer: Trainer, line: Line | None) -> None:
        if line is not None and trainer.step % 200 == 0:
            terms = line.keys() - {"step", "kimg", "resolution", "alpha", "seconds"}
            shown = " ".join(f"{name} {value:.4g}" for name, value in line.items() if name in terms)
            print(f"{line['kimg']:.1f} of {config.kimg:g} kimg, {line['resolution']} px: {shown}", flush=True)

    if not _trained(cell, arguments):
        try:
            record_training(trainer, folder, on_step=tell)
        finally:
            sitting = {
                "from_kimg": first / 1000,
                "to_kimg": trainer.seen / 1000,
                "cpu_seconds": round(time.process_time() - cpu, 1),
                "seconds": round(time.time() - begun, 1),
            }
            with (folder_of(cell, arguments) / "sittings.jsonl").open("a") as file:
                file.write(json.dumps(sitting) + "\n")
    if arguments.no_scores:
        return
    result = {
        "cell": {"data": cell.data, "row": cell.row, "seed": cell.seed},
        "kimg": trainer.seen / 1000 + (config.kimg if cell.row == "hp-ft" else 0.0),
        "settings": config.to_dict(),
        "scores": _scores(cell, arguments),
    }
    # All cells of a set see the same images: their statistics are kept beside the cells.
    cache = folder_of(cell, arguments).parent / "real"
    for name, scores in measured(run, trainer.data, _missing(cell, arguments), config.device, cache=cache):
        print(f"{name}: {scores.get('value')}", flush=True)
        result["scores"][name] = scores
        write_text(folder_of(cell, arguments) / SCORE, json.dumps(result, indent=2) + "\n")


def _scores(cell: Cell, arguments: argparse.Namespace) -> dict[str, Any]:
    """What a cell has been scored by so far."""
    path = folder_of(cell, arguments) / SCORE
    scores: dict[str, Any] = json.loads(path.read_text())["scores"] if path.exists() else {}
    return scores


def _missing(cell: Cell, arguments: argparse.Namespace) -> list[NamedMetric]:
    """Metrics by which a cell is still to be scored: of scenes with two objects the reader reads none."""
    read = cell.data in ("clevr-simple", "clevr-u", "clevr-1fov")
    done = _scores(cell, arguments)
    of_scenes = ("factor_effects", "dci", "mig")
    return [m for m in arguments.metrics if m.name not in done and (read or m.kind not in of_scenes)]


def cells_of(arguments: argparse.Namespace) -> list[Cell]:
    """All cells that are asked for, in the order in which they are run: each after what it goes on from."""
    wanted = {*arguments.rows, *(AFTER[row] for row in arguments.rows if row in AFTER)}
    rows = [row for row in ("progan", "hp", "infogan", *AFTER) if row in wanted]
    return [Cell(data, row, seed) for seed in arguments.seeds for row in rows for data in arguments.sets]


class Children:
    """Processes of cells that are running; a signal to this one is passed on, and nothing is started after it."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.arguments, self.signum = arguments, 0
        self._running: set[subprocess.Popen[bytes]] = set()
        for signum in (signal.SIGINT, signal.SIGTERM):
            signal.signal(signum, self._stop)

    def _stop(self, signum: int, frame: FrameType | None) -> None:
        self.signum = signum
        for process in list(self._running):
            process.send_signal(signal.SIGTERM)

    def run_all(self) -> list[int]:
        """Run the cells, some at a time; their exit statuses."""
        with ThreadPoolExecutor(self.arguments.jobs) as pool:
            # A cell stands behind what it goes on from, so that the latter never waits for a thread.
            ends: dict[Cell, Future[int]] = {}
            for cell in cells_of(self.arguments):
                ends[cell] = pool.submit(self._run, cell, ends.get(before(cell)) if cell.row in AFTER else None)
        return [end.result() for end in ends.values()]

    def _run(self, cell: Cell, start: Future[int] | None) -> int:
        arguments, folder = self.arguments, folder_of(cell, self.arguments)
        if start is not None:
            wait([start])
        if self.signum:
            return 128 + self.signum
        if _trained(cell, arguments) and (arguments.no_scores or not _missing(cell, arguments)):
            print(f"{cell.name}: there already", flush=True)
            return 0
        if start is not None and not _trained(before(cell), arguments):
            print(f"{cell.name}: left out, as {before(cell).name} is not there", flush=True)
            return 1
        folder.mkdir(parents=True, exist_ok=True)
        started = time.time()
        environment = os.environ | ({"OMP_NUM_THREADS": "1"} if arguments.device == "cpu" else {})
        print(f"{cell.name}: started, see {folder / 'log.txt'}", flush=True)
        with (folder / "log.txt").open("a") as log:
            command = [sys.executable, __file__, *sys.argv[1:], "--cell", cell.name]
            # A session of its own: a Ctrl-C comes from here, once, and not from the terminal too.
            with subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True) as process:
                self._running.add(process)
                code = process.wait()
                self._running.discard(process)
        how = {0: "finished", 143: "stopped, goes on next time"}.get(code, f"failed with exit code {code}")
        print(f"{cell.name}: {how} after {(time.time() - started) / 60:.1f} minutes", flush=True)
        return code


def _trained(cell: Cell, arguments: argparse.Namespace) -> bool:
    """Whether a cell's training has come to its end."""
    log, stats = (run_of(cell, arguments) / name for name in ("log.txt", "stats.jsonl"))
    lines = stats.read_text().splitlines() if log.exists() and stats.exists() else []
    done = json.loads(lines[-1])["kimg"] if lines else -1.0
    return bool(done >= settings_of(cell, arguments).kimg and "Finished" in log.read_text().splitlines()[-1])


def parse_arguments(argv: list[str] | None = None) -> argparse.Namespace:
    """Read and check the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--scale", choices=[*sorted(SCALES), "long"], default="small", help="how much is trained (default: small)")
    add("--kimg", type=float, help="budget of a cell in kimg (default: small 60, paper 50000, long 2600)")
    add("--penalty-factor", type=float, help="λ is the paper's times this (default: small 0.0002, paper 1)")
    add("--sets", default="clevr-simple,clevr-1fov", help=f"columns, of: {', '.join(SETS)}; long: clevr-simple only")
    add("--rows", default=",".join(ROWS), help=f"rows, of: {', '.join(ROWS)}")
    add("--seeds", default="0", help="seeds, separated by commas (default: 0)")
    add("--data", nargs="*", default=[], metavar="SET=FOLDER", help="where a set's images are")
    add("--jobs", type=int, default=2, help="cells at a time, one thread each on a CPU (default: 2; long: 1)")
    add("--metrics", default=METRICS, help=f"see directions gan evaluate --list (default: {METRICS})")
    add("--device", default="cpu", help="cpu, cuda, cuda:N or auto (default: cpu)")
    add("--folder", type=Path, help="folder of the cells (default: outputs/gan_table-SCALE)")
    add("--out", type=Path, help="report, without suffix (default: docs/gan_table; long: docs/gan_curves)")
    add("--runs", default=[], nargs="*", help="long: only these, such as plain-0 ft-mean-30-r1-0.05-0 (default: all)")
    add("--reader", type=Path, help="long: scene reader trained at 16 pixels (default: the package's)")
    add("--others", nargs="*", default=[], type=Path, metavar="FOLDER",
        help="folders of cells with another --penalty-factor, for the report")  # fmt: skip
    add("--no-scores", action="store_true", help="train only")
    add("--report", action="store_true", help="run nothing, write the report")
    add("--cell", help=argparse.SUPPRESS)
    arguments = parser.parse_args(argv)
    for name, allowed in (("sets", SETS), ("rows", ROWS)):
        chosen = getattr(arguments, name).split(",")
        unknown = [entry for entry in chosen if entry not in allowed]
        if unknown:
            parser.error(f"--{name} must be of {', '.join(allowed)}, got {', '.join(unknown)}.")
        setattr(arguments, name, chosen)
    try:
        arguments.seeds = [int(seed) for seed in arguments.seeds.split(",")]
        arguments.data = dict(entry.split("=", 1) for entry in arguments.data)
    except ValueError:
        parser.error("--seeds must be whole numbers separated by commas, and --data SET=FOLDER.")
    try:
        arguments.metrics = find_metrics(arguments.metrics, have_data=True)
    except UserError as error:
        parser.error(f"--{error}")
    if arguments.jobs < 1 or (arguments.kimg is not None and arguments.kimg <= 0):
        parser.error("--jobs must be at least 1, --kimg above 0.")
    arguments.folder = (arguments.folder or Path(f"outputs/gan_table-{arguments.scale}")).absolute()
    arguments.out = arguments.out or Path("docs/gan_curves" if arguments.scale == "long" else "docs/gan_table")
    return arguments


def main(argv: list[str] | None = None) -> int:
    """Run cells and write the report; 1 if a cell failed, 2 after bad input, 130 or 143 after a signal."""
    arguments = parse_arguments(argv)
    try:
        if arguments.cell:
            data, _, rest = arguments.cell.partition("/")
            row, _, seed = rest.rpartition("-")
            run_cell(Cell(data, row, int(seed)), arguments)
            return 0
        if arguments.scale == "long":
            if not arguments.report:
                Curves(arguments).walk()
            write_curves(arguments.folder, arguments.out)
            return 0
        codes = [0]
        if not arguments.report:
            children = Children(arguments)
            codes = children.run_all()
            if children.signum:
                print("Stopped; the same command goes on from here.", file=sys.stderr)
                return 128 + children.signum
        if not arguments.no_scores:
            write_report(arguments.folder, arguments.out, arguments.scale, arguments.others)
        return int(any(codes))
    except Interrupted as stop:
        return stop.exit_code
    except (UserError, NonFiniteError) as error:
        print(f"Error: {error}", file=sys.stderr)
        return 2 if isinstance(error, UserError) else 1


if __name__ == "__main__":
    sys.exit(main())
