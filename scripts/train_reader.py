"""Train the scene reader on the rendered scenes and put it into the package.

Reads the folder that ``scripts/render_scenes.py`` writes, trains a
`directions.evaluation.scene_reader.SceneReader` on all images but the last ``--held-out``, prints how well it
reads those, and writes ``weights.safetensors``, ``config.json`` and ``card.md``. The reader is to judge a GAN's
samples, so it is trained on images with a GAN's small faults (`degrade`): blur, ringing, noise, grid patterns
and drifts of light and saturation, none of which changes a factor. A checkpoint is written after every epoch; the same
command goes on from it, to the same result. ``--check`` only prints the figures of the reader that is there.

A reader of a small GAN's images is trained on renders reduced to its size, from the package's reader on: ``--pixels 16
--start directions/evaluation/reader --out outputs/reader-16 --checkpoint outputs/reader-16/checkpoint.pt``.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import math
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save
from torch import Tensor
from torch.nn import functional
from tqdm import tqdm

from directions.errors import UserError
from directions.evaluation import scene_reader
from directions.evaluation.scene_reader import FACTORS, SHAPES, SceneReader, load_scene_reader, resized
from directions.files import atomic_write, write_bytes, write_text

PEAK_LEARNING_RATE = 3e-3
WEIGHT_DECAY = 0.01
WARM_UP = 0.1
TARGET_R2 = 0.95
TARGET_ACCURACY = 0.99


@dataclass(frozen=True)
class Settings:
    """What fixes the result, besides the data.

    Attributes:
        data: SHA-256 of the data set, from its ``dataset.json``.
        epochs: Passes over the training images.
        batch: Images a step.
        held_out: Images at the end of the set that are kept for the figures.
        seed: Seed of the weights, the order and the degradations.
        pixels: Height and width that images are reduced to, and brought back from as the judge brings small ones.
        start: SHA-256 of the reader whose weights training starts from; empty for fresh ones.
    """

    data: str
    epochs: int
    batch: int
    held_out: int
    seed: int
    pixels: int = SceneReader.resolution
    start: str = ""


@dataclass(frozen=True)
class Scenes:
    """Images and their factors.

    Attributes:
        images: (n, 64, 64, 3), uint8.
        shape: (n,), index in `SHAPES`.
        factors: (n, 4), the columns of `FACTORS` in their units.
        digest: SHA-256 of the data set.
        pixels: Size that `batch` reduces images to.
    """

    images: np.ndarray
    shape: Tensor
    factors: Tensor
    digest: str
    pixels: int = SceneReader.resolution

    def batch(self, index: Tensor) -> Tensor:
        """The images ``index`` (m,) as (m, 3, pixels, pixels) in [-1, 1], in channels_last memory."""
        values = torch.from_numpy(self.images[index.numpy()]).permute(0, 3, 1, 2)
        reduced = functional.avg_pool2d(values.float(), values.shape[2] // self.pixels)
        return reduced.div_(127.5).sub_(1)


def load_scenes(folder: Path, pixels: int = SceneReader.resolution) -> Scenes:
    """Open a data set.

    Args:
        folder: As ``scripts/render_scenes.py`` writes it.
        pixels: Size to reduce the images to; a divisor of 64.

    Returns:
        Its images, memory-mapped, and factors.

    Raises:
        UserError: If a file is missing, or the set is not one of single objects at 64 x 64.
    """
    try:
        images = np.load(folder / "images.npy", mmap_mode="r")
        with (folder / "factors.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        digest = json.loads((folder / "dataset.json").read_text())["sha256"]
    except FileNotFoundError as error:
        raise UserError(f"{error.filename} does not exist. Render the scenes first: make scenes.") from error
    side = SceneReader.resolution
    if images.shape[1:] != (side, side, 3) or len(rows) != len(images) or "hue_2" in rows[0]:
        raise UserError(
            f"{folder} must hold scenes of one object at {side} x {side} pixels with a row of factors for each; it has "
            f"images of shape {images.shape} and {len(rows)} rows. Take clevr-simple at size {side}."
        )
    shape = torch.tensor([SHAPES.index(row["shape"]) for row in rows])
    factors = torch.tensor([[float(row[name]) for name in FACTORS] for row in rows], dtype=torch.float64)
    return Scenes(images, shape, factors, digest, pixels)


def as_judged(images: Tensor) -> Tensor:
    """Images of any size at the reader's, as a judge brings them to it."""
    return resized(images, SceneReader.resolution).clamp(-1, 1)


