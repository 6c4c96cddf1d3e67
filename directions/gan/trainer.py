"""The training loop: a discriminator's step, a generator's step, the running average, and means of what came out."""

from __future__ import annotations

import contextlib
import copy
import math
import time
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from directions.device import full_float32
from directions.errors import NonFiniteError, UserError
from directions.gan.data import ImageData
from directions.gan.progan import GrowingGAN
from directions.generators.progan import downsample, upsample
from directions.penalty import rademacher
from directions.ranks import Ranks
from directions.sampling import derived_rng
from directions.settings.base import ConfigError
from directions.settings.train import GROUP, RESUMABLE, Stage, TrainConfig

_ADVICE = "The last checkpoint is kept. Try a smaller learning rate, or bfloat16 off."

Line = dict[str, Any]
"""What stats.jsonl has a line of: step, kimg, resolution (pixels) and alpha of the last step, means since the last line
of the losses and what they are made of, and the seconds a step."""


class Trainer:
    """The two networks, the average, the optimisers and the counters; a checkpoint is exactly this.

    Every draw follows from the seed and the step, so that a run that was killed goes on bit-identically on the CPU.

    Args:
        config: Settings.
        data: Real images.
        device: Where the networks are; one that is there.
        ranks: The processes that share each batch; ``None`` is this process alone.

    Raises:
        ConfigError: If a batch cannot be shared among the processes, or the GPU has no bfloat16.
    """

    def __init__(self, config: TrainConfig, data: ImageData, device: str = "cpu", ranks: Ranks | None = None) -> None:
        self.config, self.data, self.device = config, data, torch.device(device)
        self.ranks = ranks or Ranks()
        for batch in config.batch_size:
            share = batch // self.ranks.world_size
            if batch % self.ranks.world_size or share < 2 or (share > GROUP and share % GROUP):
                raise ConfigError(
                    "batch_size",
                    f"must be divisible by the {self.ranks.world_size} processes into parts of at least 2, "
                    f"of a multiple of 4 if above 4, got {batch}.",
                )
        if config.bfloat16 and self.device.type == "cuda" and not torch.cuda.is_bf16_supported():
            raise ConfigError("bfloat16", f"must be off: {torch.cuda.get_device_name(self.device)} does not have it.")
        self.arch = GrowingGAN(config, self.device)
        for network in (self.arch.generator, self.arch.discriminator):
            for parameter in network.parameters():
                if parameter.ndim == 4:  # about a fifth faster on a CPU, and what tensor cores want
                    parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
            for tensor in (*network.parameters(), *network.buffers()):
                self.ranks.align(tensor)  # machines may draw differently
        self.average = copy.deepcopy(self.arch.generator).requires_grad_(False)
        self.networks: dict[str, nn.Module] = {
            "generator": self.arch.generator, "discriminator": self.arch.discriminator, "average": self.average
        }  # fmt: skip
        self.rates = {"generator": config.learning_rate, "discriminator": config.discriminator_rate}
        self.step, self.seen, self._seen_before = 0, 0, 0
        self.level = config.stage(0).level
        self.optimisers = self._fresh_optimisers()
        self._window = Window(self.ranks)

    @property
    def finished(self) -> bool:
        """Whether all images have been shown."""
        return self.seen >= self.config.images

    @property
    def last_batch(self) -> int:
        """Real images that the last step saw."""
        return self.seen - self._seen_before

    @property
    def last_stage(self) -> Stage:
        """Where growth stood at the last step; before the first, where it starts."""
        return self.config.stage(self._seen_before)

    def state_dict(self) -> dict[str, Any]:
        """Return everything that a resumed run needs, as tensors and plain types."""
        counters = {"step": self.step, "seen": self.seen, "seen_before": self._seen_before, "level": self.level}
        return {
            "config": self.config.to_dict(),
            "data": self.data.digest,
            "counters": counters,
            "networks": {name: network.state_dict() for name, network in self.networks.items()},
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
                f"{self.data.digest[:12]}). Say where those of that run are with --data, or start a new one."
            )
        recorded = TrainConfig.from_dict(state["config"])
        differing = [field for field in recorded.differences(self.config) if field not in RESUMABLE]
        if differing:
            raise UserError(f"The checkpoint was made with other settings: {', '.join(differing)} differ.")
        counters = state["counters"]
        self.step, self.seen, self.level = counters["step"], counters["seen"], counters["level"]
        self._seen_before = counters["seen_before"]
        for name, network in self.networks.items():
            network.load_state_dict(state["networks"][name])
        for name, optimiser in self.optimisers.items():
            optimiser.load_state_dict(state["optimisers"][name])
        self._window.load_state_dict(state["window"], self.device)

    def start_from(self, state: Mapping[str, Any]) -> None:
        """Take the networks of another run; optimisers and counters start anew.

        Args:
            state: That run's `state_dict`.

        Raises:
            ConfigError: If its networks have other sizes, or it has not grown to the end.
        """
        config, theirs = self.config, TrainConfig.from_dict(state["config"])
        seen = state["counters"]["seen"]
        if seen < theirs.growth:
            raise ConfigError(
                "fine_tune",
                f"must name a run that has grown to {theirs.resolution} pixels, which takes "
                f"{theirs.growth / 1000:g} kimg; it has seen {seen / 1000:g}. Train it longer.",
            )
        for name, network in self.networks.items():
            # A latent head is the discriminator's own affair: one that is new starts at random.
            head = {key: tensor for key, tensor in network.state_dict().items() if key.startswith("latent_head.")}
            found = {key: t for key, t in state["networks"][name].items() if not key.startswith("latent_head.")}
            try:
                network.load_state_dict(head | found)
            except RuntimeError:
                there, here = (f"{c.dim_z}, {','.join(map(str, c.channels))}, {c.resolution}" for c in (theirs, config))
                raise ConfigError(
                    "fine_tune",
                    "must name a run with networks of the same sizes: dim_z, channels and resolution there are "
                    f"{there}, here {here}.",
                ) from None

    def train_step(self) -> None:
        """Take one step of the discriminator and one of the generator."""
        started, config, ranks = time.perf_counter(), self.config, self.ranks
        stage = config.stage(self.seen)
        if stage.level != self.level:
            # Moments of gradients at the old resolution would mislead the first steps at the new one.
            self.level, self.optimisers = stage.level, self._fresh_optimisers()
        self._set_rates()
        rng, size = derived_rng(config.seed, self.step, "gan"), stage.batch_size
        share = size // ranks.world_size

        def own(draws: Tensor, dim: int = 0) -> Tensor:
            # Everyone draws for everyone, so that the samples do not depend on the number of processes.
            return draws.narrow(dim, ranks.rank * share, share)

        indices = own(torch.randint(len(self.data), (size,), generator=rng))
        real = faded(self.data.read(indices).to(self.device), stage)
        z = own(torch.randn(size, config.dim_z, generator=rng)).to(self.device)
        wgan, mix = config.loss == "wgan-gp", None
        if wgan and config.gradient_weight:
            mix = own(torch.rand(size, generator=rng)).to(self.device)
        r1 = not wgan and config.gradient_weight > 0 and self.step % config.r1_every == 0
        of_discriminator = self.arch.discriminator_terms(real, z, stage, mix=mix, r1=r1)
        self._descend("discriminator", of_discriminator["loss"])
        z, probes = own(torch.randn(size, config.dim_z, generator=rng)).to(self.device), None
        ramp = 1000 * config.penalty_ramp_kimg
        weight = config.penalty_weight * (min(self.seen / ramp, 1.0) if ramp else 1.0)
        if config.penalty != "none" and weight:
            probes = own(rademacher((config.num_probes, size, config.dim_z), rng), dim=1).to(self.device)
        # The discriminator that has just learnt judges, and learns nothing from it.
        self.arch.discriminator.requires_grad_(False)
        # The penalty divides differences by ε², forwards and backwards, which makes TF32's errors a hundredfold.
        with full_float32() if config.penalty != "none" else contextlib.nullcontext():
            of_generator = self.arch.generator_terms(z, stage, probes=probes, weight=weight)
            self._descend("generator", of_generator["loss"])
        self.arch.discriminator.requires_grad_(True)
        self.step += 1
        self._seen_before = self.seen
        self.seen += size
        self._average(size)
        losses = {"loss_d": of_discriminator.pop("loss"), "loss_g": of_generator.pop("loss")}
        self._window.add(losses | of_discriminator | of_generator, time.perf_counter() - started)

    def record(self) -> Line:
        """Give the means since the last line, and start new ones.

        Returns:
            The line.

        Raises:
            NonFiniteError: If one of them is not finite.
        """
        stage = self.last_stage
        line = {"step": self.step, "kimg": self.seen / 1000, "resolution": stage.resolution, "alpha": stage.alpha}
        return line | self._window.means(self.step)

    def check_finite(self) -> None:
        """Refuse to go on with weights or losses that are no numbers, before they are kept.

        Raises:
            NonFiniteError: If one is not finite.
        """
        weights = [p for network in self.networks.values() for p in network.parameters()]
        if not self._window.finite() or not all(bool(p.isfinite().all()) for p in weights):
            raise NonFiniteError(f"A loss or a weight is not finite after step {self.step}. {_ADVICE}")

    @torch.no_grad()
    def samples(self, columns: int = 10) -> Tensor:
        """Make images of the averaged generator at latents that never change.

        Args:
            columns: Images in a row; there are half as many rows.

        Returns:
            (columns · columns // 2, 3, h, w) in [-1, 1], on the CPU.
        """
        stage = self.last_stage
        z = torch.randn(columns * max(columns // 2, 1), self.config.dim_z, generator=derived_rng(0, 0, "sheet"))
        parts = [self.average(part.to(self.device), stage.level, stage.alpha).cpu() for part in z.split(64)]
        return torch.cat(parts).clamp(-1, 1)

    def _fresh_optimisers(self) -> dict[str, torch.optim.Adam]:
        return {
            name: torch.optim.Adam(self.networks[name].parameters(), rate, betas=(0.0, 0.99), eps=1e-8, fused=True)
            for name, rate in self.rates.items()
        }

    def _set_rates(self) -> None:
        config = self.config
        if config.decay_from < 1:
            decaying = max(config.images - config.decay_from * config.images, 1)
            for name, rate in self.rates.items():
                self.optimisers[name].param_groups[0]["lr"] = rate * min(1.0, (config.images - self.seen) / decaying)

    def _descend(self, name: str, loss: Tensor) -> None:
        self.optimisers[name].zero_grad(set_to_none=True)
        loss.backward()
        if self.ranks.world_size > 1:
            gradients = [p.grad for p in self.networks[name].parameters() if p.grad is not None]
            for gradient, total in zip(gradients, self.ranks.sum(gradients), strict=True):
                torch.div(total, self.ranks.world_size, out=gradient)
        self.optimisers[name].step()

    @torch.no_grad()
    def _average(self, images: int) -> None:
        half_life = 1000 * self.config.ema_kimg
        if self.config.fine_tune is None:  # a run that is fine-tuned brings an average along
            half_life = min(half_life, self.config.ema_ramp * self.seen)
        decay = 0.5 ** (images / half_life) if half_life else 0.0
        torch._foreach_lerp_([*self.average.parameters()], [*self.arch.generator.parameters()], 1 - decay)


def train(trainer: Trainer) -> Iterator[Line | None]:
    """Train to the end; writes nothing.

    Args:
        trainer: Fresh, or as a checkpoint left it.

    Yields:
        After each step, a line where one is due, else ``None``.
    """
    while not trainer.finished:
        trainer.train_step()
        due = trainer.step % trainer.config.stats_every == 0 or trainer.finished
        yield trainer.record() if due else None


def faded(images: Tensor, stage: Stage) -> Tensor:
    """Show images as a stage sees them: reduced to its resolution, and blurred while its block is faded in.

    Args:
        images: (batch, 3, h, w), of the stage's resolution or a multiple.
        stage: Where growth stands.

    Returns:
        (batch, 3, resolution, resolution).

    References:
        Karras et al. 2018, arXiv:1710.10196, section 2 and figure 2.
    """
    images = downsample(images, images.shape[2] // stage.resolution)
    if stage.alpha < 1:
        images = torch.lerp(upsample(downsample(images)), images, stage.alpha)
    return images


class Window:
    """Sums of scalars over the steps since the last line, with the number of steps that had each.

    Args:
        ranks: Processes that each see a part of a step; their means are taken together.
    """

    def __init__(self, ranks: Ranks) -> None:
        self._ranks = ranks
        self._clear()

    def _clear(self) -> None:
        self._totals: dict[str, Tensor] = {}
        self._steps, self._seconds = 0, 0.0

    def add(self, terms: Mapping[str, Tensor], seconds: float) -> None:
        """Add what came out of one step.

        Args:
            terms: Scalars; not every step needs to have every one. ``diversity`` is left out where it is not finite.
            seconds: Time that the step took.
        """
        for name, term in terms.items():
            # Left where it is: a GPU need not wait for the number.
            value = term.detach().double()
            counts = value.isfinite() if name == "diversity" else torch.ones_like(value)
            pair = torch.stack((value.where(counts > 0, 0.0), counts.double()))
            self._totals[name] = self._totals[name] + pair if name in self._totals else pair
        self._steps += 1
        self._seconds += seconds

    def means(self, step: int) -> dict[str, float]:
        """Give the means, and start new ones.

        Args:
            step: Steps taken in all, for the message.

        Returns:
            The mean of each scalar that a step had, and the seconds a step.

        Raises:
            NonFiniteError: If one of them is not finite.
        """
        self._share()
        pairs = {name: pair.tolist() for name, pair in self._totals.items()}
        means = {name: total / count for name, (total, count) in pairs.items() if count}
        for name, value in means.items():
            if not math.isfinite(value):
                raise NonFiniteError(
                    f"{name} became {value} within the {self._steps} steps up to step {step}. {_ADVICE}"
                )
        means["seconds"] = round(self._seconds / self._steps, 4)
        self._clear()
        return means

    def finite(self) -> bool:
        """Whether all of the sums so far are finite, on every rank."""
        self._share()
        return all(bool(pair.isfinite().all()) for pair in self._totals.values())

    def state_dict(self) -> dict[str, Any]:
        """Return the sums as plain types: a resumed run then has the same means."""
        sums, counts = ({name: pair[part].item() for name, pair in self._totals.items()} for part in (0, 1))
        return {"sums": sums, "counts": counts, "steps": self._steps, "seconds": self._seconds}

    def load_state_dict(self, state: Mapping[str, Any], device: torch.device) -> None:
        """Go on from what `state_dict` returned.

        Args:
            state: The sums.
            device: Where those of later steps will be.
        """
        counts, missing = state["counts"], state.get("missing", {})  # missing ones were once counted apart
        pairs = {name: (total, counts[name] - missing.get(name, 0.0)) for name, total in state["sums"].items()}
        self._totals = {name: torch.tensor(p, dtype=torch.float64, device=device) for name, p in pairs.items()}
        self._steps = state.get("steps", max(counts.values(), default=0))  # the first checkpoints had none
        self._seconds = state.get("seconds", 0.0)

    def _share(self) -> None:
        """Take the mean over the ranks of what each has seen of its part."""
        if self._ranks.world_size > 1 and self._totals:
            summed = self._ranks.sum([*self._totals.values()])
            means = [total / self._ranks.world_size for total in summed]
            self._totals = dict(zip(self._totals, means, strict=True))
