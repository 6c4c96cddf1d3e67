"""The small class-conditional BigGAN-deep as an architecture for the trainer.

Puts together ``networks`` and ``losses``; ``trainer`` takes the steps. Its generator normalises by batch while it
trains, so that it becomes a generator to load only at the end, when ``export`` has measured fixed statistics.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from pytorch_pretrained_biggan import BigGAN
from torch import Tensor, nn
from torch.nn import functional as F

from directions.gan.architecture import Batch, Terms, diversity_of
from directions.gan.config import TrainConfig
from directions.gan.data.images import ImageData
from directions.gan.export import finished_copy, measure_statistics, write_weights
from directions.gan.losses import (
    TextureStatistics,
    chroma,
    colour_matching,
    hinge_discriminator,
    hinge_generator,
    texture_matching,
)
from directions.gan.networks import ProjectionDiscriminator, build_generator
from directions.gan.schedule import Stage
from directions.generators.base import truncated_normal
from directions.generators.published import WEIGHTS
from directions.sampling import derived_rng

STATISTICS_SAMPLES = 512
_COMPANIONS = 128
_CHUNK = 500


class SmallBigGAN:
    """A small BigGAN-deep and its projection discriminator.

    Args:
        config: Settings, of arch biggan.
        data: Images, with classes or without (then there is one).
        device: Where the networks go.
    """

    def __init__(self, config: TrainConfig, data: ImageData, device: torch.device) -> None:
        self.config, self.device = config, device
        self.num_classes = 1 if data.labels is None else int(data.labels.max()) + 1
        self.class_names = data.class_names[: self.num_classes]
        fields: dict[str, object] = {"channel_width": config.channel_width, "z_dim": config.dim_z}
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            self.generator = build_generator(fields | {"num_classes": self.num_classes}).to(device)
            self.discriminator = ProjectionDiscriminator(
                config.resolution, self.num_classes, config.discriminator_width
            ).to(device)
        self._texture = texture_of(data).to(device) if config.texture else None
        self._chroma = chroma_of(data).to(device) if config.colour else None

    def discriminator_terms(self, batch: Batch) -> Terms:
        """Hinge loss of real against generated images, in one batch.

        Args:
            batch: Real images, their classes, and the source of the rest.

        Returns:
            ``loss``, ``score_real``, ``score_fake`` and ``diversity``.
        """
        z, y = self._draw(batch)
        with self._autocast():
            with torch.no_grad():
                fake = images_of(self.generator, z, y).to(batch.real)
            both, classes = torch.cat((batch.real, fake)), torch.cat((batch.labels, y))
            scores = self.discriminator(both, classes).float()
        real_scores, fake_scores = scores.chunk(2)
        return {
            "loss": hinge_discriminator(real_scores, fake_scores),
            "score_real": real_scores.mean(),
            "score_fake": fake_scores.mean(),
            "diversity": diversity_of(fake, batch.real),
        }

    def generator_terms(self, batch: Batch) -> Terms:
        """Hinge loss of generated images, and the matching of texture and colour where they have a weight.

        Args:
            batch: The source of randomness.

        Returns:
            ``loss`` and, where they are in use, ``texture`` and ``colour`` (not weighted).
        """
        z, y = self._draw(batch)
        with self._autocast():
            fake = images_of(self.generator, z, y).float()
            scores = self.discriminator(fake, y).float()
        terms = {"loss": hinge_generator(scores)}
        if self._texture is not None:
            terms["texture"] = texture_matching(TextureStatistics.of(fake), self._texture)
            terms["loss"] = terms["loss"] + self.config.texture * terms["texture"]
        if self._chroma is not None:
            terms["colour"] = colour_matching(chroma(fake), self._chroma)
            terms["loss"] = terms["loss"] + self.config.colour * terms["colour"]
        return terms

    def samples(self, network: nn.Module, columns: int, stage: Stage) -> Tensor:
        """Images at latents that never change, a row for each class, normalised by their own batch.

        Args:
            network: A generator of this kind.
            columns: Images in a row.
            stage: Not used: nothing grows.

        Returns:
            (classes · columns, 3, h, w) in [-1, 1], on the CPU.
        """
        z = truncated_normal(columns, self.config.dim_z, derived_rng(0, 0, "sheet"))
        y = torch.arange(self.num_classes).repeat_interleave(columns)
        # A few images have no statistics to be normalised by, so they are given company.
        extra = truncated_normal(_COMPANIONS, self.config.dim_z, derived_rng(0, 1, "sheet"))
        latents = torch.cat((z.repeat(self.num_classes, 1), extra)).to(self.device)
        classes = torch.cat((y, torch.arange(_COMPANIONS) % self.num_classes)).to(self.device)
        with torch.no_grad():
            return images_of(network, latents, classes)[: len(y)].cpu()

    def export(self, average: nn.Module, folder: Path, stage: Stage, kimg: float, *, finished: bool) -> None:
        """Measure statistics and write weights.safetensors, at the end of the training: it takes a while.

        Args:
            average: The averaged generator.
            folder: The run folder.
            stage: Not used: nothing grows.
            kimg: Not used.
            finished: Whether the training has ended; before, nothing is written.
        """
        if not finished:
            return
        assert isinstance(average, BigGAN), "a copy of this architecture's generator"
        model = finished_copy(average).cpu()
        for _ in measure_statistics(model, samples=STATISTICS_SAMPLES):
            pass
        write_weights(model, folder / WEIGHTS)

    def export_config(self) -> dict[str, Any]:
        """What a reader of the exported weights must know."""
        names = {"class_names": list(self.class_names)} if self.class_names else {}
        return {"arch": "biggan", **self.generator.config.to_dict(), **names}

    def _draw(self, batch: Batch) -> tuple[Tensor, Tensor]:
        count = batch.stage.batch_size
        z = batch.own(truncated_normal(count, self.config.dim_z, batch.rng))
        y = batch.own(torch.randint(self.num_classes, (count,), generator=batch.rng))
        return z.to(self.device), y.to(self.device)

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.config.bfloat16)


def images_of(generator: nn.Module, z: Tensor, y: Tensor) -> Tensor:
    """Images of the trainable generator for class indices ``y``: (batch, 3, height, width) in [-1, 1]."""
    assert isinstance(generator, BigGAN), "the package's module"
    images: Tensor = generator(z, F.one_hot(y, generator.config.num_classes).to(z.dtype), 1.0)
    return images


def texture_of(data: ImageData, batch_size: int = _CHUNK) -> TextureStatistics:
    """Texture of a whole data set."""
    chunks = torch.arange(len(data)).split(batch_size)
    parts = [TextureStatistics.of(data.batch(chunk)[0]) for chunk in chunks]
    weights = torch.tensor([len(chunk) for chunk in chunks]) / len(data)
    mean, square = (
        torch.einsum("p,pchw->chw", weights, torch.stack([getattr(part, name) for part in parts]))
        for name in ("mean", "square")
    )
    return TextureStatistics(mean, square)


def chroma_of(data: ImageData, batch_size: int = _CHUNK) -> Tensor:
    """Mean colours of a whole data set, (images, angles)."""
    return torch.cat([chroma(data.batch(chunk)[0]) for chunk in torch.arange(len(data)).split(batch_size)])
