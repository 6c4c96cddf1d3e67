"""Train a packaged generator: a small BigGAN-deep on the rendered scenes or letters, checkpointed and resumable.

``make builtin`` and ``make letters`` run it, then ``export.py``, which measures the result and writes the
packaged files. Run the same command again to go on after an interruption; --steps may differ then. The folder has
checkpoint.pt, settings.json, stats.jsonl, and a sheet of samples for every few thousand images.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import json
import signal
import sys
import time
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import torch
from images import Images
from networks import (
    SMALL_BIGGAN,
    Discriminator,
    TextureStatistics,
    build_generator,
    chroma,
    colour_matching,
    hinge_discriminator,
    images_of,
    rank_matching,
    texture_matching,
    tie_colours,
)
from PIL import Image
from torch import Tensor, nn
from tqdm import tqdm

from directions.evaluation.letter_factors import LetterJudge, letter_factors, seen_in
from directions.files import atomic_write
from directions.generators.base import truncated_normal
from directions.sampling import derived_rng

EMA_RAMP = 0.05  # the average's half-life is at most this part of the images seen
SHEET_COLUMNS = 10
COMPANIONS = 128
CHUNK = 500


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
    generator_rate: float = 2e-4
    discriminator_rate: float = 4e-4
    decay_from: float = 0.5
    ema: float = 0.999
    texture: float = 0.0
    colour: float = 0.0
    factors: float = 0.0
    warm_up: int = 0
    bfloat16: bool = True
    seed: int = 0


def generator_config(data: Images, dim_z: int, channel_width: int) -> dict[str, object]:
    """What of the generator's configuration follows from data and settings; a class's embedding is as long as z."""
    sizes = {"z_dim": dim_z, "class_embed_dim": dim_z, "channel_width": channel_width}
    layers = SMALL_BIGGAN["layers"]
    if data.images.shape[1] == 32:
        layers = [*layers[:6], [False, 2, 1]]
    return {**sizes, "output_dim": data.images.shape[1], "num_classes": len(data.class_names), "layers": layers}


class Trainer:
    """The two networks, the average, the optimisers and the step; a checkpoint is exactly this.

    Every draw follows from the seed and the step, so that a run that was killed goes on bit-identically.
    """

    def __init__(self, settings: Settings, data: Images) -> None:
        self.settings, self.data = settings, data
        self.classes, self.channels = len(data.class_names), data.channels
        resolution = data.images.shape[1]
        torch.manual_seed(settings.seed)
        self.generator = build_generator(generator_config(data, settings.dim_z, settings.channel_width))
        self.discriminator = Discriminator(
            resolution, self.classes, settings.discriminator_width, self.channels, settings.fold, settings.together
        )
        for network in (self.generator, self.discriminator):
            for parameter in network.parameters():
                if parameter.ndim == 4:  # about a fifth faster on a CPU
                    parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
        if self.channels == 1:
            tie_colours(self.generator)
        self.average = copy.deepcopy(self.generator).requires_grad_(False)
        self.networks: dict[str, nn.Module] = {
            "generator": self.generator,
            "discriminator": self.discriminator,
            "average": self.average,
        }
        self.rates = {"generator": settings.generator_rate, "discriminator": settings.discriminator_rate}
        self.optimisers = {
            name: torch.optim.Adam(self.networks[name].parameters(), rate, (0.0, 0.99), fused=True)
            for name, rate in self.rates.items()
        }
        self.step, self.fine_tuned = 0, False
        self.texture = texture_of(data) if settings.texture else None
        self.chroma = chroma_of(data) if settings.colour else None
        self.judge, self.factors = factors_of(data) if settings.factors else (None, [])

    def state_dict(self) -> dict[str, object]:
        """Return everything that a resumed run needs."""
        return {
            "step": self.step,
            "data": self.data.digest,
            "fine_tuned": self.fine_tuned,
            "networks": {name: network.state_dict() for name, network in self.networks.items()},
            "optimisers": {name: optimiser.state_dict() for name, optimiser in self.optimisers.items()},
        }

    def load_state_dict(self, state: dict) -> None:
        """Go on from a checkpoint of the same data."""
        if state["data"] != self.data.digest:
            raise SystemExit("Error: the checkpoint was trained on other images. Give --out another folder.")
        self.step, self.fine_tuned = state["step"], state["fine_tuned"]
        for name, network in self.networks.items():
            network.load_state_dict(state["networks"][name])
        for name, optimiser in self.optimisers.items():
            optimiser.load_state_dict(state["optimisers"][name])

    def start_from(self, state: dict) -> None:
        """Take the networks of another run, but not a discriminator that sees other images; all else starts anew."""
        self.fine_tuned = True
        for name, network in self.networks.items():
            theirs, own = state["networks"][name], network.state_dict()
            if name != "discriminator" or all(theirs[key].shape == value.shape for key, value in own.items()):
                network.load_state_dict(theirs)

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
        with self._autocast():
            with torch.no_grad():
                fake = images_of(self.generator, z, y, self.channels).to(real)
            scores = self._score(torch.cat((real, fake)), torch.cat((labels, y)))
        of_real, of_fake = scores.chunk(2)
        loss_d = hinge_discriminator(of_real, of_fake)
        self._descend("discriminator", loss_d)
        terms = {"loss_d": loss_d, "score_real": of_real.mean(), "score_fake": of_fake.mean()}
        terms["diversity"] = fake.std(dim=0).mean() / real.std(dim=0).mean()
        if self.step >= settings.warm_up:  # before, a new discriminator would mislead a generator that can do much
            terms |= self._generator_step(rng)
        self.step += 1
        record = {name: float(value.detach()) for name, value in terms.items()}
        return {"step": self.step, **record, "seconds": time.perf_counter() - started}

    def _generator_step(self, rng: torch.Generator) -> dict[str, Tensor]:
        settings, terms = self.settings, {}
        z, y = self._draw(rng)
        self.discriminator.requires_grad_(False)
        with self._autocast():
            made = images_of(self.generator, z, y, self.channels).float()
            terms["loss_g"] = -self._score(made, y).mean()
        loss_g = terms["loss_g"]
        if self.texture is not None:
            terms["texture"] = texture_matching(TextureStatistics.of(made), self.texture)
            loss_g = loss_g + settings.texture * terms["texture"]
        if self.chroma is not None:
            terms["colour"] = colour_matching(chroma(made), self.chroma)
            loss_g = loss_g + settings.colour * terms["colour"]
        if self.judge is not None:
            terms["factors"] = self._factor_matching(self.judge.standard(letter_factors(made, y), y), seen_in()[y])
            loss_g = loss_g + settings.factors * terms["factors"]
        self._descend("generator", loss_g)
        self.discriminator.requires_grad_(True)
        if self.channels == 1:
            tie_colours(self.generator)
        self._average()
        return terms

    def _factor_matching(self, values: Tensor, seen: Tensor) -> Tensor:
        """Each factor against the data's, and its difference between two letters of one z against that of one face.

        The first asks for the spread, tails too, which a small generator leaves out; the second that it comes from z.
        """
        values, pairs = values.clamp(-5, 5), values.clamp(-5, 5).unflatten(0, (-1, self.settings.together))
        both = seen.unflatten(0, (-1, self.settings.together)).all(dim=1)
        parts = []
        for k, (single, difference) in enumerate(self.factors):
            parts.append(rank_matching(values[seen[:, k], k], single))
            if self.settings.together > 1 and both[:, k].any():
                parts.append(rank_matching((pairs[:, 0] - pairs[:, 1])[both[:, k], k], difference))
        return torch.stack(parts).sum() / len(self.factors)

    def _score(self, images: Tensor, y: Tensor) -> Tensor:
        """Scores of images that are seen together, (batch · together, …) to (batch,)."""
        together = self.settings.together
        grouped = images.unflatten(0, (-1, together)).flatten(1, 2)
        return self.discriminator(grouped, y.unflatten(0, (-1, together))).float()

    @torch.no_grad()
    def samples(self, columns: int = SHEET_COLUMNS) -> Tensor:
        """Images of the average at latents that never change, a row for each class, normalised by their own batch."""
        z = truncated_normal(columns, self.settings.dim_z, derived_rng(0, 0, "sheet"))
        # A few images have no statistics to be normalised by, so they are given company.
        extra = truncated_normal(COMPANIONS, self.settings.dim_z, derived_rng(0, 1, "sheet"))
        y = torch.arange(self.classes).repeat_interleave(columns)
        latents = torch.cat((z.repeat(self.classes, 1), extra))
        classes = torch.cat((y, torch.arange(COMPANIONS) % self.classes))
        return images_of(self.average, latents, classes, self.channels)[: len(y)]

    def _draw(self, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        z = truncated_normal(self.settings.batch_size, self.settings.dim_z, rng)
        y = torch.randint(self.classes, (self.settings.batch_size * self.settings.together,), generator=rng)
        return z.repeat_interleave(self.settings.together, dim=0), y

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


def texture_of(data: Images) -> TextureStatistics:
    """Texture of a whole data set."""
    chunks = torch.arange(len(data)).split(CHUNK)
    parts = [TextureStatistics.of(data.batch(chunk)[0]) for chunk in chunks]
    weights = torch.tensor([len(chunk) for chunk in chunks]) / len(data)
    mean, square = (
        torch.einsum("p,pchw->chw", weights, torch.stack([getattr(part, name) for part in parts]))
        for name in ("mean", "square")
    )
    return TextureStatistics(mean, square)


def chroma_of(data: Images) -> Tensor:
    """Mean colours of a whole data set, (images, angles)."""
    return torch.cat([chroma(data.batch(chunk)[0]) for chunk in torch.arange(len(data)).split(CHUNK)])


def factors_of(data: Images) -> tuple[LetterJudge, list[tuple[Tensor, Tensor]]]:
    """The judge of a set of letters; and of each factor, sorted, its values and differences within a face.

    Both are in standard deviations over the set.
    """
    values = torch.cat([letter_factors(*data.batch(chunk)) for chunk in torch.arange(len(data)).split(CHUNK)])
    judge = LetterJudge.of(values, data.labels)
    standard, seen = judge.standard(values, data.labels), seen_in()[data.labels]
    other = data.of_same_face(torch.arange(len(data)), derived_rng(0, 0, "pairs"))
    both = seen & seen[other]
    difference = standard - standard[other]
    columns = range(standard.shape[1])
    return judge, [(standard[seen[:, k], k].sort().values, difference[both[:, k], k].sort().values) for k in columns]


def sample_sheet(images: Tensor, columns: int, gap: int = 2) -> Image.Image:
    """Lay (batch, channels, height, width) images in [-1, 1] out in rows."""
    pixels = ((images.float() + 1) * 127.5).round().clamp(0, 255).to(torch.uint8).expand(-1, 3, -1, -1)
    height, width = pixels.shape[2:]
    rows = -(-len(pixels) // columns)
    sheet = Image.new("RGB", (columns * (width + gap) + gap, rows * (height + gap) + gap), "white")
    for index, image in enumerate(pixels.permute(0, 2, 3, 1).numpy()):
        place = (gap + index % columns * (width + gap), gap + index // columns * (height + gap))
        sheet.paste(Image.fromarray(image), place)
    return sheet


def run(trainer: Trainer, out: Path, *, until: int, sheet_kimg: float, checkpoint_minutes: float) -> int:
    """Train to the end, writing checkpoints, figures and sheets; return the exit code of a signal, or 0."""
    stopped: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, frame: stopped.append(number))
    checkpoint, kept = out / "checkpoint.pt", time.monotonic()
    (out / "sheets").mkdir(parents=True, exist_ok=True)
    settings, stats = trainer.settings, out / "stats.jsonl"
    # Lines after the checkpoint, from before an interruption, are dropped: these steps are taken again.
    lines = stats.read_text().splitlines()[: trainer.step] if stats.exists() else []
    stats.write_text("".join(line + "\n" for line in lines))
    bar = tqdm(total=settings.steps, initial=trainer.step, unit="step", desc="Training", disable=None)
    end = min(settings.steps, until)
    while trainer.step < end and not stopped:
        record = trainer.train_step()
        if not all(map(torch.isfinite, map(torch.tensor, record.values()))):
            print(f"Error: a loss is not finite after step {trainer.step}.", file=sys.stderr)
            return 1
        with stats.open("a") as file:
            file.write(json.dumps(record) + "\n")
        bar.update()
        last = trainer.step == end
        if last or stopped or time.monotonic() - kept > 60 * checkpoint_minutes:
            with atomic_write(checkpoint) as partial:
                torch.save(trainer.state_dict(), partial)
            kept = time.monotonic()
        images = round(1000 * sheet_kimg)
        seen = trainer.step * settings.batch_size
        if last or seen // images != (seen - settings.batch_size) // images:
            sample_sheet(trainer.samples(), SHEET_COLUMNS).save(out / "sheets" / f"step-{trainer.step:06d}.png")
    return 128 + stopped[0] if stopped else 0


def parse_arguments(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line; every field of ``Settings`` is an option."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("data/clevr-simple-64"), help="folder of scenes or letters")
    parser.add_argument("--out", type=Path, default=Path("outputs/builtin"), help="folder of the run")
    parser.add_argument("--start", type=Path, help="--out of the run whose trained networks to start from")
    parser.add_argument("--until", type=int, help="step at which to end, as if interrupted (--steps)")
    parser.add_argument("--sheet-kimg", type=float, default=8.0, help="thousands of images from sheet to sheet")
    parser.add_argument("--checkpoint-minutes", type=float, default=5.0, help="minutes from checkpoint to checkpoint")
    for field in fields(Settings):
        name = "--" + field.name.replace("_", "-")
        if field.type == "bool":
            parser.add_argument(name, action=argparse.BooleanOptionalAction, default=field.default, help=" ")
        else:
            parser.add_argument(name, type=type(field.default), default=field.default, help=" ")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Train; 130 or 143 after a signal, 1 after bad input or if a loss is not finite."""
    arguments = parse_arguments(argv)
    torch.set_flush_denormal(True)
    settings = Settings(**{field.name: getattr(arguments, field.name) for field in fields(Settings)})
    data = Images(arguments.data)
    data.check_digest()
    trainer = Trainer(settings, data)
    arguments.out.mkdir(parents=True, exist_ok=True)
    checkpoint = arguments.out / "checkpoint.pt"
    if checkpoint.is_file():
        trainer.load_state_dict(torch.load(checkpoint, weights_only=True))
    elif arguments.start is not None:
        trainer.start_from(torch.load(arguments.start / "checkpoint.pt", weights_only=True))
    recorded = {**asdict(settings), "start": arguments.start and arguments.start.name, "data": data.digest}
    (arguments.out / "settings.json").write_text(json.dumps(recorded, indent=2) + "\n")
    with contextlib.suppress(KeyboardInterrupt):
        return run(
            trainer,
            arguments.out,
            until=arguments.until or settings.steps,
            sheet_kimg=arguments.sheet_kimg,
            checkpoint_minutes=arguments.checkpoint_minutes,
        )
    return 130


if __name__ == "__main__":
    sys.exit(main())
