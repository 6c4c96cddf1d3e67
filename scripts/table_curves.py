"""The long scale of ``reproduce_table.py``: 16 pixels, thousands of kimg, measured along the way.

The plain network first, up to where it varies the scenes as the data does; then the runs that say most, each 200 kimg
in turn with what it is compared with; then trials with a steeper discriminator, and the others. All of it is one
list of steps, walked in order in one process: whatever is there is passed over, so that the same command goes on after
a stop, and what has been measured so far is drawn as curves.

A step trains a run up to some kimg, keeps the averaged generator as a small folder (``points/RUN/KIMG``, which
``load_generator`` takes), and measures it. Path length costs as much as all else together and is measured last.

λ follows from the proportion of penalty to adversarial loss at the start of fine-tuning, where the latter is about
log 2: λ = proportion · log 2 / P, with P the penalty of the plain network there (seed 0, mean of 16 batches), for the
largest value and the mean alike. The paper does not print its losses, so its own proportion is not known: three are
tried, a factor of ten apart.
"""

from __future__ import annotations

import argparse
import json
import math
import shutil
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from matplotlib.figure import Figure
from table_report import markdown
from table_runs import measured, opened

from directions.device import keep_freed_memory
from directions.evaluation.metrics import NamedMetric
from directions.evaluation.scene_reader import READER_FOLDER, load_scene_reader
from directions.files import write_text
from directions.gan.data import ImageData, open_data
from directions.gan.recording import record_training, starting_state
from directions.gan.trainer import Line, Trainer
from directions.generators.weights import WEIGHTS
from directions.penalty import rademacher
from directions.sampling import derived_rng
from directions.settings.train import TrainConfig

KIMG = 2600.0
"""Length in all; what is fine-tuned has START of them without the penalty."""
START = 600.0
EVERY = 200.0
HELD_BACK = 300
"""Last images that are not trained on."""
LAST = "ppl_"
"""Metrics that are measured when all else is done."""
SETTINGS: dict[str, Any] = {
    "resolution": 16,
    "channels": (32, 32, 16),
    "dim_z": 12,
    "batch_size": 32,
    "stable_kimg": (20, 30, 0),
    "fade_kimg": (0, 30, 40),
    "loss": "nonsaturating",
    "gradient_weight": 2.0,
    "r1_every": 4,
    "learning_rate": 0.002,
    "stats_every": 100,
    "sheet_kimg": 200.0,
    "checkpoint_minutes": 2.0,
}


@dataclass(frozen=True)
class Run:
    """One training: without a penalty, with it from the beginning, or fine-tuned with it."""

    row: str
    """``plain``, ``hp`` or ``ft``."""
    proportion: float = 0.0
    """Of the penalty to the adversarial loss."""
    reduction: str = "max"
    seed: int = 0
    gradient_weight: float = SETTINGS["gradient_weight"]
    """Of R1; below that of SETTINGS the discriminator is steeper, and its gradient larger beside the penalty's."""

    @property
    def name(self) -> str:
        """Name of its folder."""
        kind = f"-{self.reduction}-{self.proportion:g}" if self.proportion else ""
        steep = f"-r1-{self.gradient_weight:g}" if self.is_trial else ""
        return f"{self.row}{kind}{steep}-{self.seed}"

    @property
    def is_trial(self) -> bool:
        """Whether it tries another discriminator."""
        return self.gradient_weight != SETTINGS["gradient_weight"]

    @property
    def goes_on(self) -> bool:
        """Whether it starts from the plain run at START."""
        return self.row == "ft" or (self.row == "plain" and self.is_trial)


PLAIN, MIDDLE = Run("plain"), Run("ft", 10)
RUNS = {
    PLAIN: "black",
    MIDDLE: "tab:red",
    Run("plain", gradient_weight=0.05): "0.6",
    Run("ft", 100, gradient_weight=0.05): "tab:brown",
    Run("ft", 10, "mean", gradient_weight=0.05): "gold",
    Run("ft", 3, "mean", gradient_weight=0.05): "navy",
    Run("hp", 10, "mean", gradient_weight=0.05): "magenta",
    Run("ft", 30, "mean", gradient_weight=0.05): "yellowgreen",
    Run("ft", 100, "mean", gradient_weight=0.05): "darkgreen",
    Run("hp", 10): "tab:blue",
    Run("ft", 10, "mean"): "tab:orange",
    Run("ft", 100): "tab:purple",
    Run("ft", 1): "tab:pink",
    Run("hp", 10, "mean"): "tab:cyan",
    Run("hp", 100): "tab:green",
    Run("hp", 1): "tab:olive",
}
"""All of them, the most telling first, and the colours of their curves."""


