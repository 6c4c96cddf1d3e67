"""The metrics of ``directions gan evaluate`` by name, and ``metrics.jsonl``, which keeps one JSON line of each.

torch is imported only when something is measured, so that the help can list the metrics at once.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import os
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from directions import __version__
from directions.errors import UserError, nearest
from directions.files import explained

if TYPE_CHECKING:
    from directions.evaluation.factors import Judge, LatentReadings
    from directions.evaluation.image_metrics import RealImages
    from directions.generators.base import Generator

FILE_NAME = "metrics.jsonl"

Kind = Literal["activeness", "diagonalness", "path_length", "frechet", "factor_effects", "dci", "mig"]

VALUES: dict[Kind, str] = {
    "activeness": "carrying_95", "diagonalness": "share", "path_length": "ppl", "frechet": "distance",
    "factor_effects": "single_factor_share", "dci": "disentanglement", "mig": "mig",
}  # fmt: skip
"""Which of the results of each kind is its value."""

Progress = Callable[[str, int], AbstractContextManager[Callable[[int], object]]]
"""Starts a progress bar of a title and a total, and gives what is to be called with what has been done since."""


@dataclass(frozen=True)
class NamedMetric:
    """A metric with its settings: numbers under one name can be compared.

    Attributes:
        name: What it is asked for by.
        kind: What is computed.
        summary: What the value is, and which way is better.
        cost: What it takes, in images made.
        settings: Everything that the number depends on but the generator and the data; the seed of whatever is drawn
            is 0.
        network: Feature network, by its name; ``None`` where there is none.
    """

    name: str
    kind: Kind
    summary: str
    cost: str
    settings: dict[str, Any]
    network: str | None = None

    @property
    def needs_data(self) -> bool:
        """Whether real images are needed."""
        return self.kind == "frechet"


def _path_length(name: str, network: str, pairs: int) -> NamedMetric:
    summary, cost = "perceptual path length, lower is better", f"{2 * pairs:,} images and their features"
    return NamedMetric(name, "path_length", summary, cost, {"pairs": pairs, "step": 1e-4}, network)


def _frechet(name: str, network: str, images: int) -> NamedMetric:
    summary, cost = "Fréchet distance to real images, lower is better", "images, features of as many real ones"
    return NamedMetric(name, "frechet", summary, f"{images:,} {cost}", {"images": images}, network)


def _scenes(name: str, kind: Kind, summary: str, cost: str, **settings: float) -> NamedMetric:
    return NamedMetric(name, kind, f"scenes: {summary}, higher is better", cost, settings)


_BENDING = "share of pixels whose Hessian is largest on the diagonal, higher is better"
_CARRIED = "components that carry 95 % of the activeness"
_ACTIVENESS = {"samples": 300, "progan_normalised_from": 12}
_HESSIANS = {"samples": 16, "step": 0.1, "floor": 1e-3}
_EFFECT = "share of a component's effect on one factor"

METRICS: dict[str, NamedMetric] = {
    metric.name: metric
    for metric in (
        NamedMetric("activeness", "activeness", _CARRIED, "900 images a component", _ACTIVENESS),
        NamedMetric("diagonalness", "diagonalness", _BENDING, "16 × (2 |z|² + 1) images", _HESSIANS),
        _path_length("ppl_zend_effnetlite0_10k", "effnetlite0", 10_000),
        _path_length("ppl_zend_effnetlite0", "effnetlite0", 100_000),
        _path_length("ppl_zend_lpips_vgg", "lpips_vgg", 100_000),
        _frechet("fd_effnetlite0_5k", "effnetlite0", 5_000),
        _frechet("fd_effnetlite0_50k", "effnetlite0", 50_000),
        _frechet("fid_inception_50k", "inception", 50_000),
        _scenes("factor_effects", "factor_effects", _EFFECT, "192 × (2 |z| + 1) images", num_points=192, path_size=2.0),
        _scenes("dci_10k", "dci", "DCI disentanglement", "10,000 images, a random forest a factor", samples=10_000),
        _scenes("mig_10k", "mig", "mutual information gap", "10,000 images (those of dci_10k)", samples=10_000),
    )
}

GROUPS: dict[str, tuple[str, ...]] = {
    "quick": ("activeness", "diagonalness", "ppl_zend_effnetlite0_10k", "fd_effnetlite0_5k"),
    "scenes": ("factor_effects", "dci_10k", "mig_10k"),
    "paper": ("activeness", "ppl_zend_lpips_vgg", "fid_inception_50k"),
}
"""Several metrics under one name."""


def find_metrics(names: str, *, have_data: bool) -> tuple[NamedMetric, ...]:
    """Look up metrics and groups of them.

    Args:
        names: Separated by commas.
        have_data: Whether there are real images. Without them a metric that needs them is left out of a group, and
            refused if it is asked for by its name.

    Returns:
        The metrics, each once, in the order asked for.

    Raises:
        UserError: If there is no such metric, it needs images that are not there, or none is left.
    """
    allowed = [*METRICS, *GROUPS]
    found: dict[str, NamedMetric] = {}
    for name in (part.strip() for part in names.split(",") if part.strip()):
        if name not in allowed:
            raise UserError(f"metrics must be of {', '.join(allowed)}; got {name!r}.{nearest(name, allowed)}")
        if name in METRICS and METRICS[name].needs_data and not have_data:
            raise UserError(f"metrics has {name}, which compares with real images. Give them with --data FOLDER.")
        members = (METRICS[member] for member in GROUPS.get(name, (name,)))
        found |= {metric.name: metric for metric in members if have_data or not metric.needs_data}
    if not found:
        raise UserError(f"metrics must name at least one of {', '.join(allowed)}; got {names!r}.")
    return tuple(found.values())


@dataclass
class Measuring:
    """What named metrics are measured on. What several of them need, such as 10,000 readings, is made once.

    Attributes:
        generator: In eval mode.
        real: Real images of the generator's size; ``None`` if there are none.
        classes: Class indices to draw from, uniformly; empty for a generator without classes.
        rows: Images to make at once, at most.
        cache: Folder for statistics of real images; ``None`` keeps none.
        progress: Makes progress bars.
    """

    generator: Generator
    real: RealImages | None = None
    classes: tuple[int, ...] = ()
    rows: int = 64
    cache: Path | None = None
    progress: Progress = lambda title, total: nullcontext(lambda done: None)
    _made: dict[Any, Any] = field(default_factory=dict, repr=False)

    def measure(self, metric: NamedMetric) -> dict[str, Any]:
        """Compute a metric.

        Args:
            metric: Which.

        Returns:
            Its line: what was measured, of what, with what, and when. The ``value`` is the number that the metric's
            summary is about; ``None`` if there is none, as for a generator of which nothing bends.
        """
        started = time.perf_counter()
        results = _plain(getattr(self, f"_{metric.kind}")(metric))
        return {
            "metric": metric.name,
            "value": results.get(VALUES[metric.kind]),
            "results": results,
            "generator": self.generator.name,
            **self.identity(metric),
            "network": metric.network,
            "network_digest": None if metric.network is None else self._network(metric).digest,
            "seconds": round(time.perf_counter() - started, 1),
            "time": dt.datetime.now().astimezone().isoformat(timespec="seconds"),
            "directions": __version__,
        }

    def identity(self, metric: NamedMetric) -> dict[str, Any]:
        """What a line must agree in to be of the same measurement."""
        return {
            "metric": metric.name,
            "generator_digest": self.generator.digest,
            "classes": list(self.classes),
            "data_digest": self.real.digest if metric.needs_data and self.real is not None else None,
            "settings": metric.settings,
        }

    def _counted(self, metric: NamedMetric, title: str, total: int, measure: Callable[..., Any], *of: object) -> Any:
        """Call a metric's function on the generator with its settings, under a progress bar."""
        with self.progress(title, total) as count:
            return measure(self.generator, *of, classes=self.classes, rows=self.rows, count=count, **metric.settings)

    def _activeness(self, metric: NamedMetric) -> dict[str, Any]:
        from directions.evaluation.activeness import component_activeness

        images = 3 * metric.settings["samples"] * self.generator.dim_z
        return self._counted(metric, metric.name, images, component_activeness)

    def _diagonalness(self, metric: NamedMetric) -> dict[str, Any]:
        import torch

        from directions.evaluation.activeness import diagonalness, diagonalness_evaluations

        dim_z = self.generator.dim_z
        if dim_z < 2:
            return {"reason": "z has one component, whose Hessian has one entry"}
        images = diagonalness_evaluations(dim_z, metric.settings["samples"])
        return self._counted(metric, metric.name, images, diagonalness, torch.eye(dim_z))

    def _path_length(self, metric: NamedMetric) -> dict[str, Any]:
        from directions.evaluation.image_metrics import perceptual_path_length

        pairs = metric.settings["pairs"]
        return self._counted(metric, metric.name, pairs, perceptual_path_length, self._network(metric))

    def _frechet(self, metric: NamedMetric) -> dict[str, Any]:
        from directions.evaluation.image_metrics import frechet_distance

        assert self.real is not None, "find_metrics has looked"
        return frechet_distance(
            self.generator, self._network(metric), self.real, classes=self.classes, rows=self.rows, cache=self.cache,
            progress=lambda title, total: self.progress(f"{metric.name}: {title}", total), **metric.settings,
        )  # fmt: skip

    def _factor_effects(self, metric: NamedMetric) -> dict[str, Any]:
        from directions.evaluation.factors import measure_factors

        dim_z, points, size = self.generator.dim_z, metric.settings["num_points"], metric.settings["path_size"]
        with self.progress(metric.name, dim_z) as count:
            return measure_factors(
                self.generator, np.eye(dim_z), self._judge(), path_sizes=size, names=[f"z{i}" for i in range(dim_z)],
                num_points=points, classes=self.classes or None, batch=self.rows, count=count,
            ).to_dict()  # fmt: skip

    def _dci(self, metric: NamedMetric) -> dict[str, Any]:
        from directions.evaluation.factors import measure_dci

        readings = self._read(metric)
        with self.progress(f"{metric.name}: forests", len(readings.varied)) as count:
            return measure_dci(readings, count=count)

    def _mig(self, metric: NamedMetric) -> dict[str, Any]:
        from directions.evaluation.factors import measure_mig

        return measure_mig(self._read(metric))

    def _judge(self) -> Judge:
        from directions.evaluation.factors import judge_of
        from directions.evaluation.scene_reader import load_scene_reader

        # A generator of scenes may have any size, and no classes: it is judged by who asks for the metric.
        return judge_of(self.generator) or load_scene_reader(device=self.generator.device)

    def _network(self, metric: NamedMetric) -> Any:
        from directions.evaluation import image_metrics

        if metric.network not in self._made:
            assert metric.network is not None, "these kinds have a network"
            self._made[metric.network] = image_metrics.load_network(metric.network, self.generator.device)
        return self._made[metric.network]

    def _read(self, metric: NamedMetric) -> LatentReadings:
        from directions.evaluation.factors import read_latents

        samples = metric.settings["samples"]
        if samples not in self._made:
            title = f"{metric.name}: readings"
            self._made[samples] = self._counted(metric, title, samples, read_latents, self._judge())
        found: LatentReadings = self._made[samples]
        return found


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    """Turn arrays and tuples into lists, and numbers that are not finite into ``None``: plain JSON."""
    plain = {name: np.asarray(v).tolist() if isinstance(v, np.ndarray | tuple) else v for name, v in values.items()}
    return {name: None if isinstance(v, float) and not np.isfinite(v) else v for name, v in plain.items()}


