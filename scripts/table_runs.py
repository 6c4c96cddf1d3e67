"""What the scales of ``reproduce_table.py`` share: a training that goes on where it was, and its measurement.

All networks that measure work offline: path length and Fréchet distance in the features of EfficientNet-Lite0, factors
by the scene reader. They are not the paper's LPIPS and Inception, and their names say so.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from directions.evaluation.factors import Judge, LatentReadings
from directions.evaluation.image_metrics import RealImages
from directions.evaluation.metrics import Measuring, NamedMetric
from directions.gan.recording import content_of, starting_state
from directions.gan.trainer import Trainer
from directions.generators.registry import load_generator
from directions.run import RunFolder


def opened(path: Path, trainer: Trainer) -> RunFolder:
    """Open a run folder, or make it; the trainer is then as its checkpoint left it, or starts.

    Args:
        path: The folder.
        trainer: Fresh; its configuration is written down.

    Returns:
        The folder.
    """
    config = trainer.config
    if (path / "config.json").exists():
        folder = RunFolder.open(path)
        folder.write_config(content_of(config))
    else:
        shutil.rmtree(path, ignore_errors=True)
        folder = RunFolder(RunFolder.create(path.parent, "run", content_of(config)).path.rename(path))
    checkpoint = folder.read_checkpoint()
    if checkpoint is not None:
        trainer.load_state_dict(checkpoint["state"])
    elif config.fine_tune is not None:
        trainer.start_from(starting_state(config.fine_tune))
    return folder


def measured(
    run: Path,
    real: RealImages,
    metrics: Sequence[NamedMetric],
    device: str,
    *,
    cache: Path,
    judge: Judge | None = None,
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Measure one metric after the other.

    Args:
        run: Folder of a generator.
        real: Its images.
        metrics: What to measure.
        device: Where.
        cache: Folder for what has been measured on the real images.
        judge: Reads factors; ``None`` takes the package's.

    Yields:
        Names and what was measured, the metric's own number as ``value``, and after a metric that reads factors
        ``spreads``, theirs over the data's.
    """
    generator = load_generator(str(run), device=device)
    if judge is not None:
        generator.judge = judge  # type: ignore[attr-defined]
    measuring = Measuring(generator, real, cache=cache)
    for metric in metrics:
        line = measuring.measure(metric)
        yield metric.name, {**line["results"], "value": line["value"]}
        for readings in measuring._made.values():
            if isinstance(readings, LatentReadings):
                yield "spreads", dict(readings.spreads)