def steps(
    seeds: list[int], kimg: float = KIMG, start: float = START, every: float = EVERY
) -> Iterator[tuple[Run, float]]:
    """Give each run with the kimg up to which it is to come, in order."""
    marks = [round(every * number, 6) for number in range(1, round(kimg / every) + 1)]
    early, late = [mark for mark in marks if mark <= start], [mark for mark in marks if mark > start]
    closer = [round(start + every * number / 2, 6) for number in (1, 3, 5)]
    for seed in seeds:
        plain, middle = replace(PLAIN, seed=seed), replace(MIDDLE, seed=seed)
        yield from ((plain, mark) for mark in early)
        yield from ((run, mark) for mark in late for run in (middle, plain))
        for run in list(RUNS)[2:]:
            of_run = sorted(late + closer * run.is_trial) if run.goes_on else marks
            yield from ((replace(run, seed=seed), mark) for mark in of_run)


class Curves:
    """Folder of the runs, and what is done in it.

    Args:
        arguments: Of ``reproduce_table.py``.
    """

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.folder, self.device, self.seeds = arguments.folder, arguments.device, arguments.seeds
        self.metrics: tuple[NamedMetric, ...] = arguments.metrics
        self.kimg, self.runs = arguments.kimg or KIMG, arguments.runs
        self.start, self.every = (round(length * self.kimg / KIMG, 6) for length in (START, EVERY))
        self.reader = arguments.reader or READER_FOLDER
        self.images = str(arguments.data.get("clevr-simple", "data/clevr-simple-64"))
        images = open_data(TrainConfig(data=self.images, resolution=16, stable_kimg=0, fade_kimg=0))
        self.held_back = images.read(torch.arange(len(images) - HELD_BACK, len(images)))
        self.data = ImageData(images.images[:-HELD_BACK], f"{images.digest}/without {HELD_BACK}")

    def walk(self) -> None:
        """Do what is not there yet; path lengths when all is trained and otherwise measured."""
        keep_freed_memory()
        torch.set_flush_denormal(True)
        for late in (False, True):
            wanted = tuple(metric for metric in self.metrics if metric.name.startswith(LAST) == late)
            for run, mark in steps(self.seeds, self.kimg, self.start, self.every):
                if not self.runs or run.name in self.runs:
                    self.train(run, mark)
                    self.measure(run, mark, wanted)

    def point(self, run: Run, mark: float) -> Path:
        """Folder of a generator on its way."""
        path: Path = self.folder / "points" / run.name / f"{mark:g}"
        return path

    def config(self, run: Run, mark: float, **changed: Any) -> TrainConfig:
        """Settings of a run that ends at a mark."""
        settings = SETTINGS | {"data": self.images, "seed": run.seed, "device": self.device, "kimg": mark}
        for field in ("stable_kimg", "fade_kimg"):  # a trial is short in all
            settings[field] = tuple(value * self.kimg / KIMG for value in SETTINGS[field])
        if run.proportion:
            weight = run.proportion * math.log(2) / self.penalties()[run.reduction]
            settings |= {"penalty": "hessian", "penalty_weight": weight, "penalty_reduction": run.reduction}
        settings["gradient_weight"] = run.gradient_weight
        if run.goes_on:
            ramp = 0.1 * self.every if run.is_trial else 2 * self.every
            settings |= {
                "fine_tune": str(self.start_of(run.seed)),
                "kimg": mark - self.start,
                "penalty_ramp_kimg": ramp if run.proportion else 0.0,
                "stable_kimg": 0,
                "fade_kimg": 0,
            }
        return TrainConfig(**settings | changed)

    def start_of(self, seed: int) -> Path:
        """Where the plain run is kept as it was when fine-tuning starts."""
        path: Path = self.folder / "start" / f"plain-{seed}"
        return path

    def penalties(self) -> dict[str, float]:
        """The penalty of the plain network, seed 0, where fine-tuning starts; measured once."""
        path = self.folder / "penalties.json"
        if not path.exists():
            found = {reduction: self._penalty(reduction) for reduction in ("max", "mean")}
            write_text(path, json.dumps(found) + "\n")
            print(f"Penalty of the plain network at {self.start:g} kimg: {found}", flush=True)
        penalties: dict[str, float] = json.loads(path.read_text())
        return penalties

    @torch.no_grad()
    def _penalty(self, reduction: str) -> float:
        config = self.config(PLAIN, self.start, penalty_reduction=reduction)
        trainer = Trainer(config, self.data, self.device)
        trainer.start_from(starting_state(str(self.start_of(0))))
        rng, total = derived_rng(0, purpose="penalty at the start"), 0.0
        for _ in range(16):
            z = torch.randn(config.batch_size[-1], config.dim_z, generator=rng)
            probes = rademacher((config.num_probes, *z.shape), rng)
            stage = config.stage(config.growth)
            total += trainer.arch.penalty(z.to(self.device), probes.to(self.device), stage).item() / 16
        return total

    def train(self, run: Run, mark: float) -> None:
        """Train a run up to a mark, and keep what it is then."""
        point, path = self.point(run, mark), self.folder / "runs" / run.name
        if (point / WEIGHTS).exists():
            return
        trainer = Trainer(self.config(run, mark), self.data, self.device)
        folder = opened(path, trainer)
        begun, seen = time.process_time(), trainer.seen

        def tell(trainer: Trainer, line: Line | None) -> None:
            if line is not None and trainer.step % 1000 == 0:
                terms = (name for name in ("loss_d", "loss_g", "penalty", "diversity") if name in line)
                shown = " ".join(f"{name} {line[name]:.4g}" for name in terms)
                print(f"{run.name}: {line['kimg']:.0f} of {trainer.config.kimg:g} kimg, {shown}", flush=True)

        record_training(trainer, folder, on_step=tell)
        hours = (time.process_time() - begun) / 3600
        last = [line for line in folder.read_stats() if line["kimg"] > trainer.seen / 1000 - self.every / 2]
        terms = ("penalty", "penalty_weight", "diversity", "loss_g")
        about = {"run": run.name, "kimg": mark, "kimg_an_hour": (trainer.seen - seen) / 1000 / max(hours, 1e-9)}
        about |= {"remembers": self._remembers(trainer), "pull": self._pull(trainer)}
        about |= {name: _mean(line.get(name) for line in last) for name in terms}
        if run.name == replace(PLAIN, seed=run.seed).name and mark == self.start:
            # Fine-tuning starts from the whole of it here, while it goes on.
            partial = self.folder / "start" / "partial"
            shutil.rmtree(self.start_of(run.seed), ignore_errors=True)
            shutil.copytree(path, partial, dirs_exist_ok=True).rename(self.start_of(run.seed))
        point.mkdir(parents=True, exist_ok=True)
        shutil.copy(folder.config_path, point)
        write_text(point / "about.json", json.dumps(about, indent=2) + "\n")
        shutil.copy(folder.path / WEIGHTS, point / "partial").rename(point / WEIGHTS)

    def _pull(self, trainer: Trainer) -> float | None:
        """How strongly the penalty pulls at the generator's weights beside the adversarial loss.

        λ ‖∇penalty‖ / ‖∇loss‖, each the median over 16 batches; the losses themselves say little of it.
        """
        config, arch = trainer.config, trainer.arch
        if not config.penalty_weight or config.penalty == "none":
            return None
        weights, norms = list(arch.generator.parameters()), []
        stage, rng = config.stage(config.growth), derived_rng(0, purpose="penalty at the start")
        for _ in range(16):
            z = torch.randn(stage.batch_size, config.dim_z, generator=rng)
            probes = rademacher((config.num_probes, *z.shape), rng).to(self.device)
            z = z.to(self.device)
            terms = arch.generator_terms(z, stage)["loss"], config.penalty_weight * arch.penalty(z, probes, stage)
            gradients = [torch.autograd.grad(term, weights, allow_unused=True) for term in terms]
            norms.append([math.hypot(*(float(g.norm()) for g in of if g is not None)) for of in gradients])
        adversarial, penalty = torch.tensor(norms).median(dim=0).values.tolist()
        return penalty / adversarial

    @torch.no_grad()
    def _remembers(self, trainer: Trainer) -> float:
        """How far the discriminator scores held-back images below those it trains on, in the distance to fakes.

        (E[D(training)] − E[D(held back)]) / (E[D(training)] − E[D(generated)]): Karras et al. 2020, arXiv:2006.06676,
        section 3.1.
        """
        z = torch.randn(HELD_BACK, trainer.config.dim_z, generator=derived_rng(0, purpose="generated images"))
        kinds = (self.data.read(torch.arange(HELD_BACK)), self.held_back, trainer.arch.generator(z.to(self.device)))
        real, held, fake = (trainer.arch.discriminator(images.to(self.device)).mean().item() for images in kinds)
        return (real - held) / (real - fake)

    def measure(self, run: Run, mark: float, metrics: tuple[NamedMetric, ...]) -> None:
        """Measure a generator on its way by what it has not been measured by."""
        point = self.point(run, mark)
        path = point / "scores.json"
        scores: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
        missing = [metric for metric in metrics if metric.name not in scores]
        if missing:
            judge = load_scene_reader(self.reader, device=self.device)
            real = self.folder / "real"
            for name, found in measured(point, self.data, missing, self.device, cache=real, judge=judge):
                scores[name] = found
                write_text(path, json.dumps(scores) + "\n")
                print(f"{run.name} at {mark:g} kimg: {name} {found.get('value', found)}", flush=True)


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


