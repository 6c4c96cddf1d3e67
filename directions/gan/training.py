"""Train a class-conditional BigGAN-deep against a projection discriminator.

One flat loop over ``networks``, ``losses`` and ``data``. Every draw follows from the seed and the step number, so the
state is the weights, the two optimisers and the step; a run that was killed goes on bit-identically on the CPU.
``export`` comes next: it turns the averaged generator into the files that ``load_generator`` reads.
"""

from __future__ import annotations

import copy
import io
import json
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from pytorch_pretrained_biggan import BigGAN
from torch import Tensor
from torch.nn import functional as F

from directions.atomic import write_bytes
from directions.errors import UserError
from directions.gan.data.scenes import SceneImages
from directions.gan.losses import (
    TextureStatistics,
    chroma,
    colour_matching,
    hinge_discriminator,
    hinge_generator,
    texture_matching,
)
from directions.gan.networks import ProjectionDiscriminator, build_generator
from directions.gan.sheets import sample_sheet
from directions.generators.base import truncated_normal
from directions.sampling import derived_rng

CHECKPOINT = "checkpoint.pt"


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """Settings of a training run.

    Raises:
        UserError: If a value is outside its range.
    """

    steps: int = 5000
    """Steps of both networks, at least 1."""
    batch_size: int = 32
    """Real and generated images a step, at least 2 (the generator normalises by its batch)."""
    channel_width: int = 24
    """Width of the generator."""
    discriminator_width: int = 24
    """Channels of the discriminator at full resolution."""
    generator_rate: float = 2e-4
    """Adam's learning rate for the generator."""
    discriminator_rate: float = 4e-4
    """Adam's learning rate for the discriminator."""
    decay_from: float = 0.5
    """Share of the steps after which both rates fall linearly to nothing, in [0, 1]."""
    ema: float = 0.999
    """Decay of the running average of the generator's weights, a step; in [0, 1)."""
    texture: float = 0.0
    """Weight of texture matching in the generator's loss, at least 0."""
    colour: float = 0.0
    """Weight of colour matching in the generator's loss, at least 0."""
    bfloat16: bool = True
    """Run both networks in autocast bfloat16 (about twice as fast where the processor has it); weights stay float32."""
    seed: int = 0
    """Seed of initialisation and every draw."""

    def __post_init__(self) -> None:
        """Check every field."""
        for field, minimum in (("steps", 1), ("batch_size", 2), ("channel_width", 8), ("discriminator_width", 1)):
            if getattr(self, field) < minimum:
                raise UserError(f"{field} must be at least {minimum}, got {getattr(self, field)}.")
        for field in ("generator_rate", "discriminator_rate"):
            if not getattr(self, field) > 0:
                raise UserError(f"{field} must be above 0, got {getattr(self, field)}.")
        if not 0 <= self.decay_from <= 1:
            raise UserError(f"decay_from must be in [0, 1], got {self.decay_from}.")
        for field in ("texture", "colour"):
            if not getattr(self, field) >= 0:
                raise UserError(f"{field} must be at least 0, got {getattr(self, field)}.")
        if not 0 <= self.ema < 1:
            raise UserError(f"ema must be in [0, 1), got {self.ema}.")


def forward(generator: BigGAN, z: Tensor, y: Tensor) -> Tensor:
    """Images of the trainable generator for class indices ``y``: (batch, 3, height, width) in [-1, 1]."""
    one_hot = F.one_hot(y, generator.config.num_classes).to(z.dtype)
    return generator(z, one_hot, 1.0)


