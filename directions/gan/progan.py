"""Progressive Growing's two networks, and the losses by which they learn: adversarial, Hessian Penalty, InfoGAN."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from directions.generators.progan import (
    FIRST_RESOLUTION,
    EqualisedConv,
    EqualisedLinear,
    ProGANNetwork,
    activate,
    downsample,
)
from directions.penalty import hessian_penalty
from directions.settings.train import GROUP, Stage, TrainConfig

Terms = dict[str, Tensor]
"""Scalars to be logged, by name; ``"loss"`` is what the optimiser minimises."""


def minibatch_stddev(x: Tensor, parts: int = 1) -> Tensor:
    """Append a channel that says how much the images of a group differ.

    Standard deviation over the group for each feature and pixel, then the mean over both.

    Args:
        x: (batch, channels, h, w); images that follow one another form a group, of the largest divisor of a part's size
            that is at most ``GROUP``.
        parts: Number of equal parts of the batch, such as real and generated images, that no group reaches across.

    Returns:
        (batch, channels + 1, h, w).

    References:
        Karras et al. 2018, arXiv:1710.10196, section 3.
    """
    size = len(x) // parts
    group = max(divisor for divisor in range(1, GROUP + 1) if size % divisor == 0)
    groups = x.unflatten(0, (-1, group))
    deviation = (groups.var(dim=1, correction=0) + 1e-8).sqrt().mean(dim=(1, 2, 3))
    channel = deviation.repeat_interleave(group).view(-1, 1, 1, 1).expand(-1, 1, *x.shape[2:])
    return torch.cat((x, channel), dim=1)


class ShrinkBlock(nn.Module):
    """Two convolutions, then halve height and width.

    Args:
        channels: Channels that come in.
        channels_out: Channels that go out.
    """

    def __init__(self, channels: int, channels_out: int) -> None:
        super().__init__()
        self.conv_0 = EqualisedConv(channels, channels, 3)
        self.conv_1 = EqualisedConv(channels, channels_out, 3)

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, channels, h, w) to (batch, channels_out, h/2, w/2)."""
        return downsample(activate(self.conv_1(activate(self.conv_0(x)))))


class LatentHead(nn.Module):
    """Reads components of z off the discriminator's features: a convolution and two dense layers.

    Args:
        channels: Channels of the features.
        components: Number of components to read.
    """

    def __init__(self, channels: int, components: int) -> None:
        super().__init__()
        self.conv = EqualisedConv(channels, channels, 3)
        self.dense_0 = EqualisedLinear(channels * FIRST_RESOLUTION**2, channels)
        self.dense_1 = EqualisedLinear(channels, components, gain=1.0)

    def forward(self, features: Tensor) -> Tensor:
        """Map (batch, channels, 4, 4) to (batch, components)."""
        x = activate(self.conv(features)).flatten(1)
        read: Tensor = self.dense_1(activate(self.dense_0(x)))
        return read


