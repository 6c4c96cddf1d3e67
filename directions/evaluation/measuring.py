"""Compute named metrics of a generator: from a name's settings to its results.

Between the metrics' own modules and ``directions gan evaluate``. What several metrics need, such as the readings of
10,000 images, is made once; statistics of real images are kept on disk.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor

from directions.errors import UserError
from directions.evaluation.components import component_activeness
from directions.evaluation.dci import measure_dci
from directions.evaluation.diagonalness import diagonalness, diagonalness_evaluations
from directions.evaluation.efficientnet import load_efficientnet_lite0
from directions.evaluation.factors import measure_factors
from directions.evaluation.frechet import FrechetDistance
from directions.evaluation.latent_readings import LatentReadings, ResizingReader, read_latents
from directions.evaluation.mig import measure_mig
from directions.evaluation.named_metrics import NamedMetric
from directions.evaluation.path_length import perceptual_path_length
from directions.evaluation.published_networks import load_inception, load_vgg16_distance
from directions.evaluation.scene_reader import load_scene_reader
from directions.sampling import derived_rng, draw_points

if TYPE_CHECKING:
    from directions.generators.base import Generator

_NETWORKS: dict[str, Callable[[torch.device], Any]] = {
    "effnetlite0": load_efficientnet_lite0,
    "inception": load_inception,
    "lpips_vgg": load_vgg16_distance,
}
_ROWS_OF_FEATURES = 64
"""Images that a feature network sees at once: enough to be quick, 200 MB of activations at 128 pixels."""

Progress = Callable[[str, int], AbstractContextManager[Callable[[int], object]]]
"""Starts a progress bar of a title and a total, and gives what is to be called with what has been done since."""


class RealImages(Protocol):
    """What a metric needs of a data set.

    Attributes:
        digest: SHA-256 that tells it from others.
    """

    @property
    def digest(self) -> str:
        """SHA-256 that tells it from others."""
        ...

    def __len__(self) -> int:
        """Return the number of images."""
        ...

    def batch(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        """Return some images (batch, 3, height, width) in [−1, 1], and their classes."""
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
    """What named metrics are measured on.

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

    def _activeness(self, metric: NamedMetric) -> Result:
        total = 3 * metric.settings["samples"] * self.generator.dim_z
        with self.progress(metric.name, total) as count:
            measured = component_activeness(
                self.generator, classes=self.classes, rows=self.rows, count=count, **metric.settings
            )
        return Result(measured.carrying, measured.to_dict())

    def _diagonalness(self, metric: NamedMetric) -> Result:
        dim_z = self.generator.dim_z
        if dim_z < 2:
            return Result(None, {"reason": "z has one component, whose Hessian has one entry"})
        with self.progress(metric.name, diagonalness_evaluations(dim_z, metric.settings["samples"])) as count:
            measured = diagonalness(
                self.generator,
                torch.eye(dim_z),
                classes=self.classes,
                rows=self.rows,
                count=count,
                **metric.settings,
            )
        return Result(_finite(measured.share), measured.to_dict())

    def _path_length(self, metric: NamedMetric) -> Result:
        network = self._network(metric)
        with self.progress(metric.name, metric.settings["pairs"]) as count:
            measured = perceptual_path_length(
                self.generator, network, classes=self.classes, rows=self._rows, count=count, **metric.settings
            )
        results = {"ppl": measured.value, "standard_error": _finite(measured.error), "pairs": measured.pairs}
        return Result(measured.value, results, network.digest)

    def _frechet(self, metric: NamedMetric) -> Result:
        if self.real is None:
            raise UserError(f"{metric.name} compares with real images. Give them with --data FOLDER.")
        network, images = self._network(metric), metric.settings["images"]
        distance = FrechetDistance(network, self.generator.device)
        self._take_in_real(distance, metric.name, network, self.real, min(images, len(self.real)))
        self._take_in_generated(distance, metric.name, images)
        results = {"distance": distance.value(), "real": distance.num_real, "generated": distance.num_generated}
        return Result(results["distance"], results, network.digest)

    def _factor_effects(self, metric: NamedMetric) -> Result:
        reader = ResizingReader(load_scene_reader(device=self.generator.device))
        dim_z = self.generator.dim_z
        with self.progress(metric.name, dim_z) as count:
            table = measure_factors(
                self.generator,
                torch.eye(dim_z),
                reader,
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
            measured = measure_dci(readings, count=count)
        return Result(_finite(measured.disentanglement), measured.to_dict())

    def _mig(self, metric: NamedMetric) -> Result:
        measured = measure_mig(self._read(metric))
        return Result(_finite(measured.value), measured.to_dict())

    @property
    def _rows(self) -> int:
        return min(self.rows, _ROWS_OF_FEATURES)

    def _network(self, metric: NamedMetric) -> Any:
        assert metric.network is not None, "the registry gives these kinds a network"
        if metric.network not in self._networks:
            self._networks[metric.network] = _NETWORKS[metric.network](self.generator.device)
        return self._networks[metric.network]

    def _read(self, metric: NamedMetric) -> LatentReadings:
        samples = metric.settings["samples"]
        if samples not in self._readings:
            reader = ResizingReader(load_scene_reader(device=self.generator.device))
            with self.progress(f"{metric.name}: readings", samples) as count:
                self._readings[samples] = read_latents(
                    self.generator, reader, samples=samples, classes=self.classes, rows=self.rows, count=count
                )
        return self._readings[samples]

    def _take_in_real(self, distance: FrechetDistance, name: str, network: Any, real: RealImages, images: int) -> None:
        """Take in real images drawn at random, each at most once; from the cache where their statistics are there."""
        kept = None
        if self.cache is not None:
            self.cache.mkdir(parents=True, exist_ok=True)
            size = self.generator.resolution
            key = f"{network.name} {network.digest} {getattr(network, 'size', '')} {real.digest} {size} {images}"
            kept = self.cache / f"{network.name}-{hashlib.sha256(key.encode()).hexdigest()[:20]}.safetensors"
            if distance.load_real(kept):
                return
        order = torch.randperm(len(real), generator=derived_rng(0, purpose="real images"))[:images]
        with self.progress(f"{name}: real images", images) as count:
            for indices in order.split(self._rows):
                # In order within a batch: neighbours on disk are read together.
                distance.add_real(real.batch(indices.sort().values)[0])
                count(len(indices))
        if kept is not None:
            distance.save_real(kept)

    @torch.no_grad()
    def _take_in_generated(self, distance: FrechetDistance, name: str, images: int) -> None:
        rng = derived_rng(0, purpose="generated images")
        points = draw_points(self.generator, images, rng, classes=self.classes, truncation=1.0)
        with self.progress(f"{name}: generated images", images) as count:
            for start in range(0, images, self._rows):
                part = points[start : start + self._rows]
                distance.add_generated(self.generator(part.z, part.y))
                count(len(part))


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
