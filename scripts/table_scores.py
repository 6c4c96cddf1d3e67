"""Score a trained GAN for ``reproduce_table.py``, by the named metrics of ``directions gan evaluate``.

All networks work offline: path length and Fréchet distance in the features of EfficientNet-Lite0, factors by the scene
reader. They are not the paper's LPIPS and Inception, and their names say so.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from directions.evaluation.image_metrics import RealImages
from directions.evaluation.metrics import Measuring, NamedMetric
from directions.generators.registry import load_generator

ONE_OBJECT = ("clevr-simple", "clevr-u", "clevr-1fov")
"""Sets whose scenes the reader can read."""


def metrics_for(data: str, metrics: tuple[NamedMetric, ...]) -> tuple[NamedMetric, ...]:
    """Leave out what cannot be measured on a set.

    Args:
        data: Name of the set.
        metrics: Those asked for.
    """
    return tuple(metric for metric in metrics if not metric.reads_scenes or data in ONE_OBJECT)


def score_run(
    run: Path, real: RealImages, metrics: tuple[NamedMetric, ...], device: str
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Measure one metric after the other.

    Args:
        run: A finished training run, ``SET/CELL/RUN``.
        real: Its images.
        metrics: What to measure.
        device: Where.

    Returns:
        Names and what was measured, the metric's own number as ``value``.
    """
    # All cells of a set see the same images: their statistics are kept beside the cells.
    measuring = Measuring(load_generator(str(run), device=device), real, cache=run.parents[1] / "real")
    for metric in metrics:
        measured = measuring.measure(metric)
        yield metric.name, {**measured.results, "value": measured.value}
