"""Measure the trained generator's statistics, write the packaged files, and print what it reaches.

Comes after ``scripts/train_builtin.py``. ``--check`` only prints the figures of the packaged generator, beside those of
the renders where they are given.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from dataclasses import asdict
from pathlib import Path

import torch
from pytorch_pretrained_biggan import BigGAN
from scene_quality import SceneQuality, Texture, measure_quality, measure_texture
from tqdm import tqdm
from train_builtin import Settings, run_in

from directions.atomic import write_text
from directions.errors import UserError
from directions.evaluation.scene_reader import SHAPES, load_scene_reader
from directions.gan.config import TrainConfig
from directions.gan.data.scenes import SceneImages
from directions.gan.export import finished_copy, measure_statistics, write_generator
from directions.gan.networks import build_generator
from directions.gan.sheets import sample_sheet
from directions.gan.starting import starting_state
from directions.generators.registry import BUILTIN, load_generator
from directions.generators.weights import WEIGHTS

TARGET_SHAPE, TARGET_SPREAD = 0.95, 0.85

CARD = """# The built-in generator

A class-conditional BigGAN-deep (`pytorch_pretrained_biggan.BigGAN` with the configuration in `config.json`): 64 × 64
pixels, |z| = {dim_z}, classes {classes}. {parameters:.2f} M parameters.

- **Data**: {count} renders of one object on a ground plane, made by `scripts/render_scenes.py` (`make scenes`);
  SHA-256 of factors and pixels `{data}`.
- **Training**: hinge loss, projection discriminator, spectral norm in both networks, average of the weights;
  {hours:.2f} hours on {cores} CPU cores, beside other work.
{stages}
- **Statistics**: `python scripts/export_builtin.py`, {samples} images for each of 51 truncations.
- **Weights**: SHA-256 `{digest}`, {size:.2f} MB.

z is drawn as BigGAN-deep draws it: a normal distribution cut off at ±2, times the truncation.

## What it reaches

Printed by `python scripts/export_builtin.py --check`, {checked} samples at truncation 1:

{table}

Grid is structure that stays at the same pixels in every image, roughness the grain of flat regions, both in grey levels
of 255.
"""


def parse_arguments(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    runs = [Path("outputs", name) for name in ("builtin", "builtin-fine", "builtin-colour")]
    parser.add_argument("--runs", type=Path, nargs="+", default=runs, help="training runs, the last is exported")
    parser.add_argument("--data", type=Path, default=Path("data/clevr-simple-64"), help="scene folder")
    parser.add_argument("--out", type=Path, default=BUILTIN, help="folder to write")
    parser.add_argument("--samples", type=int, default=512, help="images a truncation, a multiple of 128")
    parser.add_argument("--check", action="store_true", help="only print the figures of --out")
    return parser.parse_args(argv)


def reached(quality: SceneQuality) -> bool:
    """Whether the samples are as good as the generator must be."""
    return quality.shape_as_asked >= TARGET_SHAPE and min(quality.spread.values()) >= TARGET_SPREAD


def table_of(quality: SceneQuality, renders: Texture | None) -> str:
    """Lay the figures out in Markdown, those of the renders beside them where they are known."""
    rows = [("", "samples", "wanted", "renders"), ("---",) * 4]
    rows.append(("shape as asked", f"{quality.shape_as_asked:.3f}", f"≥ {TARGET_SHAPE}", ""))
    for name, value in quality.spread.items():
        rows.append((f"spread of {name} over that of the renders", f"{value:.3f}", f"≥ {TARGET_SPREAD}", ""))
    for name in ("grid", "roughness"):
        beside = f"{getattr(renders, name):.2f}" if renders else ""
        rows.append((f"{name}, grey levels", f"{getattr(quality.texture, name):.2f}", "", beside))
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def texture_of(data: SceneImages, images: int = 3000) -> Texture:
    """Texture of the first renders."""
    return measure_texture(data.batch(torch.arange(min(images, len(data))))[0])


def export(arguments: argparse.Namespace) -> str:
    """Write weights, configuration and card; return the table of figures."""
    data = SceneImages(arguments.data)
    started = [starting_state(str(run_in(run))) for run in arguments.runs]
    configs = [config for config, _ in started]
    last = started[-1][1]
    trained = build_generator({"channel_width": configs[-1].channel_width})
    trained.load_state_dict(last["networks"]["average"])
    model: BigGAN = finished_copy(trained)
    measuring = measure_statistics(model, samples=arguments.samples)
    for _ in tqdm(measuring, total=model.config.n_stats, desc="Statistics", unit="row"):
        pass
    arguments.out.mkdir(parents=True, exist_ok=True)
    digest = write_generator(model, arguments.out, SHAPES)
    quality = measure_quality(load_generator(str(arguments.out)), load_scene_reader())
    table = table_of(quality, texture_of(data))
    lines = [line for run in arguments.runs for line in (run_in(run) / "stats.jsonl").read_text().splitlines()]
    seconds = sum(json.loads(line)["seconds"] for line in lines)
    card = CARD.format(
        dim_z=model.config.z_dim,
        classes=", ".join(SHAPES),
        parameters=sum(parameter.numel() for parameter in model.parameters()) / 1e6,
        count=len(data),
        data=data.digest,
        stages="\n".join(map(stage, arguments.runs, [None, *arguments.runs], configs)),
        cores=os.cpu_count(),
        hours=seconds / 3600,
        samples=arguments.samples,
        digest=digest,
        size=(arguments.out / WEIGHTS).stat().st_size / 1e6,
        checked=quality.samples,
        table=table,
    )
    write_text(arguments.out / "card.md", card)
    return table


def spelled(config: TrainConfig) -> str:
    """Spell a recorded configuration as the options of ``train_builtin.py`` that differ from the defaults."""
    batch = config.batch_size[0]
    used = Settings(
        steps=round(1000 * config.kimg / batch),
        batch_size=batch,
        channel_width=config.channel_width,
        discriminator_width=config.discriminator_width,
        generator_rate=config.learning_rate,
        discriminator_rate=config.discriminator_rate,
        decay_from=config.decay_from,
        ema=round(0.5 ** (batch / (1000 * config.ema_kimg)), 6),
        texture=config.texture,
        colour=config.colour,
        bfloat16=config.bfloat16,
        seed=config.seed,
    )
    changed = {name: value for name, value in asdict(used).items() if value != getattr(Settings(), name)}
    return " ".join(f"--{name.replace('_', '-')} {value}" for name, value in changed.items())


def stage(run: Path, before: Path | None, config: TrainConfig) -> str:
    """One stage of training as a line of the card."""
    start = f"--start {before} " if before else ""
    command = f"python scripts/train_builtin.py --out {run} {start}{spelled(config)}".strip()
    return f"  - `{command}`: {config.images // config.batch_size[0]} steps of batch {config.batch_size[0]}"


def main(argv: list[str] | None = None) -> int:
    """Export or check; 1 if a target is missed, 2 after bad input."""
    arguments = parse_arguments(argv)
    try:
        if arguments.check:
            renders = texture_of(SceneImages(arguments.data)) if arguments.data.is_dir() else None
            quality = measure_quality(load_generator(str(arguments.out)), load_scene_reader())
            print(table_of(quality, renders))
            return 0 if reached(quality) else 1
        print(export(arguments))
        generator = load_generator(str(arguments.out))
        z = generator.sample_z(10, seed=0)
        images = torch.cat([generator(z, shape) for shape in SHAPES])
        sample_sheet(images, columns=10).save(arguments.out / "samples.png")
    except (UserError, OSError) as error:
        print(f"Error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
