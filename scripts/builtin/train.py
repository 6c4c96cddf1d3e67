"""Train a packaged generator: a small BigGAN-deep on the rendered scenes or letters, checkpointed and resumable.

``make builtin`` and ``make letters`` run it, then ``export.py``, which measures the result and writes the
packaged files. Run the same command again to go on after an interruption; --steps may differ then. The folder has
checkpoint.pt, settings.json, stats.jsonl, and a sheet of samples for every few thousand images.
"""

from __future__ import annotations

import argparse
import copy
import json
import math
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import torch
from images import Images
from matching import ColourMatching, FactorMatching, TextureMatching
from networks import SMALL_BIGGAN, Discriminator, build_generator, hinge_discriminator, images_of, tie_colours
from pytorch_pretrained_biggan import BigGAN
from torch import Tensor, nn
from tqdm import tqdm

from directions.errors import Interrupted
from directions.files import atomic_write, write_text
from directions.gan.recording import sample_sheet
from directions.generators.base import truncated_normal
from directions.run import RunFolder, StopSignals
from directions.sampling import derived_rng

EMA_RAMP = 0.05  # the average's half-life is at most this part of the images seen
SHEET_COLUMNS = 10
COMPANIONS = 128


@dataclass(frozen=True)
class Settings:
    """What the card of a packaged generator says of its training; the defaults are those of the scenes."""

    steps: int = 5000
    batch_size: int = 32
    dim_z: int = 12
    channel_width: int = 24
    discriminator_width: int = 24
    fold: int = 1
    together: int = 1
    alone: bool = False
    generator_rate: float = 2e-4
    discriminator_rate: float = 4e-4
    decay_from: float = 0.5
    ema: float = 0.999
    texture: float = 0.0
    colour: float = 0.0
    factors: float = 0.0
    agree: float = 1.0
    scale: float = 1.0
    warm_up: int = 0
    bfloat16: bool = True
    seed: int = 0


def generator_for(data: Images, dim_z: int, channel_width: int) -> BigGAN:
    """Make a fresh generator of the size that data and settings ask for; a class's embedding is as long as z."""
    side, layers = data.images.shape[1], SMALL_BIGGAN["layers"]
    config = {"z_dim": dim_z, "class_embed_dim": dim_z, "channel_width": channel_width, "output_dim": side}
    config |= {"layers": [*layers[:6], [False, 2, 1]]} if side == 32 else {}
    model = build_generator({**config, "num_classes": len(data.class_names)})
    if data.channels == 1:
        tie_colours(model)
    return model