PANELS = {
    "activeness": "components for 95 % of the activeness",
    "diagonalness": "share on the diagonal",
    "dci_10k": "DCI disentanglement",
    "mig_10k": "MIG",
    "fd_effnetlite0_5k": "Fréchet distance",
    "ppl_zend_effnetlite0_10k": "path length",
    "diversity": "diversity",
    "spread": "least spread of a factor",
}


def read_curves(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """Read what has been measured so far.

    Args:
        folder: Of the runs.

    Returns:
        For each run its points by kimg: the value of each metric, and what its training tells.
    """
    curves: dict[str, list[dict[str, Any]]] = {}
    for path in folder.glob("points/*/*/scores.json"):
        about, scores = json.loads((path.parent / "about.json").read_text()), json.loads(path.read_text())
        spreads = scores.pop("spreads", {})
        point = about | {name: found["value"] for name, found in scores.items()}
        point |= {"spreads": spreads, "spread": min(spreads.values(), default=None)}
        point["shares"] = sorted(scores.get("activeness", {}).get("activeness", ()), reverse=True)
        curves.setdefault(about["run"], []).append(point)
    return {name: sorted(points, key=lambda point: point["kimg"]) for name, points in sorted(curves.items())}


def write_curves(folder: Path, out: Path) -> None:
    """Write the curves as JSON and PNG, and print a line for each point.

    Args:
        folder: Of the runs.
        out: Path without suffix.
    """
    curves = read_curves(folder)
    out.parent.mkdir(parents=True, exist_ok=True)
    write_text(out.with_suffix(".json"), json.dumps(curves, indent=1) + "\n")
    figure = Figure(figsize=(12, 10), layout="constrained")
    *panels, last = figure.subplots(3, 3).flat
    for axes, (name, title) in zip(panels, PANELS.items(), strict=True):
        for run, colour in RUNS.items():
            for seed, style in enumerate(("-", "--")):
                named = replace(run, seed=seed).name
                shown = [(point["kimg"], point[name]) for point in curves.get(named, ()) if point.get(name) is not None]
                if shown:
                    axes.plot(*zip(*shown, strict=True), color=colour, linestyle=style, marker=".", label=named)
        axes.set_title(title, fontsize=10)
        axes.set_ylim(bottom=0)
        axes.set_xlabel("kimg", fontsize=8)
    for run, colour in RUNS.items():
        if run.name in curves:
            shares = torch.tensor(curves[run.name][-1]["shares"])
            last.plot(range(1, len(shares) + 1), shares / shares.sum(), color=colour, marker=".")
    last.set_title("share of the activeness at the last point", fontsize=10)
    last.set_xlabel("components, most active first", fontsize=8)
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4, fontsize=8)
    figure.savefig(out.with_suffix(".png"), dpi=80)
    names = ["run", "kimg", *PANELS, "penalty", "pull", "remembers", "kimg_an_hour"]
    print(markdown([names, *([_shown(point.get(name)) for name in names] for run in curves.values() for point in run)]))


def _shown(value: float | str | None) -> str:
    return f"{value:.4g}" if isinstance(value, float | int) else value or ""
