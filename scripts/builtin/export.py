"""Measure a trained generator's statistics, write the packaged files, and print what it reaches.

Comes after ``train.py``: ``export.py scenes`` and ``export.py letters`` write weights.safetensors, config.json, card.md
and samples.png into ``directions/generators/``. ``figures.py`` prints the figures again.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import jinja2
import torch
from figures import figures_of, table_of
from images import Images
from networks import (
    measure_statistics,
    scale_latents,
    settle_spectral_norm,
    write_generator,
)
from pytorch_pretrained_biggan import BigGAN
from tqdm import tqdm
from train import Settings, generator_for

from directions.files import write_text
from directions.gan.recording import sample_sheet
from directions.generators.registry import load_generator
from directions.generators.weights import WEIGHTS
from directions.run import RunFolder

PACKAGED = Path(__file__).parents[2] / "directions" / "generators"
LATER_STAGES = ("-pairs", "-clean", "-wide", "-wide-2", "-last")
KINDS = {
    "scenes": ("builtin", "data/clevr-simple-64", ["builtin", "builtin-fine", "builtin-colour"]),
    "letters": ("letters", "data/letters-64", [f"letters{end}" for end in ("", *LATER_STAGES)]),
}


def finished(run: Path, data: Images, settings: dict[str, Any], scale: float) -> BigGAN:
    """The averaged generator of a run, which takes ``scale`` times z; statistics are still to be measured."""
    model = generator_for(data, settings["dim_z"], settings["channel_width"])
    model.load_state_dict(torch.load(run / "checkpoint.pt", weights_only=True)["networks"]["average"])
    settle_spectral_norm(model)
    scale_latents(model, scale)
    return model


def read_settings(run: Path) -> dict[str, Any]:
    """What a run records; options that are newer than it have their defaults."""
    return asdict(Settings()) | json.loads((run / "settings.json").read_text())


def stage(run: Path, steps: int, folder: str) -> str:
    """One stage of training as a line of the card: its command with the options that differ from the defaults."""
    settings = read_settings(run)
    words = [] if folder == KINDS["scenes"][1] else ["--data", folder]
    words += ["--out", f"outputs/{run.name}"]
    words += ["--start", *(f"outputs/{start}" for start in settings["start"])] if settings["start"] else []
    for name, default in asdict(Settings()).items():
        value, option = settings[name], name.replace("_", "-")
        if value != default:
            flag = f"--no-{option}" if value is False else f"--{option}"
            words += [flag] if isinstance(value, bool) else [flag, str(value)]
    words += ["--until", str(steps)] if steps < settings["steps"] else []
    batch = f"{settings['batch_size']}" + (f" × {settings['together']}" if settings["together"] > 1 else "")
    return f"`python scripts/builtin/train.py {' '.join(words)}`: {steps} steps of batch {batch}"


def export(kind: str, runs: list[Path], folder: Path, out: Path, samples: int, scale: float | None = None) -> str:
    """Write weights, configuration, samples and card; return the table of figures."""
    data, settings = Images(folder), read_settings(runs[-1])
    model = finished(runs[-1], data, settings, scale or settings["scale"])
    for _ in tqdm(measure_statistics(model, samples=samples), total=51, desc="Statistics", unit="row", disable=None):
        pass
    out.mkdir(parents=True, exist_ok=True)
    digest = write_generator(model, out, data.class_names)
    generator = load_generator(str(out))
    with torch.no_grad():
        sheet = torch.cat([generator(generator.sample_z(10, seed=0), name) for name in data.class_names])
    sample_sheet(sheet, columns=10).quantize(64).save(out / "samples.png", optimize=True)
    steps = [RunFolder(run).read_stats() for run in runs]
    table = table_of(figures_of(generator, data))
    template = jinja2.Template((Path(__file__).parent / "card.md.j2").read_text(), trim_blocks=True)
    card = template.render(
        kind=kind,
        name=out.name,
        data=data,
        config=model.config,
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        dataset=json.loads((folder / "dataset.json").read_text()),
        settings=settings,
        scale=scale,
        seconds=sum(line["seconds"] for lines in steps for line in lines),
        cores=os.cpu_count(),
        stages=[stage(run, len(lines), KINDS[kind][1]) for run, lines in zip(runs, steps, strict=True)],
        samples=samples,
        digest=digest,
        bytes=(out / WEIGHTS).stat().st_size,
        table=table,
    )
    write_text(out / "card.md", card + "\n")
    return table


def main(argv: list[str] | None = None) -> int:
    """Export."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=KINDS, help="what was trained on")
    parser.add_argument("--runs", type=Path, nargs="+", help="training runs, the last is exported")
    parser.add_argument("--data", type=Path, help="the renders")
    parser.add_argument("--out", type=Path, help="folder to write (the package's)")
    parser.add_argument("--samples", type=int, default=512, help="images a truncation, a multiple of 128")
    parser.add_argument("--scale", type=float, help="factor of z in the packaged weights (that of the last run)")
    arguments = parser.parse_args(argv)
    name, folder, runs = KINDS[arguments.kind]
    chosen = arguments.runs or [Path("outputs", run) for run in runs]
    out = arguments.out or PACKAGED / name
    print(export(arguments.kind, chosen, arguments.data or Path(folder), out, arguments.samples, arguments.scale))
    return 0


if __name__ == "__main__":
    sys.exit(main())