class Trainer:
    """The two networks, the average, the optimisers and the step; a checkpoint is exactly this.

    Every draw follows from the seed and the step, so that a run that was killed goes on bit-identically.
    """

    def __init__(self, settings: Settings, data: Images) -> None:
        self.settings, self.data = settings, data
        self.classes, self.channels = len(data.class_names), data.channels
        torch.manual_seed(settings.seed)
        self.generator = generator_for(data, settings.dim_z, settings.channel_width)
        sizes = data.images.shape[1], self.classes, settings.discriminator_width, self.channels, settings.fold
        self.opponents = nn.ModuleDict({"discriminator": Discriminator(*sizes, settings.together)})
        if settings.alone:
            self.opponents["alone"] = Discriminator(*sizes)
        learning: dict[str, nn.Module] = {"generator": self.generator, **self.opponents}
        for network in learning.values():
            for parameter in network.parameters():
                if parameter.ndim == 4:  # about a fifth faster on a CPU
                    parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
        self.average = copy.deepcopy(self.generator).requires_grad_(False)
        self.networks = {**learning, "average": self.average}
        self.rates = dict.fromkeys(learning, settings.discriminator_rate) | {"generator": settings.generator_rate}
        self.optimisers = {
            name: torch.optim.Adam(network.parameters(), self.rates[name], (0.0, 0.99), fused=True)
            for name, network in learning.items()
        }
        self.step, self.fine_tuned = 0, False
        kinds = {"texture": TextureMatching, "colour": ColourMatching, "factors": FactorMatching}
        self.matching = {name: kind(data, settings) for name, kind in kinds.items() if getattr(settings, name)}

    def state_dict(self) -> dict[str, object]:
        """Return everything that a resumed run needs."""
        return {
            "step": self.step,
            "data": self.data.digest,
            "fine_tuned": self.fine_tuned,
            "recent": {name: matching.recent for name, matching in self.matching.items()},
            "networks": {name: network.state_dict() for name, network in self.networks.items()},
            "optimisers": {name: optimiser.state_dict() for name, optimiser in self.optimisers.items()},
        }

    def load_state_dict(self, state: dict) -> None:
        """Go on from a checkpoint of the same data."""
        if state["data"] != self.data.digest:
            raise SystemExit("Error: the checkpoint was trained on other images. Give --out another folder.")
        self.step, self.fine_tuned = state["step"], state["fine_tuned"]
        for name, matching in self.matching.items():
            matching.recent = state["recent"][name]
        for name, network in self.networks.items():
            network.load_state_dict(state["networks"][name])
        for name, optimiser in self.optimisers.items():
            optimiser.load_state_dict(state["optimisers"][name])

    def start_from(self, states: Sequence[dict]) -> None:
        """Take the generator of the first run, and discriminators of the first that saw as many images together."""
        self.fine_tuned = True
        for name, network in self.networks.items():
            own = {key: value.shape for key, value in network.state_dict().items()}
            for state in states:
                theirs = state["networks"].get(name) or state["networks"]["discriminator"]
                if own == {key: value.shape for key, value in theirs.items()}:
                    network.load_state_dict(theirs)
                    break

    def train_step(self) -> dict[str, float]:
        """Take one step of the discriminator and one of the generator; return what is to be logged."""
        settings, started = self.settings, time.perf_counter()
        first = settings.decay_from * settings.steps
        remaining = min(1.0, (settings.steps - self.step) / max(settings.steps - first, 1))
        for name, rate in self.rates.items():
            self.optimisers[name].param_groups[0]["lr"] = rate * remaining
        rng = derived_rng(settings.seed, self.step, "gan")
        indices = [torch.randint(len(self.data), (settings.batch_size,), generator=rng)]
        indices += [self.data.of_same_face(indices[0], rng) for _ in range(settings.together - 1)]
        real, labels = self.data.batch(torch.stack(indices, dim=1).flatten())
        z, y = self._draw(rng)
        with torch.no_grad(), self._autocast():
            fake = images_of(self.generator, z, y, self.channels).to(real)
        terms = {"diversity": fake.std(dim=0).mean() / real.std(dim=0).mean()}
        for name, opponent in self.opponents.items():
            with self._autocast():
                of_real, of_fake = opponent(torch.cat((real, fake)), torch.cat((labels, y))).float().chunk(2)
            loss_d, end = hinge_discriminator(of_real, of_fake), "" if name == "discriminator" else f"_{name}"
            self._descend(name, loss_d)
            terms |= {f"loss_d{end}": loss_d, f"score_real{end}": of_real.mean(), f"score_fake{end}": of_fake.mean()}
        if self.step >= settings.warm_up:  # before, a new discriminator would mislead a generator that can do much
            terms |= self._generator_step(rng)
        self.step += 1
        record = {name: float(value.detach()) for name, value in terms.items()}
        return {"step": self.step, **record, "seconds": time.perf_counter() - started}

    def _generator_step(self, rng: torch.Generator) -> dict[str, Tensor]:
        settings, terms = self.settings, {}
        z, y = self._draw(rng)
        self.opponents.requires_grad_(False)
        with self._autocast():
            made = images_of(self.generator, z, y, self.channels).float()
            loss_g = terms["loss_g"] = -sum(opponent(made, y).float().mean() for opponent in self.opponents.values())
        for name, matching in self.matching.items():
            terms[name] = matching(made, y)
            loss_g = loss_g + getattr(settings, name) * terms[name]
        self._descend("generator", loss_g)
        self.opponents.requires_grad_(True)
        if self.channels == 1:
            tie_colours(self.generator)
        self._average()
        return terms

    @torch.no_grad()
    def samples(self) -> Tensor:
        """Images of the average at latents that never change, a row for each class, normalised by their own batch."""
        dim, sizes = self.settings.dim_z, (SHEET_COLUMNS, COMPANIONS)
        rows, companions = (truncated_normal(n, dim, derived_rng(0, i, "sheet")) for i, n in enumerate(sizes))
        y = torch.cat(
            (torch.arange(self.classes).repeat_interleave(SHEET_COLUMNS), torch.arange(COMPANIONS) % self.classes)
        )
        # A few images have no statistics to be normalised by, so they are given company.
        z = torch.cat((rows.repeat(self.classes, 1), companions)) * self.settings.scale
        return images_of(self.average, z, y, self.channels)[:-COMPANIONS]

    def _draw(self, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        settings = self.settings
        z = truncated_normal(settings.batch_size, settings.dim_z, rng) * settings.scale
        y = torch.randint(self.classes, (settings.batch_size * settings.together,), generator=rng)
        return z.repeat_interleave(settings.together, dim=0), y

    def _autocast(self) -> torch.autocast:
        return torch.autocast("cpu", torch.bfloat16, enabled=self.settings.bfloat16)

    def _descend(self, name: str, loss: Tensor) -> None:
        self.optimisers[name].zero_grad(set_to_none=True)
        loss.backward()
        self.optimisers[name].step()

    @torch.no_grad()
    def _average(self) -> None:
        decay = self.settings.ema
        if not self.fine_tuned:  # a run that is fine-tuned brings an average along
            decay = min(decay, 0.5 ** (1 / (EMA_RAMP * (self.step + 1))))
        torch._foreach_lerp_(list(self.average.parameters()), list(self.generator.parameters()), 1 - decay)
        for mean, now in zip(self.average.buffers(), self.generator.buffers(), strict=True):
            mean.copy_(now)


def run(trainer: Trainer, out: Path, *, until: int, sheet_kimg: float, checkpoint_minutes: float) -> int:
    """Train to the end, writing checkpoints, figures and sheets; return the exit code of a signal, or 0."""
    settings, folder = trainer.settings, RunFolder(out)
    (out / "sheets").mkdir(parents=True, exist_ok=True)
    # Lines after the checkpoint, from before an interruption, are dropped: these steps are taken again.
    folder.keep_stats(lambda line: line["step"] <= trainer.step)

    def save() -> float:
        with atomic_write(folder.checkpoint_path) as partial:
            torch.save(trainer.state_dict(), partial)
        return time.monotonic()

    bar = tqdm(total=settings.steps, initial=trainer.step, unit="step", desc="Training", disable=None)
    end, images, kept = min(settings.steps, until), round(1000 * sheet_kimg), time.monotonic()
    with StopSignals() as signals:
        try:
            while trainer.step < end:
                with signals.deferred():
                    record = trainer.train_step()
                    if not all(map(math.isfinite, record.values())):
                        print(f"Error: a loss is not finite after step {trainer.step}.", file=sys.stderr)
                        return 1
                    folder.append_stats(record)
                    bar.update()
                    last, seen = trainer.step == end, trainer.step * settings.batch_size
                    if last or time.monotonic() - kept > 60 * checkpoint_minutes:
                        kept = save()
                    if last or seen // images != (seen - settings.batch_size) // images:
                        sheet = sample_sheet(trainer.samples().expand(-1, 3, -1, -1), columns=SHEET_COLUMNS)
                        sheet.save(out / "sheets" / f"step-{trainer.step:06d}.png")
        except Interrupted as interrupted:
            save()
            return interrupted.exit_code
    return 0


def main(argv: list[str] | None = None) -> int:
    """Train; 130 or 143 after a signal, 1 after bad input or if a loss is not finite."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("data/clevr-simple-64"), help="folder of scenes or letters")
    parser.add_argument("--out", type=Path, default=Path("outputs/builtin"), help="folder of the run")
    parser.add_argument("--start", type=Path, nargs="+", default=[], help="--out of runs whose networks to start from")
    parser.add_argument("--until", type=int, help="step at which to end, as if interrupted (--steps)")
    parser.add_argument("--sheet-kimg", type=float, default=8.0, help="thousands of images from sheet to sheet")
    parser.add_argument("--checkpoint-minutes", type=float, default=5.0, help="minutes from checkpoint to checkpoint")
    for field in fields(Settings):
        kind = {"action": argparse.BooleanOptionalAction} if field.type == "bool" else {"type": type(field.default)}
        parser.add_argument("--" + field.name.replace("_", "-"), default=field.default, help=" ", **kind)
    arguments = parser.parse_args(argv)
    torch.set_flush_denormal(True)
    settings = Settings(**{field.name: getattr(arguments, field.name) for field in fields(Settings)})
    data = Images(arguments.data)
    data.check_digest()
    trainer = Trainer(settings, data)
    arguments.out.mkdir(parents=True, exist_ok=True)
    checkpoint = arguments.out / "checkpoint.pt"
    if checkpoint.is_file():
        trainer.load_state_dict(torch.load(checkpoint, weights_only=True))
    elif arguments.start:
        trainer.start_from([torch.load(start / "checkpoint.pt", weights_only=True) for start in arguments.start])
    recorded = {**asdict(settings), "start": [start.name for start in arguments.start], "data": data.digest}
    write_text(arguments.out / "settings.json", json.dumps(recorded, indent=2) + "\n")
    until, minutes = arguments.until or settings.steps, arguments.checkpoint_minutes
    return run(trainer, arguments.out, until=until, sheet_kimg=arguments.sheet_kimg, checkpoint_minutes=minutes)


if __name__ == "__main__":
    sys.exit(main())