class MetricFile:
    """The lines of one generator's evaluation; each is written when its metric is done.

    A line says what it is of (the digests of generator, data and network, and the settings), so that an evaluation that
    was stopped goes on with what is missing, and nothing is taken for a measurement of something else.

    Args:
        folder: Holds ``metrics.jsonl``; made if it is not there.

    Raises:
        UserError: If the folder cannot be made.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.path = Path(folder) / FILE_NAME
        with explained(self.path.parent):
            self.path.parent.mkdir(parents=True, exist_ok=True)

    def read(self) -> list[dict[str, Any]]:
        """Return the whole lines, in order; what a kill has left of a line is passed over."""
        lines = []
        for text in self.path.read_text(encoding="utf-8").splitlines() if self.path.exists() else ():
            with contextlib.suppress(json.JSONDecodeError):
                lines.append(json.loads(text))
        return lines

    def find(self, metric: NamedMetric, measuring: Measuring) -> dict[str, Any] | None:
        """Find the last line of a metric that was measured on the same things.

        Args:
            metric: Which.
            measuring: The generator, its classes and the data.

        Returns:
            The line; ``None`` if it has to be measured.
        """
        wanted = measuring.identity(metric).items()
        return next((line for line in reversed(self.read()) if wanted <= line.items()), None)

    def append(self, line: dict[str, Any]) -> None:
        """Add a line and force it to disk.

        Args:
            line: As `Measuring.measure` makes it.

        Raises:
            UserError: If the file cannot be written.
        """
        with explained(self.path), self.path.open("a+b") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - 1))
            if file.read(1) not in (b"", b"\n"):  # a kill has left half a line
                file.write(b"\n")
            file.write((json.dumps(line, allow_nan=False) + "\n").encode())
            file.flush()
            os.fsync(file.fileno())