def degrade(images: Tensor, rng: torch.Generator) -> Tensor:
    """Give clean renders the small faults of a GAN's samples, each image its own, leaving every factor as it is.

    In order: blur (Gaussian, sigma about 1 pixel) or its opposite, ringing; a faint checkerboard of 1- or 2-pixel
    squares, up to 0.05; soft grey blotches, up to 0.06; saturation x 0.88-1.12; contrast x 0.92-1.08 and brightness
    +-0.08; white noise up to 0.04. All but the blur and the noise act on the three channels alike (affine), so that a
    pixel keeps its hue exactly, unless a channel is cut off at -1 or 1.

    Args:
        images: (n, 3, height, width), in [-1, 1].
        rng: Source of the strengths and the noise.

    Returns:
        As ``images``, in [-1, 1].
    """
    n, channels, height, width = images.shape

    def uniform(low: float, high: float) -> Tensor:
        return torch.rand(n, 1, 1, 1, generator=rng) * (high - low) + low

    taps = torch.tensor([1.0, 4.0, 6.0, 4.0, 1.0]) / 16
    kernel = torch.outer(taps, taps).expand(channels, 1, 5, 5)
    padded = functional.pad(images, (2, 2, 2, 2), mode="replicate")
    blurred = functional.conv2d(padded, kernel, groups=channels)
    images = torch.lerp(images, blurred, uniform(-0.4, 1.0))
    square = torch.where(uniform(0, 1) < 0.5, 1, 2)
    rows, columns = torch.arange(height).view(1, 1, -1, 1), torch.arange(width).view(1, 1, 1, -1)
    images = images + uniform(-0.05, 0.05) * (1 - 2 * ((rows // square + columns // square) % 2))
    blotches = torch.randn((n, 1, 6, 6), generator=rng)
    blotches = functional.interpolate(blotches, (height, width), mode="bilinear", align_corners=True)
    images = images + uniform(0, 0.06) * blotches
    grey = images.mean(dim=1, keepdim=True)
    images = torch.lerp(grey, images, uniform(0.88, 1.12))
    images = (images * uniform(0.92, 1.08) + uniform(-0.08, 0.08)).clamp(-1, 1)
    return (images + uniform(0, 0.04) * torch.randn(images.shape, generator=rng)).clamp(-1, 1)


def loss_function(outputs: tuple[Tensor, Tensor, Tensor], shape: Tensor, hue: Tensor, scores: Tensor) -> Tensor:
    """Cross-entropy of the shape, plus squared errors of the point on the colour circle and of x, y and size.

    Args:
        outputs: As `SceneReader.outputs` gives them.
        shape: (n,), true index.
        hue: (n,), true hue in turns.
        scores: (n, 3), true x, y and size as standard scores.

    Returns:
        Their sum, meaned over the batch.
    """
    logits, point, read = outputs
    angle = 2 * math.pi * hue
    circle = torch.stack([angle.cos(), angle.sin()], dim=1)
    squared = (point - circle).square().sum(dim=1) + (read - scores).square().sum(dim=1)
    return functional.cross_entropy(logits, shape) + squared.mean()


def learning_rate(step: int, steps: int) -> float:
    """Linear warm-up, then a cosine to zero."""
    done = (step + 0.5) / steps
    return PEAK_LEARNING_RATE * min(done / WARM_UP, 0.5 + 0.5 * math.cos(math.pi * done))


def build(scenes: Scenes, settings: Settings, start: Path | None = None) -> SceneReader:
    """A reader to train: with fresh weights, scaled to the factors of the training images; or the one in a folder."""
    if start is not None:
        return load_scene_reader(start).requires_grad_(True).to(memory_format=torch.channels_last)
    factors = scenes.factors[: len(scenes.factors) - settings.held_out]
    torch.manual_seed(settings.seed)
    reader = SceneReader(
        dict(zip(FACTORS[1:], factors.mean(dim=0)[1:].tolist(), strict=True)),
        dict(zip(FACTORS, factors.std(dim=0, correction=0).tolist(), strict=True)),
    )
    return reader.to(memory_format=torch.channels_last)


def train(scenes: Scenes, settings: Settings, checkpoint: Path, start: Path | None = None) -> tuple[SceneReader, float]:
    """Train, from the checkpoint if there is one.

    Args:
        scenes: The data set.
        settings: What to do.
        checkpoint: File to go on from and to write after every epoch.
        start: Folder of a reader whose weights training starts from.

    Returns:
        The trained reader, and the seconds of training in all.

    Raises:
        UserError: If the checkpoint is of other settings.
    """
    reader = build(scenes, settings, start)
    optimiser = torch.optim.AdamW(reader.parameters(), weight_decay=WEIGHT_DECAY, betas=(0.9, 0.99))
    first_epoch, seconds = 0, 0.0
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True)
        if state["settings"] != asdict(settings):
            raise UserError(
                f"{checkpoint} is of a run with other settings: {state['settings']}, now {asdict(settings)}. "
                "Delete it or give another --checkpoint."
            )
        reader.load_state_dict(state["reader"])
        optimiser.load_state_dict(state["optimiser"])
        first_epoch, seconds = state["epoch"], state["seconds"]
    count = len(scenes.shape) - settings.held_out
    per_epoch = count // settings.batch
    means = torch.tensor([reader.means[name] for name in FACTORS[1:]])
    deviations = torch.tensor([reader.deviations[name] for name in FACTORS[1:]])
    targets = scenes.factors.float()
    bar = tqdm(total=settings.epochs * per_epoch, initial=first_epoch * per_epoch, unit="step", desc="Training reader")
    reader.train()
    for epoch in range(first_epoch, settings.epochs):
        begin = time.monotonic()
        # One source for an epoch: a resumed run sees the order and the degradations of an unbroken one.
        rng = torch.Generator().manual_seed(settings.seed * 100_003 + epoch)
        order = torch.randperm(count, generator=rng)
        for number in range(per_epoch):
            index = order[number * settings.batch : (number + 1) * settings.batch]
            for group in optimiser.param_groups:
                group["lr"] = learning_rate(epoch * per_epoch + number, settings.epochs * per_epoch)
            scores = (targets[index, 1:] - means) / deviations
            outputs = reader.outputs(as_judged(degrade(scenes.batch(index), rng)))
            loss = loss_function(outputs, scenes.shape[index], targets[index, 0], scores)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            bar.update()
        bar.set_postfix(loss=f"{loss.item():.4f}")
        seconds += time.monotonic() - begin
        state = {"settings": asdict(settings), "epoch": epoch + 1, "seconds": seconds}
        checkpoint.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(checkpoint) as partial:
            torch.save({**state, "reader": reader.state_dict(), "optimiser": optimiser.state_dict()}, partial)
    bar.close()
    return reader.eval(), seconds


def score(reader: SceneReader, scenes: Scenes, index: Tensor, *, degraded: bool) -> dict[str, Any]:
    """How well the reader reads images whose factors are known.

    Args:
        reader: The reader.
        scenes: The data set.
        index: The images to read.
        degraded: Whether to give them a GAN's faults first.

    Returns:
        ``shape_accuracy``; for each factor ``r2`` and ``rmse`` (in its unit).
    """
    images = scenes.batch(index)
    if degraded:
        images = degrade(images, torch.Generator().manual_seed(0))
    reading = reader.read(as_judged(images))
    figures: dict[str, Any] = {"images": len(index), "r2": {}, "rmse": {}}
    figures["shape_accuracy"] = (reading[:, len(FACTORS) :].argmax(dim=1) == scenes.shape[index]).double().mean().item()
    for column, name in enumerate(FACTORS):
        truth = scenes.factors[index, column]
        squared = (reading[:, column].double() - truth).square().mean()
        figures["r2"][name] = (1 - squared / truth.var(correction=0)).item()
        figures["rmse"][name] = squared.sqrt().item()
    return figures


def score_both(reader: SceneReader, scenes: Scenes, held_out: int) -> dict[str, dict[str, Any]]:
    """Score on the last images, as they are and degraded."""
    last = torch.arange(len(scenes.shape) - held_out, len(scenes.shape))
    return {name: score(reader, scenes, last, degraded=name == "degraded") for name in ("clean", "degraded")}


def good_enough(clean: dict[str, Any]) -> bool:
    """Whether the figures on clean images are what a reader must reach."""
    return min(clean["r2"].values()) >= TARGET_R2 and clean["shape_accuracy"] >= TARGET_ACCURACY


def describe(figures: dict[str, dict[str, Any]]) -> str:
    """The held-out figures as a Markdown table, a row a condition."""
    lines = ["| held-out images | shape accuracy | " + " | ".join(f"R² {name}" for name in FACTORS) + " |"]
    lines.append("|---" * (len(FACTORS) + 2) + "|")
    for name, row in figures.items():
        values = " | ".join(f"{row['r2'][factor]:.4f}" for factor in FACTORS)
        lines.append(f"| {name} | {row['shape_accuracy']:.4f} | {values} |")
    errors = ", ".join(f"{name} {figures['clean']['rmse'][name]:.4f}" for name in FACTORS)
    return "\n".join([*lines, "", f"Root-mean-square error on clean renders, in the factors' units: {errors}."])


CARD = """# Scene reader

Reads shape, hue, x, y and size from a 64 x 64 image of a scene of one object, as `scripts/render_scenes.py` renders
them. It judges the built-in generator's samples and what directions do to them; it is of no use on other pictures.

- Data: `clevr-simple` at 64 x 64 (reduced to {settings.pixels} pixels and brought back), {count} images, SHA-256
  `{settings.data}`; the last {settings.held_out} held out.
- Network: {parameters} parameters, float32, six convolutions and two linear layers, SiLU, batch normalisation.
- Training: `python scripts/train_reader.py --epochs {settings.epochs} --batch {settings.batch} --seed {settings.seed}`;
  AdamW, {steps} steps, {seconds:.0f} s of wall time on {threads} CPU thread(s), PyTorch {torch}.
- Training images were given a GAN's small faults (blur, ringing, faint checkerboards, blotches, noise, drifts of
  saturation, contrast and brightness), which leave every factor as it is. The row "degraded" is read under the same
  faults.
- Weights: SHA-256 `{digest}`.

{table}
"""


def export(
    reader: SceneReader, scenes: Scenes, settings: Settings, figures: dict[str, Any], seconds: float, out: Path
) -> None:
    """Write weights, configuration and card.

    Args:
        reader: The trained reader.
        scenes: Its data.
        settings: How it was trained.
        figures: As `score` gives them, for ``clean`` and ``degraded``.
        seconds: Training time.
        out: Folder of the three files.
    """
    out.mkdir(parents=True, exist_ok=True)
    weights = save({name: tensor.contiguous() for name, tensor in reader.state_dict().items()})
    config = {
        "format_version": 1,
        "sha256": hashlib.sha256(weights).hexdigest(),
        "channels": reader.channels,
        "hidden": reader.hidden,
        "means": reader.means,
        "deviations": reader.deviations,
        "training": asdict(settings),
        "held_out": figures,
    }
    card = CARD.format(
        settings=settings,
        count=len(scenes.shape),
        parameters=sum(parameter.numel() for parameter in reader.parameters()),
        steps=settings.epochs * ((len(scenes.shape) - settings.held_out) // settings.batch),
        seconds=seconds,
        threads=torch.get_num_threads(),
        torch=torch.__version__,
        digest=config["sha256"],
        table=describe(figures),
    )
    write_bytes(out / scene_reader.WEIGHTS, weights)
    write_text(out / scene_reader.CONFIG, json.dumps(config, indent=2, sort_keys=True) + "\n")
    write_text(out / "card.md", card)


def parse_arguments(argv: list[str] | None = None) -> argparse.Namespace:
    """Read and check the command line."""
    parser = argparse.ArgumentParser(
        description="Train the scene reader on rendered scenes (CPU, minutes). Run it again to resume."
    )
    parser.add_argument(
        "--data", type=Path, default=Path("data/clevr-simple-64"), help="folder of the renders (default: %(default)s)"
    )
    parser.add_argument(
        "--out", type=Path, default=scene_reader.READER_FOLDER, help="folder to write to (default: the package's)"
    )
    parser.add_argument(
        "--checkpoint",
        type=Path,
        default=Path("outputs/reader/checkpoint.pt"),
        help="file to resume from (default: %(default)s)",
    )
    parser.add_argument("--epochs", type=int, default=24, help="passes over the images, 1-1000 (default: %(default)s)")
    parser.add_argument("--batch", type=int, default=64, help="images a step, 2-4096 (default: %(default)s)")
    parser.add_argument("--held-out", type=int, default=1000, help="last images kept back (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="seed of everything random, 0-10^6 (default: %(default)s)")
    parser.add_argument(
        "--pixels", type=int, choices=(8, 16, 32, 64), default=64, help="reduce images to so many (default: 64)"
    )
    parser.add_argument("--start", type=Path, help="folder of a reader to start from (default: fresh weights)")
    parser.add_argument("--check", action="store_true", help="train nothing; print the figures of the reader in --out")
    arguments = parser.parse_args(argv)
    limits = {"epochs": (1, 1000), "batch": (2, 4096), "held_out": (2, 10**6), "seed": (0, 10**6)}
    for name, (low, high) in limits.items():
        value = getattr(arguments, name)
        if not low <= value <= high:
            parser.error(f"--{name.replace('_', '-')} must be from {low} to {high}, got {value}.")
    return arguments


def main(argv: list[str] | None = None) -> int:
    """Train, score and export; 130 after Ctrl-C, 2 after bad input, 1 when the reader is not good enough."""
    arguments = parse_arguments(argv)
    try:
        scenes = load_scenes(arguments.data, arguments.pixels)
        start = arguments.start and hashlib.sha256((arguments.start / scene_reader.WEIGHTS).read_bytes())
        settings = Settings(
            scenes.digest, arguments.epochs, arguments.batch, arguments.held_out, arguments.seed, arguments.pixels,
            start.hexdigest() if start else "",
        )  # fmt: skip
        count = len(scenes.shape)
        if arguments.check:
            figures = score_both(load_scene_reader(arguments.out), scenes, min(settings.held_out, count))
            print(describe(figures))
            return 0 if good_enough(figures["clean"]) else 1
        if count < settings.held_out + settings.batch:
            raise UserError(
                f"{arguments.data} has {count} images; --held-out {settings.held_out} and one --batch of "
                f"{settings.batch} need {settings.held_out + settings.batch}. Render more or lower one of the two."
            )
        reader, seconds = train(scenes, settings, arguments.checkpoint, arguments.start)
    except KeyboardInterrupt:
        print("\nStopped; the same command goes on from the last whole epoch.", file=sys.stderr)
        return 130
    except (OSError, UserError) as error:
        print(f"Error: {error}", file=sys.stderr)
        return 2
    figures = score_both(reader, scenes, settings.held_out)
    print(describe(figures))
    # Of reduced images some factors may be lost: the figures say which.
    if arguments.pixels == SceneReader.resolution and not good_enough(figures["clean"]):
        print(
            f"Error: a reader needs R² {TARGET_R2} for each factor and shape accuracy {TARGET_ACCURACY} on held-out "
            f"renders; nothing was written to {arguments.out}. Train longer or on more images.",
            file=sys.stderr,
        )
        return 1
    export(reader, scenes, settings, figures, seconds, arguments.out)
    print(f"{arguments.out}: trained in {seconds:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