class Trainer:
    """The two networks, their optimisers and the step count; a checkpoint is exactly this.

    Args:
        config: Settings.
        data: Real images.
    """

    def __init__(self, config: TrainingConfig, data: SceneImages) -> None:
        self.config, self.data, self.step = config, data, 0
        torch.manual_seed(config.seed)
        self.generator = build_generator({"channel_width": config.channel_width})
        self.discriminator = ProjectionDiscriminator(
            data.images.shape[1], int(data.labels.max()) + 1, config.discriminator_width
        )
        for network in (self.generator, self.discriminator):
            for parameter in network.parameters():
                if parameter.ndim == 4:
                    parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
        self.average = copy.deepcopy(self.generator)
        self.texture_of_data = texture_of(data) if config.texture else None
        self.chroma_of_data = chroma_of(data) if config.colour else None
        betas = (0.0, 0.99)
        self.optimisers = {
            "generator": torch.optim.Adam(self.generator.parameters(), config.generator_rate, betas),
            "discriminator": torch.optim.Adam(self.discriminator.parameters(), config.discriminator_rate, betas),
        }

    def state_dict(self) -> dict[str, Any]:
        """Return everything that a resumed run needs."""
        return {
            "config": asdict(self.config),
            "data": self.data.digest,
            "step": self.step,
            "generator": self.generator.state_dict(),
            "discriminator": self.discriminator.state_dict(),
            "average": self.average.state_dict(),
            "optimisers": {name: optimiser.state_dict() for name, optimiser in self.optimisers.items()},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a checkpoint.

        Args:
            state: What :meth:`state_dict` returned.

        Raises:
            UserError: If it was made with other data or settings.
        """
        if state["data"] != self.data.digest:
            raise UserError("The checkpoint was trained on another data set. Give the same --data, or another --out.")
        wanted = asdict(self.config)
        differing = sorted(key for key in wanted if state["config"].get(key) != wanted[key])
        if differing:
            raise UserError(
                f"The checkpoint was trained with other settings ({', '.join(differing)} differ). Give the same ones, "
                "or another --out."
            )
        self.step = state["step"]
        for name in ("generator", "discriminator", "average"):
            getattr(self, name).load_state_dict(state[name])
        for name, optimiser in self.optimisers.items():
            optimiser.load_state_dict(state["optimisers"][name])

    def start_from(self, state: dict[str, Any]) -> None:
        """Take the networks of another run, with fresh optimisers and rates.

        Args:
            state: That run's :meth:`state_dict`.

        Raises:
            UserError: If its networks have other sizes.
        """
        try:
            for name in ("generator", "discriminator", "average"):
                getattr(self, name).load_state_dict(state[name])
        except RuntimeError as error:
            raise UserError(f"The run to start from has networks of another size: {error}") from None

    def train_step(self) -> dict[str, float]:
        """Take one step of the discriminator and one of the generator.

        Returns:
            Losses and mean scores, by name.

        Raises:
            FloatingPointError: If a loss is not finite; the weights of the last checkpoint are still good.
        """
        config = self.config
        rng = derived_rng(config.seed, self.step, "gan")
        self._set_rates()
        real, y_real = self.data.batch(torch.randint(len(self.data), (config.batch_size,), generator=rng))
        z, y = self._draw(rng)
        autocast = torch.autocast("cpu", torch.bfloat16, enabled=config.bfloat16)

        # Discriminator: real against generated, in one batch.
        with autocast:
            with torch.no_grad():
                fake = forward(self.generator, z, y).to(real)
            scores = self.discriminator(torch.cat((real, fake)), torch.cat((y_real, y))).float()
        scores_real, scores_fake = scores.chunk(2)
        loss_d = hinge_discriminator(scores_real, scores_fake)
        self._descend("discriminator", loss_d)

        # Generator: fool the discriminator that has just learnt.
        z, y = self._draw(rng)
        self.discriminator.requires_grad_(False)
        with autocast:
            fake = forward(self.generator, z, y).float()
            scores = self.discriminator(fake, y).float()
        loss_g = hinge_generator(scores)
        if self.texture_of_data is not None:
            loss_g = loss_g + config.texture * texture_matching(TextureStatistics.of(fake), self.texture_of_data)
        if self.chroma_of_data is not None:
            loss_g = loss_g + config.colour * colour_matching(chroma(fake), self.chroma_of_data)
        self._descend("generator", loss_g)
        self.discriminator.requires_grad_(True)

        self._average()
        self.step += 1
        losses = {"loss_d": loss_d.item(), "loss_g": loss_g.item()}
        if not all(map(_finite, losses.values())):
            raise FloatingPointError(f"A loss is not finite at step {self.step}: {losses}.")
        return losses | {"score_real": scores_real.mean().item(), "score_fake": scores_fake.mean().item()}

    def _draw(self, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        n, num_classes = self.config.batch_size, self.generator.config.num_classes
        z = truncated_normal(n, self.generator.config.z_dim, rng)
        return z, torch.randint(num_classes, (n,), generator=rng)

    def _descend(self, name: str, loss: Tensor) -> None:
        self.optimisers[name].zero_grad()
        loss.backward()
        self.optimisers[name].step()

    def _set_rates(self) -> None:
        start = self.config.decay_from * self.config.steps
        remaining = (self.config.steps - self.step) / max(self.config.steps - start, 1)
        for name, rate in (
            ("generator", self.config.generator_rate),
            ("discriminator", self.config.discriminator_rate),
        ):
            self.optimisers[name].param_groups[0]["lr"] = rate * min(1.0, remaining)

    @torch.no_grad()
    def _average(self) -> None:
        # A short memory at first, so that the random start is forgotten.
        decay = min(self.config.ema, (1 + self.step) / (10 + self.step))
        averaged, current = list(self.average.parameters()), list(self.generator.parameters())
        torch._foreach_lerp_(averaged, current, 1 - decay)
        for mean, now in zip(self.average.buffers(), self.generator.buffers(), strict=True):
            mean.copy_(now)

    @torch.no_grad()
    def samples(self, columns: int = 10) -> Tensor:
        """Images of the averaged generator at fixed latents, the batch's own statistics: a row for each class."""
        num_classes = self.generator.config.num_classes
        z = truncated_normal(columns, self.generator.config.z_dim, derived_rng(0, 0, "sheet"))
        y = torch.arange(num_classes).repeat_interleave(columns)
        # The batch is normalised by its own statistics, so it is made large enough to have some.
        extra = truncated_normal(128, self.generator.config.z_dim, derived_rng(0, 1, "sheet"))
        latents = torch.cat((z.repeat(num_classes, 1), extra))
        return forward(self.average, latents, torch.cat((y, torch.arange(128) % num_classes)))[: len(y)]


def train(trainer: Trainer, folder: Path, *, checkpoint_every: int = 100, sheet_every: int = 250) -> Iterator[dict]:
    """Train to the end, writing checkpoints, ``stats.jsonl`` and sample sheets into a folder.

    Args:
        trainer: Fresh, or as loaded by :func:`resume`.
        folder: Exists.
        checkpoint_every: Steps between two checkpoints; also the most that a kill can lose.
        sheet_every: Steps between two sample sheets.

    Yields:
        After each step: step, losses, scores and seconds.
    """
    while trainer.step < trainer.config.steps:
        started = time.perf_counter()
        record: dict[str, float] = {"step": trainer.step + 1, **trainer.train_step()}
        record["seconds"] = round(time.perf_counter() - started, 3)
        with (folder / "stats.jsonl").open("a") as file:
            file.write(json.dumps(record) + "\n")
        last = trainer.step == trainer.config.steps
        if trainer.step % sheet_every == 0 or last:
            sample_sheet(trainer.samples(), columns=10).save(folder / f"samples-{trainer.step:06d}.png")
        if trainer.step % checkpoint_every == 0 or last:
            save(trainer, folder)
        yield record


def texture_of(data: SceneImages, batch_size: int = 500) -> TextureStatistics:
    """Texture of a whole data set."""
    parts = [TextureStatistics.of(data.batch(part)[0]) for part in torch.arange(len(data)).split(batch_size)]
    weights = torch.tensor([len(part) for part in torch.arange(len(data)).split(batch_size)]) / len(data)
    mean, square = (
        torch.einsum("p,pchw->chw", weights, torch.stack([getattr(part, name) for part in parts]))
        for name in ("mean", "square")
    )
    return TextureStatistics(mean, square)


def chroma_of(data: SceneImages, batch_size: int = 500) -> Tensor:
    """Mean colours of a whole data set, (images, angles)."""
    return torch.cat([chroma(data.batch(part)[0]) for part in torch.arange(len(data)).split(batch_size)])


def save(trainer: Trainer, folder: Path) -> None:
    """Write the checkpoint, whole or not at all."""
    buffer = io.BytesIO()
    torch.save(trainer.state_dict(), buffer)
    write_bytes(folder / CHECKPOINT, buffer.getvalue())


def resume(trainer: Trainer, folder: Path) -> None:
    """Load the checkpoint of a folder if there is one, and drop the statistics that came after it.

    Args:
        trainer: Changed in place.
        folder: The run.

    Raises:
        UserError: If the checkpoint is of another run, or damaged.
    """
    if not (folder / CHECKPOINT).is_file():
        return
    trainer.load_state_dict(read_checkpoint(folder))
    stats = folder / "stats.jsonl"
    if stats.is_file():
        write_bytes(stats, b"".join(stats.read_bytes().splitlines(keepends=True)[: trainer.step]))


def read_checkpoint(folder: Path) -> dict[str, Any]:
    """Read the checkpoint of a run.

    Args:
        folder: The run.

    Returns:
        What :meth:`Trainer.state_dict` returned.

    Raises:
        UserError: If there is none, or it is damaged.
    """
    path = folder / CHECKPOINT
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # damaged files raise whatever the reader stumbled on
        raise UserError(f"{path} cannot be read ({error}). Delete it to start anew.") from error
    return state


def _finite(value: float) -> bool:
    return value == value and abs(value) != float("inf")
