"""Score a trained GAN for ``reproduce_table.py``: the numbers of the table, each by the package's own metric.

All networks work offline: path length and Fréchet distance in the features of EfficientNet-Lite0, factors by the scene
reader. They are not the paper's LPIPS and Inception, and their names say so.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from directions.evaluation.components import component_activeness
from directions.evaluation.dci import measure_dci
from directions.evaluation.diagonalness import diagonalness
from directions.evaluation.efficientnet import load_efficientnet_lite0
from directions.evaluation.frechet import FrechetDistance
from directions.evaluation.latent_readings import ResizingReader, read_latents
from directions.evaluation.path_length import perceptual_path_length
from directions.evaluation.scene_reader import load_scene_reader
from directions.gan.config import TrainConfig
from directions.gan.data.images import ImageData
from directions.generators.base import Generator
from directions.generators.registry import load_generator

BATCH = 100
READINGS = 2000
ONE_OBJECT = ("clevr-simple", "clevr-u", "clevr-1fov")
"""Sets whose scenes the reader can read."""


def score_run(run: Path, data: ImageData, config: TrainConfig, samples: int) -> dict[str, Any]:
    """Measure everything that the table and its notes report.

    Args:
        run: A finished training run.
        data: Its images.
        config: Its settings.
        samples: Real and generated images for the Fréchet distance, and pairs for the path length.
    """
    generator = load_generator(str(run), device=config.device)
    network = load_efficientnet_lite0(generator.device)
    count = min(samples, len(data))
    length = perceptual_path_length(generator, network, pairs=samples)
    active = component_activeness(generator)
    distance = FrechetDistance(network, generator.device)
    # Five cells see the same images: their statistics are kept beside the cells.
    kept = run.parents[1] / f"real-{data.digest.replace('/', '-')[:40]}-{count}.safetensors"
    if not distance.load_real(kept):
        for indices in _spread_out(len(data), count).split(BATCH):
            distance.add_real(data.batch(indices)[0])
        distance.save_real(kept)
    for images in _generated(generator, count):
        distance.add_generated(images)
    scores: dict[str, Any] = {
        f"ppl_zend_effnetlite0_{samples}": {"value": length.value, "error": length.error},
        f"fd_effnetlite0_{count}": {"value": distance.value()},
        "activeness": active.to_dict(),
    }
    if generator.dim_z > 1:
        scores["diagonalness"] = diagonalness(generator, torch.eye(generator.dim_z)).to_dict()
    if run.parents[1].name in ONE_OBJECT:
        readings = read_latents(generator, ResizingReader(load_scene_reader()), samples=READINGS)
        scores["dci"] = measure_dci(readings).to_dict() | {"spreads": readings.spreads}
    return scores


def _spread_out(total: int, count: int) -> Tensor:
    """So many indices, evenly over all."""
    return torch.arange(count) * total // count


def _generated(generator: Generator, count: int) -> Iterator[Tensor]:
    with torch.no_grad():
        for z in generator.sample_z(count, seed=0).split(BATCH):
            yield generator(z)
