"""Measure a generator by named metrics, and keep the results: one JSON line a metric, in ``metrics.jsonl``."""

from __future__ import annotations

import contextlib
import datetime as dt
import hashlib
import json
import math
import os
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

import directions
from directions.errors import UserError
from directions.evaluation.activeness import component_activeness
from directions.evaluation.diagonalness import diagonalness, diagonalness_evaluations
from directions.evaluation.disentanglement import LatentReadings, measure_dci, measure_mig, read_latents
from directions.evaluation.factors import Judge, judge_of, measure_factors
from directions.evaluation.image_metrics import FrechetDistance, load_network, perceptual_path_length
from directions.evaluation.named_metrics import NamedMetric
from directions.evaluation.scene_reader import load_scene_judge
from directions.files import require_writable
from directions.generators.base import Generator
from directions.sampling import derived_rng, draw_points

FILE_NAME = "metrics.jsonl"
_ROWS_OF_FEATURES = 64
"""Images that a feature network sees at once: enough to be quick, 200 MB of activations at 128 pixels."""

Progress = Callable[[str, int], AbstractContextManager[Callable[[int], object]]]
"""Starts a progress bar of a title and a total, and gives what is to be called with what has been done since."""


class RealImages(Protocol):
    """What a metric needs of a data set."""

    @property
    def digest(self) -> str:
        """SHA-256 that tells it from others."""
        ...

    def __len__(self) -> int:
        """Return the number of images."""
        ...

    def read(self, indices: Tensor) -> Tensor:
        """Return some images (batch, 3, height, width) in [−1, 1]."""
        ...