class ProGANDiscriminator(nn.Module):
    """Score images of the resolution that the two networks have grown to; higher is more real.

    Args:
        channels: Channels at 4, 8, 16, … pixels, as in the generator.
        latent_components: Components of z that a head reads back; 0 for no head.

    References:
        Karras et al. 2018, arXiv:1710.10196; Chen et al. 2016, arXiv:1606.03657 (the head).
    """

    def __init__(self, channels: Sequence[int], latent_components: int = 0) -> None:
        super().__init__()
        self.channels = tuple(channels)
        first = self.channels[0]
        self.from_rgb = nn.ModuleList(EqualisedConv(3, width, 1) for width in self.channels)
        pairs = zip(self.channels[1:], self.channels, strict=False)
        self.blocks = nn.ModuleList(ShrinkBlock(*pair) for pair in pairs)
        self.conv = EqualisedConv(first + 1, first, 3)
        self.dense_0 = EqualisedLinear(first * FIRST_RESOLUTION**2, first)
        self.dense_1 = EqualisedLinear(first, 1, gain=1.0)
        self.latent_head = LatentHead(first, latent_components) if latent_components else None

    def features(self, images: Tensor, level: int | None = None, alpha: float = 1.0) -> Tensor:
        """Reduce images to features of 4 × 4 pixels.

        Args:
            images: (batch, 3, 4·2^level, 4·2^level) in [-1, 1].
            level: How far the network has grown, from 0; ``None`` is the last level.
            alpha: Weight of the newest block, in [0, 1]; the rest is the images, halved, as the level before saw them.

        Returns:
            (batch, channels, 4, 4).
        """
        level = len(self.channels) - 1 if level is None else level
        x = activate(self.from_rgb[level](images))
        for number in range(level, 0, -1):
            x = self.blocks[number - 1](x)
            if number == level and alpha < 1:
                x = torch.lerp(activate(self.from_rgb[level - 1](downsample(images))), x, alpha)
        return x

    def score(self, features: Tensor, parts: int = 1) -> Tensor:
        """Map features to scores.

        Args:
            features: (batch, channels, 4, 4).
            parts: Number of equal parts of the batch whose images are not compared with each other's.

        Returns:
            (batch,).
        """
        x = activate(self.conv(minibatch_stddev(features, parts))).flatten(1)
        scores: Tensor = self.dense_1(activate(self.dense_0(x)))
        return scores.squeeze(1)

    def forward(self, images: Tensor, level: int | None = None, alpha: float = 1.0) -> Tensor:
        """Map images, as for `features`, to scores (batch,)."""
        return self.score(self.features(images, level, alpha))


