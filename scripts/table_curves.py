"""The long scale of ``reproduce_table.py``: 16 pixels, thousands of kimg, measured along the way.

The plain network first, up to where it varies the scenes as the data does; then the runs that say most, each 200 kimg
in turn with what it is compared with. All of it is one list of steps, walked in order in one process: whatever is there
is passed over, so that the same command goes on after a stop, and what has been measured so far is drawn as curves.

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
from table_report import markdown

from directions.device import keep_freed_memory
from directions.evaluation.metrics import Measuring
from directions.evaluation.named_metrics import NamedMetric
from directions.evaluation.scene_reader import READER_FOLDER, SceneJudge, load_scene_reader
from directions.files import write_text
from directions.gan.data import ImageData, open_data
from directions.gan.recording import content_of, record_training, starting_state
from directions.gan.trainer import Line, Trainer
from directions.generators.registry import load_generator
from directions.generators.weights import WEIGHTS
from directions.penalty import rademacher
from directions.run import RunFolder
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

    @property
    def name(self) -> str:
        """Name of its folder."""
        kind = f"-{self.reduction}-{self.proportion:g}" if self.proportion else ""
        return f"{self.row}{kind}-{self.seed}"


PLAIN = Run("plain")
MIDDLE = Run("ft", 10)
RUNS = (
    MIDDLE,
    Run("hp", 10),
    Run("ft", 10, "mean"),
    Run("ft", 100),
    Run("ft", 1),
    Run("hp", 10, "mean"),
    Run("hp", 100),
    Run("hp", 1),
)
"""With the penalty, the most telling first."""


def steps(
    seeds: list[int], kimg: float = KIMG, start: float = START, every: float = EVERY
) -> Iterator[tuple[Run, float]]:
    """Give each run with the kimg up to which it is to come, in order."""
    marks = [round(every * number, 6) for number in range(1, round(kimg / every) + 1)]
    early, late = [mark for mark in marks if mark <= start], [mark for mark in marks if mark > start]
    for seed in seeds:
        plain, middle = replace(PLAIN, seed=seed), replace(MIDDLE, seed=seed)
        yield from ((plain, mark) for mark in early)
        yield from ((run, mark) for mark in late for run in (middle, plain))
        for run in RUNS[1:]:
            yield from ((replace(run, seed=seed), mark) for mark in (late if run.row == "ft" else marks))


class Curves:
    """Folder of the runs, and what is done in it.

    Args:
        arguments: Of ``reproduce_table.py``.
    """

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.folder, self.device, self.seeds = arguments.folder, arguments.device, arguments.seeds
        self.metrics: tuple[NamedMetric, ...] = arguments.metrics
        self.kimg = arguments.kimg or KIMG
        self.start, self.every = (round(length * self.kimg / KIMG, 6) for length in (START, EVERY))
        self.reader = arguments.reader or READER_FOLDER
        self.images = arguments.data.get("clevr-simple", "data/clevr-simple-64")
        self._data: ImageData | None = None

    def walk(self) -> None:
        """Do what is not there yet; path lengths when all is trained and otherwise measured."""
        keep_freed_memory()
        torch.set_flush_denormal(True)
        for late in (False, True):
            wanted = tuple(metric for metric in self.metrics if metric.name.startswith(LAST) == late)
            for run, mark in steps(self.seeds, self.kimg, self.start, self.every):
                self.train(run, mark)
                self.measure(run, mark, wanted)

    @property
    def data(self) -> ImageData:
        """Images to train on: all but the last."""
        if self._data is None:
            every = open_data(TrainConfig(data=self.images, kimg=self.kimg, **_only_images()))
            self._held_back = every.read(torch.arange(len(every) - HELD_BACK, len(every)))
            self._data = ImageData(every.images[:-HELD_BACK], f"{every.digest}/without {HELD_BACK}")
        return self._data

    def point(self, run: Run, mark: float) -> Path:
        """Folder of a generator on its way."""
        path: Path = self.folder / "points" / run.name / f"{mark:g}"
        return path

    def config(self, run: Run, mark: float) -> TrainConfig:
        """Settings of a run that ends at a mark."""
        settings = SETTINGS | {"data": self.images, "seed": run.seed, "device": self.device, "kimg": mark}
        if self.kimg < KIMG:  # a trial: everything shrinks with it
            shrink = self.kimg / KIMG
            for field in ("stable_kimg", "fade_kimg"):
                settings[field] = tuple(value * shrink for value in SETTINGS[field])
        if run.proportion:
            weight = run.proportion * math.log(2) / self.penalties()[run.reduction]
            settings |= {"penalty": "hessian", "penalty_weight": weight, "penalty_reduction": run.reduction}
        if run.row == "ft":
            settings |= {
                "fine_tune": str(self.folder / "start" / f"plain-{run.seed}"),
                "kimg": mark - self.start,
                "penalty_ramp_kimg": 0.2 * (self.kimg - self.start),
                "stable_kimg": 0,
                "fade_kimg": 0,
            }
        return TrainConfig(**settings)

    def penalties(self) -> dict[str, float]:
        """The penalty of the plain network, seed 0, where fine-tuning starts; measured once."""
        path = self.folder / "penalties.json"
        if not path.exists():
            measured = {}
            for reduction in ("max", "mean"):
                config = replace_config(self.config(PLAIN, self.start), penalty_reduction=reduction)
                trainer = Trainer(config, self.data, self.device)
                trainer.start_from(starting_state(str(self.folder / "start" / PLAIN.name))[1])
                rng, batch, total = derived_rng(0, purpose="penalty at the start"), config.batch_size[-1], 0.0
                for _ in range(16):
                    z = torch.randn(batch, config.dim_z, generator=rng)
                    probes = rademacher((config.num_probes, *z.shape), rng)
                    stage = config.stage(config.growth)
                    with torch.no_grad():
                        total += trainer.arch.penalty(z.to(self.device), probes.to(self.device), stage).item() / 16
                measured[reduction] = total
            write_text(path, json.dumps(measured) + "\n")
            print(f"Penalty of the plain network at {self.start:g} kimg: {measured}", flush=True)
        penalties: dict[str, float] = json.loads(path.read_text())
        return penalties

    def train(self, run: Run, mark: float) -> None:
        """Train a run up to a mark, and keep what it is then."""
        point = self.point(run, mark)
        if (point / WEIGHTS).exists():
            return
        config = self.config(run, mark)
        path = self.folder / "runs" / run.name
        trainer = Trainer(config, self.data, self.device)
        if (path / "config.json").exists():
            folder = RunFolder(path)
            folder.write_config(content_of(config))
        else:
            shutil.rmtree(path, ignore_errors=True)
            made = RunFolder.create(path.parent, "new", content_of(config)).path
            folder = RunFolder(made.rename(path))
        checkpoint = folder.read_checkpoint()
        if checkpoint is not None:
            trainer.load_state_dict(checkpoint["state"])
        elif config.fine_tune is not None:
            trainer.start_from(starting_state(config.fine_tune)[1])
        begun, seen = time.process_time(), trainer.seen

        def tell(trainer: Trainer, line: Line | None) -> None:
            if line is not None and trainer.step % 1000 == 0:
                terms = " ".join(
                    f"{name} {line[name]:.4g}" for name in ("loss_d", "loss_g", "penalty", "diversity") if name in line
                )
                print(f"{run.name}: {line['kimg']:.0f} of {config.kimg:g} kimg, {terms}", flush=True)

        record_training(trainer, folder, on_step=tell)
        hours = (time.process_time() - begun) / 3600
        last = [line for line in folder.read_stats() if line["kimg"] > trainer.seen / 1000 - self.every / 2]
        about = {
            "run": run.name,
            "kimg": mark,
            "kimg_an_hour": (trainer.seen - seen) / 1000 / max(hours, 1e-9),
            "remembers": self._remembers(trainer),
            **{
                name: _mean(line.get(name) for line in last)
                for name in ("penalty", "penalty_weight", "diversity", "loss_g")
            },
        }
        if run.row == "plain" and mark == self.start and not (self.folder / "start" / run.name).exists():
            # Fine-tuning starts from the whole of it here, while it goes on.
            shutil.copytree(path, self.folder / "start" / "partial", dirs_exist_ok=True)
            (self.folder / "start" / "partial").rename(self.folder / "start" / run.name)
        shutil.rmtree(point, ignore_errors=True)
        point.mkdir(parents=True)
        shutil.copy(folder.config_path, point)
        write_text(point / "about.json", json.dumps(about, indent=2) + "\n")
        shutil.copy(folder.path / WEIGHTS, point / "partial")
        (point / "partial").rename(point / WEIGHTS)

    @torch.no_grad()
    def _remembers(self, trainer: Trainer) -> float:
        """How far the discriminator scores held-back images below those it trains on, in the distance to fakes.

        (E[D(training)] − E[D(held back)]) / (E[D(training)] − E[D(generated)]): Karras et al. 2020, arXiv:2006.06676,
        section 3.1.
        """
        seen = self.data.read(torch.arange(HELD_BACK))
        z = torch.randn(HELD_BACK, trainer.config.dim_z, generator=derived_rng(0, purpose="generated images"))
        kinds = (seen, self._held_back, trainer.arch.generator(z.to(trainer.device)))
        # Groups of four are compared with one another: in a fixed order, as in training.
        real, held, fake = (trainer.arch.discriminator(images.to(trainer.device)).mean().item() for images in kinds)
        return (real - held) / (real - fake)

    def measure(self, run: Run, mark: float, metrics: tuple[NamedMetric, ...]) -> None:
        """Measure a generator on its way by what it has not been measured by."""
        point = self.point(run, mark)
        path = point / "scores.json"
        scores: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
        missing = [metric for metric in metrics if metric.name not in scores]
        if not missing:
            return
        generator = load_generator(str(point), device=self.device)
        generator.judge = SceneJudge(load_scene_reader(self.reader, device=self.device))  # type: ignore[attr-defined]
        measuring = Measuring(generator, self.data, cache=self.folder / "real")
        for metric in missing:
            begun = time.process_time()
            result = measuring.measure(metric)
            scores[metric.name] = result.results | {"value": result.value}
            write_text(path, json.dumps(scores) + "\n")
            print(
                f"{run.name} at {mark:g}: {metric.name} {result.value} ({time.process_time() - begun:.0f} s)",
                flush=True,
            )
            if measuring._readings:
                scores["spreads"] = next(iter(measuring._readings.values())).spreads
        write_text(path, json.dumps(scores) + "\n")


def _only_images() -> dict[str, Any]:
    return {"resolution": SETTINGS["resolution"], "stable_kimg": 0, "fade_kimg": 0}


def replace_config(config: TrainConfig, **changed: Any) -> TrainConfig:
    """Return settings with some of them changed."""
    return TrainConfig.from_dict(config.to_dict() | changed)


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
COLOURS = {"plain": "black", "ft-max-10": "tab:red", "hp-max-10": "tab:blue", "ft-mean-10": "tab:orange",
           "ft-max-100": "tab:purple", "ft-max-1": "tab:pink", "hp-mean-10": "tab:cyan", "hp-max-100": "tab:green",
           "hp-max-1": "tab:olive"}  # fmt: skip


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
    from matplotlib.figure import Figure

    curves = read_curves(folder)
    out.parent.mkdir(parents=True, exist_ok=True)
    write_text(out.with_suffix(".json"), json.dumps(curves, indent=1) + "\n")
    figure = Figure(figsize=(14, 6.5), layout="constrained")
    for axes, (name, title) in zip(figure.subplots(2, 4).flat, PANELS.items(), strict=True):
        for run, points in curves.items():
            kind, _, seed = run.rpartition("-")
            shown = [(point["kimg"], point[name]) for point in points if point.get(name) is not None]
            style = {"color": COLOURS.get(kind), "linestyle": "-" if seed == "0" else "--", "marker": ".", "label": run}
            axes.plot(*zip(*shown, strict=True), **style) if shown else None
        axes.set_title(title, fontsize=10)
        axes.set_ylim(bottom=0)
        axes.set_xlabel("kimg", fontsize=8)
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=6, fontsize=8)
    figure.savefig(out.with_suffix(".png"), dpi=80)
    names = ["run", "kimg", *PANELS, "penalty", "remembers", "kimg_an_hour"]
    rows = [[_shown(point.get(name)) for name in names] for points in curves.values() for point in points]
    print(markdown([names, *rows]))


def _shown(value: float | str | None) -> str:
    return (
        "" if value is None else value if isinstance(value, str) else f"{value:.3g}" if value < 100 else f"{value:.0f}"
    )