@dataclass(frozen=True)
class Result:
    """What came out.

    Attributes:
        value: The number that the metric's summary is about; ``None`` if there is none, as for a generator of which
            nothing bends.
        results: Everything that was measured, as plain JSON types.
        network_digest: SHA-256 of the feature network; ``None`` where there is none.
    """

    value: float | None
    results: dict[str, Any]
    network_digest: str | None = None


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
    _networks: dict[str, Any] = field(default_factory=dict, repr=False)
    _readings: dict[int, LatentReadings] = field(default_factory=dict, repr=False)

    def measure(self, metric: NamedMetric) -> Result:
        """Compute a metric.

        Args:
            metric: Which.

        Returns:
            The result.
        """
        compute: Callable[[NamedMetric], Result] = getattr(self, f"_{metric.kind}")
        return compute(metric)

    def _settings(self, metric: NamedMetric, count: Callable[[int], object]) -> dict[str, Any]:
        """What a metric's function is called with."""
        return {"classes": self.classes, "rows": self.rows, "count": count} | metric.settings

    def _activeness(self, metric: NamedMetric) -> Result:
        with self.progress(metric.name, 3 * metric.settings["samples"] * self.generator.dim_z) as count:
            settings = self._settings(metric, count)
            measured = component_activeness(self.generator, **settings)
        return Result(measured.carrying, measured.to_dict())

    def _diagonalness(self, metric: NamedMetric) -> Result:
        dim_z = self.generator.dim_z
        if dim_z < 2:
            return Result(None, {"reason": "z has one component, whose Hessian has one entry"})
        with self.progress(metric.name, diagonalness_evaluations(dim_z, metric.settings["samples"])) as count:
            settings = self._settings(metric, count)
            measured = diagonalness(self.generator, torch.eye(dim_z), **settings).to_dict()
        return Result(measured["share"], measured)

    def _path_length(self, metric: NamedMetric) -> Result:
        network = self._network(metric)
        with self.progress(metric.name, metric.settings["pairs"]) as count:
            settings = self._settings(metric, count) | {"rows": self._rows}
            measured = perceptual_path_length(self.generator, network, **settings)
        results = vars(measured) | {"standard_error": _finite(measured.standard_error)}
        return Result(measured.ppl, results, network.digest)

    def _frechet(self, metric: NamedMetric) -> Result:
        if self.real is None:
            raise UserError(f"{metric.name} compares with real images. Give them with --data FOLDER.")
        network, images = self._network(metric), metric.settings["images"]
        distance = FrechetDistance(network, self.generator.device)
        self._take_in_real(distance, metric, network, self.real)
        rng = derived_rng(0, purpose="generated images")
        points = draw_points(self.generator, images, rng, classes=self.classes, truncation=1.0)
        with self.progress(f"{metric.name}: generated images", images) as count, torch.no_grad():
            for start in range(0, images, self._rows):
                part = points[start : start + self._rows]
                distance.add(self.generator(part.z, part.y), real=False)
                count(len(part))
        results = {"distance": distance.value(), "real": distance.num_real, "generated": distance.num_generated}
        return Result(results["distance"], results, network.digest)

    def _take_in_real(self, distance: FrechetDistance, metric: NamedMetric, network: Any, real: RealImages) -> None:
        """Take in real images drawn at random, each at most once; from the cache where their statistics are there."""
        images, kept = min(metric.settings["images"], len(real)), None
        if self.cache is not None:
            self.cache.mkdir(parents=True, exist_ok=True)
            seen = getattr(network, "size", "")
            key = f"{metric.network} {network.digest} {seen} {real.digest} {self.generator.resolution} {images}"
            kept = self.cache / f"{metric.network}-{hashlib.sha256(key.encode()).hexdigest()[:20]}.safetensors"
            if distance.load_real(kept):
                return
        order = torch.randperm(len(real), generator=derived_rng(0, purpose="real images"))[:images]
        with self.progress(f"{metric.name}: real images", images) as count:
            for indices in order.split(self._rows):
                # In order within a batch: neighbours on disk are read together.
                distance.add(real.read(indices.sort().values), real=True)
                count(len(indices))
        if kept is not None:
            distance.save_real(kept)

    def _factor_effects(self, metric: NamedMetric) -> Result:
        dim_z = self.generator.dim_z
        with self.progress(metric.name, dim_z) as count:
            table = measure_factors(
                self.generator,
                torch.eye(dim_z),
                self._judge,
                path_sizes=metric.settings["path_size"],
                names=[f"z{i}" for i in range(dim_z)],
                num_points=metric.settings["num_points"],
                classes=self.classes or None,
                batch=self.rows,
                count=count,
            )
        return Result(table.single_factor_share, table.to_dict())

    def _dci(self, metric: NamedMetric) -> Result:
        readings = self._read(metric)
        with self.progress(f"{metric.name}: forests", len(readings.varied)) as count:
            measured = measure_dci(readings, count=count).to_dict()
        return Result(measured["disentanglement"], measured)

    def _mig(self, metric: NamedMetric) -> Result:
        measured = measure_mig(self._read(metric)).to_dict()
        return Result(measured["mig"], measured)

    @property
    def _rows(self) -> int:
        return min(self.rows, _ROWS_OF_FEATURES)

    @property
    def _judge(self) -> Judge:
        # A generator of scenes may have any size, and no classes: it is judged by who asks for the metric.
        return judge_of(self.generator) or load_scene_judge(self.generator.device)

    def _network(self, metric: NamedMetric) -> Any:
        assert metric.network is not None, "these kinds have a network"
        if metric.network not in self._networks:
            self._networks[metric.network] = load_network(metric.network, self.generator.device)
        return self._networks[metric.network]

    def _read(self, metric: NamedMetric) -> LatentReadings:
        samples = metric.settings["samples"]
        if samples not in self._readings:
            with self.progress(f"{metric.name}: readings", samples) as count:
                self._readings[samples] = read_latents(
                    self.generator, self._judge, samples=samples, classes=self.classes, rows=self.rows, count=count
                )
        return self._readings[samples]


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


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
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"Cannot make {self.path.parent}: {error.strerror}. Choose another with --out.") from error

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
        wanted = _identity(metric, measuring).items()
        return next((line for line in reversed(self.read()) if wanted <= line.items()), None)

    def require_writable(self) -> None:
        """Check that lines can be added, before anything is measured for them.

        Raises:
            UserError: If the file or its folder cannot be written.
        """
        require_writable(self.path)
        if self.path.exists() and not os.access(self.path, os.W_OK):
            raise UserError(f"Cannot write {self.path}: make it writable, or choose another folder with --out.")

    def line(self, metric: NamedMetric, measuring: Measuring, result: Result, seconds: float) -> dict[str, Any]:
        """Say what was measured, as `append` writes it.

        Args:
            metric: What was measured.
            measuring: The generator, its classes and the data.
            result: What came out.
            seconds: How long it took.

        Returns:
            The line.
        """
        return {
            "metric": metric.name,
            "value": result.value,
            "results": result.results,
            "generator": measuring.generator.name,
            **_identity(metric, measuring),
            "network": metric.network,
            "network_digest": result.network_digest,
            "seconds": round(seconds, 1),
            "time": dt.datetime.now().astimezone().isoformat(timespec="seconds"),
            "directions": directions.__version__,
        }

    def append(self, line: dict[str, Any]) -> dict[str, Any]:
        """Add a line and force it to disk.

        Args:
            line: As `line` makes it.

        Returns:
            The line.

        Raises:
            UserError: If the file cannot be written.
        """
        try:
            with self.path.open("a+b") as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - 1))
                if file.read(1) not in (b"", b"\n"):  # a kill has left half a line
                    file.write(b"\n")
                file.write((json.dumps(line, allow_nan=False) + "\n").encode())
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise UserError(
                f"Cannot write {self.path}: {error.strerror}. Free some space, or choose another folder with --out."
            ) from error
        return line


def _identity(metric: NamedMetric, measuring: Measuring) -> dict[str, Any]:
    """What a line must agree in to be of the same measurement."""
    return {
        "metric": metric.name,
        "generator_digest": measuring.generator.digest,
        "classes": list(measuring.classes),
        "data_digest": measuring.real.digest if metric.needs_data and measuring.real is not None else None,
        "settings": metric.settings,
    }
