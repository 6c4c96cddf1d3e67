"""One training loop for every architecture: a discriminator's step, a generator's step, and the running average.

Every draw follows from the seed and the step, so the state is the weights, the two optimisers and two counters; a run
that was killed goes on bit-identically on the CPU. ``recording`` writes down what comes out.
"""

from __future__ import annotations

import contextlib
import copy
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from directions.devices import full_float32
from directions.distributed.ranks import Ranks
from directions.errors import NonFiniteError, UserError
from directions.gan.architecture import Architecture, Batch
from directions.gan.architectures import build_architecture
from directions.gan.config import RESUMABLE, TrainConfig
from directions.gan.data.images import ImageData
from directions.gan.fading import faded
from directions.gan.progan_discriminator import GROUP
from directions.gan.records import ADVICE, Record, Window
from directions.gan.schedule import Stage
from directions.sampling import derived_rng

BETAS = (0.0, 0.99)


class Trainer:
    """The two networks, the average, the optimisers and the counters; a checkpoint is exactly this.

    Args:
        config: Settings.
        data: Real images.
        device: Where the networks are; one that is there.
        ranks: The processes that share each batch; ``None`` is this process alone.

    Raises:
        UserError: If a batch cannot be shared among the processes, or the GPU has no bfloat16.
    """

    def __init__(self, config: TrainConfig, data: ImageData, device: str = "cpu", ranks: Ranks | None = None) -> None:
        self.config, self.data, self.device = config, data, torch.device(device)
        self.ranks = ranks or Ranks()
        _check_shared(config, self.ranks.world_size)
        if config.bfloat16 and self.device.type == "cuda" and not torch.cuda.is_bf16_supported():
            raise UserError(f"bfloat16 must be off: {torch.cuda.get_device_name(self.device)} does not have it.")
        self.arch: Architecture = build_architecture(config, data, self.device)
        for network in (self.arch.generator, self.arch.discriminator):
            for parameter in network.parameters():
                if parameter.ndim == 4:  # about a fifth faster on a CPU, and what tensor cores want
                    parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
        for network in (self.arch.generator, self.arch.discriminator):
            for tensor in (*network.parameters(), *network.buffers()):
                self.ranks.align(tensor)  # machines may draw differently
        self.average = copy.deepcopy(self.arch.generator).requires_grad_(False)
        self.step, self.seen, self._seen_before = 0, 0, 0
        self.level = config.schedule.first_level
        self.optimisers = self._fresh_optimisers()
        self._window = Window(self.ranks)

    @property
    def stage(self) -> Stage:
        """Where growth stands, for the next step."""
        return self.config.schedule.at(self.seen)

    @property
    def finished(self) -> bool:
        """Whether all images have been shown."""
        return self.seen >= self.config.images

    def state_dict(self) -> dict[str, Any]:
        """Return everything that a resumed run needs, as tensors and plain types."""
        return {
            "config": self.config.to_dict(),
            "data": self.data.digest,
            "counters": {
                "step": self.step,
                "seen": self.seen,
                "seen_before": self._seen_before,
                "level": self.level,
            },
            "networks": {name: network.state_dict() for name, network in self._networks().items()},
            "optimisers": {name: optimiser.state_dict() for name, optimiser in self.optimisers.items()},
            "window": self._window.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a checkpoint.

        Args:
            state: What `state_dict` returned.

        Raises:
            UserError: If it was made with other data or settings.
        """
        if state["data"] != self.data.digest:
            raise UserError(
                f"The checkpoint was trained on other images (digest {state['data'][:12]}, got "
                f"{self.data.digest[:12]}). Give back the data of that run, or start a new one."
            )
        recorded = TrainConfig.from_dict(state["config"])
        differing = [field for field in recorded.differences(self.config) if field not in RESUMABLE]
        if differing:
            raise UserError(f"The checkpoint was made with other settings: {', '.join(differing)} differ.")
        counters = state["counters"]
        self.step, self.seen, self.level = counters["step"], counters["seen"], counters["level"]
        self._seen_before = counters["seen_before"]
        for name, network in self._networks().items():
            network.load_state_dict(state["networks"][name])
        for name, optimiser in self.optimisers.items():
            optimiser.load_state_dict(state["optimisers"][name])
        self._window.load_state_dict(state["window"], self.device)

    def start_from(self, state: Mapping[str, Any]) -> None:
        """Take the networks of another run; optimisers and counters start anew.

        Args:
            state: That run's `state_dict`.

        Raises:
            UserError: If its networks have other sizes, or it has not grown to the end.
        """
        theirs = TrainConfig.from_dict(state["config"])
        seen = state["counters"]["seen"]
        if seen < theirs.schedule.growth:
            raise UserError(
                f"fine_tune must name a run that has grown to {theirs.resolution} pixels, which takes "
                f"{theirs.schedule.growth / 1000:g} kimg; it has seen {seen / 1000:g}. Train it longer."
            )
        for name, network in self._networks().items():
            wanted = network.state_dict()
            # A latent head is the discriminator's own affair: one that is new starts at random.
            found = {key: t for key, t in state["networks"][name].items() if not key.startswith("latent_head.")}
            missing = {key for key in wanted if not key.startswith("latent_head.")} - found.keys()
            if missing or any(key not in wanted or wanted[key].shape != tensor.shape for key, tensor in found.items()):
                raise UserError(
                    "fine_tune must name a run with networks of the same sizes: arch, dim_z, channels and resolution "
                    f"there are {_sizes(theirs)}, here {_sizes(self.config)}."
                )
            network.load_state_dict(wanted | found)

    def train_step(self) -> None:
        """Take one step of the discriminator and one of the generator."""
        started = time.perf_counter()
        stage = self.stage
        if stage.level != self.level:
            # Moments of gradients at the old resolution would mislead the first steps at the new one.
            self.level, self.optimisers = stage.level, self._fresh_optimisers()
        self._set_rates()
        rng = derived_rng(self.config.seed, self.step, "gan")
        share = stage.batch_size // self.ranks.world_size
        part = slice(self.ranks.rank * share, (self.ranks.rank + 1) * share)
        # Everyone draws for everyone, so that the samples do not depend on the number of processes.
        indices = torch.randint(len(self.data), (stage.batch_size,), generator=rng)
        real, labels = self.data.batch(indices[part])
        batch = Batch(
            real=faded(real.to(self.device), stage),
            labels=labels.to(self.device),
            rng=rng,
            stage=stage,
            step=self.step,
            seen=self.seen,
            part=part,
        )
        of_discriminator = self.arch.discriminator_terms(batch)
        self._descend("discriminator", of_discriminator["loss"])
        # The discriminator that has just learnt judges, and learns nothing from it.
        self.arch.discriminator.requires_grad_(False)
        # The penalty divides differences by ε², forwards and backwards, which makes TF32's errors a hundredfold.
        with full_float32() if self.config.penalty != "none" else contextlib.nullcontext():
            of_generator = self.arch.generator_terms(batch)
            self._descend("generator", of_generator["loss"])
        self.arch.discriminator.requires_grad_(True)
        self.step += 1
        self._seen_before = self.seen
        self.seen += stage.batch_size
        self._average(stage.batch_size)
        losses = {"loss_d": of_discriminator.pop("loss"), "loss_g": of_generator.pop("loss")}
        self._window.add(losses | of_discriminator | of_generator, time.perf_counter() - started)

    def record(self) -> Record:
        """Give the means since the last record, and start new ones.

        Returns:
            The record.

        Raises:
            NonFiniteError: If one of them is not finite.
        """
        terms, seconds = self._window.means(self.step)
        stage = self.last_stage
        return Record(self.step, self.seen / 1000, stage.resolution, stage.alpha, terms, seconds)

    def check_finite(self) -> None:
        """Refuse to go on with weights or losses that are no numbers, before they are kept.

        Raises:
            NonFiniteError: If one is not finite.
        """
        weights = [p for network in self._networks().values() for p in network.parameters()]
        if not self._window.finite() or not all(bool(p.isfinite().all()) for p in weights):
            raise NonFiniteError(f"A loss or a weight is not finite after step {self.step}. {ADVICE}")

    def samples(self, columns: int = 10) -> Tensor:
        """Images of the averaged generator at latents that never change, on the CPU."""
        return self.arch.samples(self.average, columns, self.last_stage)

    @property
    def last_batch(self) -> int:
        """Real images that the last step saw."""
        return self.seen - self._seen_before

    @property
    def last_stage(self) -> Stage:
        """Where growth stood at the last step; before the first, where it starts."""
        return self.config.schedule.at(self._seen_before)

    def export(self, folder: Path) -> None:
        """Write the averaged generator into a run folder.

        Args:
            folder: Exists.
        """
        self.arch.export(self.average, folder, self.last_stage, self.seen / 1000, finished=self.finished)

    def _networks(self) -> dict[str, nn.Module]:
        return {
            "generator": self.arch.generator,
            "discriminator": self.arch.discriminator,
            "average": self.average,
        }

    def _fresh_optimisers(self) -> dict[str, torch.optim.Adam]:
        config = self.config
        rates = {"generator": config.learning_rate, "discriminator": config.discriminator_rate}
        networks = {"generator": self.arch.generator, "discriminator": self.arch.discriminator}
        return {
            name: torch.optim.Adam(networks[name].parameters(), rate, BETAS, eps=1e-8, fused=True)
            for name, rate in rates.items()
        }

    def _set_rates(self) -> None:
        config = self.config
        if config.decay_from >= 1:
            return
        start = config.decay_from * config.images
        remaining = min(1.0, (config.images - self.seen) / max(config.images - start, 1))
        for name, rate in (("generator", config.learning_rate), ("discriminator", config.discriminator_rate)):
            self.optimisers[name].param_groups[0]["lr"] = rate * remaining

    def _descend(self, name: str, loss: Tensor) -> None:
        self.optimisers[name].zero_grad(set_to_none=True)
        loss.backward()
        if self.ranks.world_size > 1:
            learnt = [p for p in self.optimisers[name].param_groups[0]["params"] if p.grad is not None]
            summed = self.ranks.sum([parameter.grad for parameter in learnt])
            for parameter, gradient in zip(learnt, summed, strict=True):
                parameter.grad = gradient / self.ranks.world_size
        self.optimisers[name].step()

    @torch.no_grad()
    def _average(self, images: int) -> None:
        half_life = 1000 * self.config.ema_kimg
        if self.config.fine_tune is None:  # a run that is fine-tuned brings an average along
            half_life = min(half_life, self.config.ema_ramp * self.seen)
        decay = 0.5 ** (images / half_life) if half_life else 0.0
        averaged: list[Tensor] = list(self.average.parameters())
        current: list[Tensor] = list(self.arch.generator.parameters())
        torch._foreach_lerp_(averaged, current, 1 - decay)
        for mean, now in zip(self.average.buffers(), self.arch.generator.buffers(), strict=True):
            mean.copy_(now)


def _check_shared(config: TrainConfig, world_size: int) -> None:
    for batch in config.schedule.batch_sizes:
        share = batch // world_size
        groups = config.arch == "biggan" or share <= GROUP or share % GROUP == 0
        if batch % world_size or share < 2 or not groups:
            raise UserError(
                f"batch_size must be divisible by the {world_size} processes into parts of at least 2"
                f"{', of a multiple of 4 if above 4' if config.arch == 'progan' else ''}, got {batch}."
            )


def train(trainer: Trainer) -> Iterator[Record | None]:
    """Train to the end; writes nothing.

    Args:
        trainer: Fresh, or as a checkpoint left it.

    Yields:
        After each step, a record where one is due, else ``None``.
    """
    while not trainer.finished:
        trainer.train_step()
        due = trainer.step % trainer.config.stats_every == 0 or trainer.finished
        yield trainer.record() if due else None


def _sizes(config: TrainConfig) -> str:
    channels = ",".join(map(str, config.channels or ()))
    return f"{config.arch}, {config.dim_z}, {channels or config.channel_width} and {config.resolution}"