class GrowingGAN:
    """The two ProGANs and their losses.

    Args:
        config: Settings.
        device: Where the networks go.
    """

    def __init__(self, config: TrainConfig, device: torch.device) -> None:
        self.config, self.device = config, device
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            self.generator = ProGANNetwork(config.dim_z, config.channels).to(device)
            self.discriminator = ProGANDiscriminator(config.channels, config.infogan).to(device)
        self._layers, self._image = config.activations()

    def discriminator_terms(
        self, real: Tensor, z: Tensor, stage: Stage, *, mix: Tensor | None = None, r1: bool = False
    ) -> Terms:
        """Adversarial loss, gradient penalty, and the error of the latent head.

        Args:
            real: (batch, 3, h, w) real images in [-1, 1], as the stage shows them.
            z: (batch, |z|) latents of the generated ones.
            stage: Where growth stands.
            mix: (batch,) places in [0, 1] between a real and a generated image, where the slope is to be 1.
            r1: Whether to add R1, for all the steps that leave it out too.

        Returns:
            ``loss``, ``score_real``, ``score_fake``, ``gradient_penalty``, ``diversity`` (the spread of generated
            images over that of real ones) and, with a latent head, ``infogan``.

        References:
            Arjovsky et al. 2017, arXiv:1701.07875 and Karras et al. 2018, arXiv:1710.10196, appendix A.1 (wgan-gp, with
            a term that keeps scores from drifting); Goodfellow et al. 2014, arXiv:1406.2661 (nonsaturating).
        """
        config = self.config
        with self._autocast():
            with torch.no_grad():
                fake = self.generator(z, stage.level, stage.alpha).to(real)
            features = self.discriminator.features(torch.cat((real, fake)), stage.level, stage.alpha)
            scores = self.discriminator.score(features, parts=2).float()
            # The head reads what goes into minibatch stddev, of generated images only.
            infogan = self._infogan(features[len(fake) :], z)
        real_score, fake_score = scores.chunk(2)
        if config.loss == "wgan-gp":
            loss = fake_score.mean() - real_score.mean() + config.drift * real_score.square().mean()
        else:
            loss = F.softplus(-real_score).mean() + F.softplus(fake_score).mean()
        terms = {
            "score_real": real_score.mean(),
            "score_fake": fake_score.mean(),
            "diversity": diversity_of(fake, real),
        }
        if mix is not None:
            # Gulrajani et al. 2017, arXiv:1704.00028.
            between = torch.lerp(real, fake, mix.view(-1, 1, 1, 1))
            slopes = (self._squared_slopes(between, stage) + 1e-12).sqrt()
            terms["gradient_penalty"] = (slopes - 1).square().mean()
            loss = loss + config.gradient_weight * terms["gradient_penalty"]
        if r1:
            # Mescheder et al. 2018, arXiv:1801.04406.
            terms["gradient_penalty"] = self._squared_slopes(real, stage).mean() / 2
            loss = loss + config.gradient_weight * config.r1_every * terms["gradient_penalty"]
        if infogan is not None:
            terms["infogan"] = infogan
            loss = loss + config.infogan_weight * infogan
        return terms | {"loss": loss}

    def generator_terms(self, z: Tensor, stage: Stage, *, probes: Tensor | None = None, weight: float = 0.0) -> Terms:
        """Adversarial loss, the error of the latent head, and the Hessian Penalty.

        Args:
            z: (batch, |z|) latents.
            stage: Where growth stands.
            probes: (k, batch, |z|) signs for the penalty; ``None`` leaves it out.
            weight: λ at this step.

        Returns:
            ``loss`` and, where it is in use, ``penalty`` (not weighted) and ``penalty_weight``.
        """
        config = self.config
        with self._autocast():
            images = self.generator(z, stage.level, stage.alpha)
            features = self.discriminator.features(images, stage.level, stage.alpha)
            scores = self.discriminator.score(features).float()
            infogan = self._infogan(features, z)
        loss = -scores.mean() if config.loss == "wgan-gp" else F.softplus(-scores).mean()
        if infogan is not None:
            loss = loss + config.infogan_weight * infogan
        if probes is None:
            return {"loss": loss}
        penalty = self.penalty(z, probes, stage)
        return {
            "loss": loss + weight * penalty,
            "penalty": penalty,
            "penalty_weight": torch.tensor(weight, dtype=torch.float64),
        }

    def penalty(self, z: Tensor, probes: Tensor, stage: Stage) -> Tensor:
        """Hessian Penalty of the normalised activations by the raw z: the largest (or mean) of each, added up.

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

        config = self.config
        return hessian_penalty(looked_at, z, epsilon=config.epsilon, probes=probes, reduction=config.penalty_reduction)

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=bool(self.config.bfloat16))

    def _infogan(self, features: Tensor, z: Tensor) -> Tensor | None:
        """Mean squared error of what the head reads of z (Chen et al. 2016, arXiv:1606.03657)."""
        if self.discriminator.latent_head is None:
            return None
        read = self.discriminator.latent_head(features).float()
        return (read - z[:, : self.config.infogan]).square().mean()

    def _squared_slopes(self, images: Tensor, stage: Stage) -> Tensor:
        """Squared norm of the gradient of each image's score by the image, through which weights can be reached."""
        images = images.detach().requires_grad_()
        with self._autocast():
            scores = self.discriminator(images, stage.level, stage.alpha)
        (gradient,) = torch.autograd.grad(scores.sum(), images, create_graph=True)
        # Not in bfloat16, whose sums of many small squares would be coarse.
        return gradient.to(torch.promote_types(gradient.dtype, torch.float32)).square().sum(dim=(1, 2, 3))


def diversity_of(fake: Tensor, real: Tensor) -> Tensor:
    """Compare how much generated images differ from each other with how much real ones do.

    Args:
        fake: (batch, 3, h, w) generated images, at least 2.
        real: (batch, 3, h, w) real images, at least 2.

    Returns:
        Scalar, the quotient of their spreads: standard deviations over the batch, mean over pixels. Not finite where
        the real images are all the same one, drawn more than once: such a step has no diversity.
    """
    spreads = [images.detach().float().std(dim=0).mean() for images in (fake, real)]
    return spreads[0] / spreads[1]
