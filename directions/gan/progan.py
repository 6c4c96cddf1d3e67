"""Progressive Growing as an architecture for the trainer: its losses, the Hessian Penalty, and the InfoGAN baseline.

Puts together the generator of ``directions.generators.progan_network``, ``progan_discriminator``, ``adversarial`` and
the package's one penalty; ``trainer`` takes the steps.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from directions.gan import adversarial
from directions.gan.architecture import Batch, Terms, diversity_of
from directions.gan.config import TrainConfig
from directions.gan.progan_discriminator import ProGANDiscriminator
from directions.gan.schedule import Stage
from directions.generators.progan import ARCH, write_progan
from directions.generators.progan_network import ProGANNetwork
from directions.generators.published import WEIGHTS
from directions.penalties.hessian import hessian_penalty
from directions.penalties.probes import rademacher
from directions.sampling import derived_rng


class GrowingGAN:
    """The two ProGANs and their losses.

    Args:
        config: Settings, of arch progan.
        device: Where the networks go.
    """

    def __init__(self, config: TrainConfig, device: torch.device) -> None:
        self.config, self.device = config, device
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            self.generator = ProGANNetwork(config.dim_z, config.channels).to(device)
            self.discriminator = ProGANDiscriminator(config.channels, config.infogan).to(device)
        self._layers, self._image = config.activations()

    def discriminator_terms(self, batch: Batch) -> Terms:
        """Adversarial loss, gradient penalty, and the error of the latent head.

        Args:
            batch: Real images and the source of the rest.

        Returns:
            ``loss``, ``score_real``, ``score_fake``, ``gradient_penalty``, ``diversity`` (the spread of generated
            images over that of real ones) and, with a latent head, ``infogan``.
        """
        config, stage = self.config, batch.stage
        z = self._draw(batch)
        with self._autocast():
            with torch.no_grad():
                fake = self.generator(z, stage.level, stage.alpha).to(batch.real)
            features = self.discriminator.features(torch.cat((batch.real, fake)), stage.level, stage.alpha)
            scores = self.discriminator.score(features, parts=2).float()
            # The head reads what goes into minibatch stddev, of generated images only.
            infogan = self._infogan(features[len(fake) :], z)
        real_scores, fake_scores = scores.chunk(2)
        if config.loss == "wgan-gp":
            loss = adversarial.wasserstein_discriminator(real_scores, fake_scores, drift=config.drift)
        else:
            loss = adversarial.nonsaturating_discriminator(real_scores, fake_scores)
        terms = {
            "score_real": real_scores.mean(),
            "score_fake": fake_scores.mean(),
            "diversity": diversity_of(fake, batch.real),
        }
        penalty = self._gradient_penalty(batch, fake)
        if penalty is not None:
            terms["gradient_penalty"] = penalty
            loss = loss + config.gradient_weight * (config.r1_every if config.loss != "wgan-gp" else 1) * penalty
        if infogan is not None:
            terms["infogan"] = infogan
            loss = loss + config.infogan_weight * infogan
        return terms | {"loss": loss}

    def generator_terms(self, batch: Batch) -> Terms:
        """Adversarial loss, the error of the latent head, and the Hessian Penalty.

        Args:
            batch: The source of randomness and the stage.

        Returns:
            ``loss`` and, where it is in use, ``penalty`` (not weighted) and ``penalty_weight``.
        """
        config, stage = self.config, batch.stage
        z = self._draw(batch)
        with self._autocast():
            features = self.discriminator.features(
                self.generator(z, stage.level, stage.alpha), stage.level, stage.alpha
            )
            scores = self.discriminator.score(features).float()
            infogan = self._infogan(features, z)
        if config.loss == "wgan-gp":
            loss = adversarial.wasserstein_generator(scores)
        else:
            loss = adversarial.nonsaturating_generator(scores)
        if infogan is not None:
            loss = loss + config.infogan_weight * infogan
        weight = self._penalty_weight(batch.seen)
        if not weight:
            return {"loss": loss}
        shape = (config.num_probes, stage.batch_size, config.dim_z)
        probes = batch.own(rademacher(shape, batch.rng, dtype=z.dtype, device=z.device), dim=1)
        penalty = self.penalty(z, probes, stage)
        return {
            "loss": loss + weight * penalty,
            "penalty": penalty,
            "penalty_weight": torch.tensor(weight, dtype=torch.float64),
        }

    def penalty(self, z: Tensor, probes: Tensor, stage: Stage) -> Tensor:
        """Hessian Penalty of the normalised activations by the raw z: the largest of each, added up.

        A block that is being faded in counts by its fading weight.

        Args:
            z: (batch, |z|) latents, as drawn.
            probes: (k, batch, |z|) signs.
            stage: Where growth stands.

        Returns:
            Scalar; 0 while none of the layers looked at has been grown.
        """
        layers = [layer for layer in self._layers if layer // 2 <= stage.level]
        if not layers and not self._image:
            return z.new_zeros(())

        def looked_at(w: Tensor) -> list[Tensor]:
            tensors = self.generator.activations(w, layers, stage.level, stage.alpha, image=self._image)
            # As they lie in memory: what follows, and its backward pass, then goes through it in order.
            tensors = [tensor.permute(0, 2, 3, 1) for tensor in tensors]
            if stage.alpha >= 1:
                return tensors
            # The penalty is quadratic in what it looks at: the root of the weight there is the weight in the sum.
            root = stage.alpha**0.5
            new = [layer // 2 == stage.level for layer in layers] + [False] * self._image
            return [root * tensor if is_new else tensor for tensor, is_new in zip(tensors, new, strict=True)]

        return hessian_penalty(looked_at, z, epsilon=self.config.epsilon, probes=probes, reduction="max")

    def samples(self, network: nn.Module, columns: int, stage: Stage) -> Tensor:
        """Images at latents that never change.

        Args:
            network: A generator of this kind.
            columns: Images in a row; there are half as many rows.
            stage: Where growth stands.

        Returns:
            (columns · columns // 2, 3, h, w) in [-1, 1], on the CPU.
        """
        z = torch.randn(columns * max(columns // 2, 1), self.config.dim_z, generator=derived_rng(0, 0, "sheet"))
        with torch.no_grad():
            parts = [network(part.to(self.device), stage.level, stage.alpha).cpu() for part in z.split(64)]
        return torch.cat(parts).clamp(-1, 1)

    def export(self, average: nn.Module, folder: Path, stage: Stage, kimg: float, *, finished: bool) -> None:
        """Write weights.safetensors, at any time.

        Args:
            average: The averaged generator.
            folder: The run folder.
            stage: Where growth stands.
            kimg: Training so far, in kimg.
            finished: Whether the training has ended.
        """
        assert isinstance(average, ProGANNetwork), "a copy of this architecture's generator"
        write_progan(average, folder / WEIGHTS, level=stage.level, alpha=stage.alpha, kimg=kimg)

    def export_config(self) -> dict[str, Any]:
        """What a reader of the exported weights must know."""
        config = self.config
        return {
            "arch": ARCH,
            "dim_z": config.dim_z,
            "channels": list(config.channels),
            "resolution": config.resolution,
        }

    def _draw(self, batch: Batch) -> Tensor:
        z = torch.randn(batch.stage.batch_size, self.config.dim_z, generator=batch.rng)
        return batch.own(z).to(self.device)

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=bool(self.config.bfloat16))

    def _infogan(self, features: Tensor, z: Tensor) -> Tensor | None:
        if self.discriminator.latent_head is None:
            return None
        read = self.discriminator.latent_head(features).float()
        return (read - z[:, : self.config.infogan]).square().mean()

    def _gradient_penalty(self, batch: Batch, fake: Tensor) -> Tensor | None:
        config, stage = self.config, batch.stage

        def score(images: Tensor) -> Tensor:
            with self._autocast():
                scores: Tensor = self.discriminator(images, stage.level, stage.alpha)
                return scores

        if not config.gradient_weight:
            return None
        if config.loss == "wgan-gp":
            mix = batch.own(torch.rand(stage.batch_size, generator=batch.rng)).to(fake)
            return adversarial.gradient_penalty(score, batch.real, fake, mix)
        if batch.step % config.r1_every:
            return None
        return adversarial.r1_penalty(score, batch.real)

    def _penalty_weight(self, seen: int) -> float:
        config = self.config
        if config.penalty == "none":
            return 0.0
        ramp = 1000 * config.penalty_ramp_kimg
        return config.penalty_weight * (min(seen / ramp, 1.0) if ramp else 1.0)
