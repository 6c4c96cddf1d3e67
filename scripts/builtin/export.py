"""Measure a trained generator's statistics, write the packaged files, and print what it reaches.

Comes after ``train.py``: ``export.py scenes`` and ``export.py letters`` write weights.safetensors, config.json, card.md
and samples.png into ``directions/generators/``. ``figures.py`` prints the figures again.
"""

from __future__ import annotations

import argparse
import json
import os
import string
import sys
from dataclasses import asdict
from pathlib import Path

import torch
from figures import figures_of, table_of
from images import Images
from networks import build_generator, measure_statistics, settle_spectral_norm, tie_colours, write_generator
from pytorch_pretrained_biggan import BigGAN
from tqdm import tqdm
from train import Settings, generator_config, sample_sheet

from directions.files import write_text
from directions.generators.registry import load_generator
from directions.generators.weights import WEIGHTS

PACKAGED = Path(__file__).parents[2] / "directions" / "generators"
KINDS = {
    "scenes": ("builtin", "data/clevr-simple-64", ["builtin", "builtin-fine", "builtin-colour"]),
    "letters": ("letters", "data/letters-64", ["letters", "letters-pairs", "letters-clean"]),
}
TRAINING = {
    "scenes": "",
    "letters": """ In the second and third stage the
  discriminator sees two letters of one face at a time, so that one z is one typeface; and the judge's six factors are
  matched to the data's, letter by letter and in their difference between two letters (`--factors`, Wasserstein
  distance): the spreads and correlations below were asked for, and did not come by themselves. The weights are a
  blend of those of the last two stages (`--blend`): the second has the cleaner shapes, the third the wider range.""",
}
DATA = {
    "scenes": "renders of one object on a ground plane, made by `scripts/render_scenes.py` (`make scenes`)",
    "letters": (
        "letters of {faces} typefaces, made by `scripts/render_letters.py` (`make letters`) from the open fonts of "
        "Debian's `texlive-fonts-extra`: grey, cap height 0.60 and baseline 0.70 of the side, each letter centred"
    ),
}

CARD = string.Template("""# The generator of $kind

A class-conditional BigGAN-deep (`pytorch_pretrained_biggan.BigGAN` with the configuration in `config.json`):
$side × $side pixels, |z| = $dim_z, classes $classes. $parameters M parameters.

- **Data**: $count $data; SHA-256 of table and pixels `$digest`.
- **Training**: hinge loss, projection discriminator, spectral norm in both networks, average of the weights;
  $hours hours on $cores CPU cores, beside other work.$training
$stages
- **Statistics**: `python scripts/builtin/export.py $kind$blend --samples $samples`: that many images for each of 51
  truncations.
- **Weights**: SHA-256 `$weights`, $size MB.
$licences
z is drawn as BigGAN-deep draws it: a normal distribution cut off at ±2, times the truncation.

## What it reaches

Printed by `python scripts/builtin/figures.py $name`, at truncation 1:

$table
""")


def finished(runs: list[Path], data: Images, blend: float) -> BigGAN:
    """The averaged generator of the last run, its spectral norms settled; statistics are still to be measured.

    Args:
        runs: In the order of training.
        data: What they were trained on.
        blend: How much of the last run's weights to take; the rest is of the run before it.
    """
    states = [torch.load(run / "checkpoint.pt", weights_only=True)["networks"]["average"] for run in runs[-2:]]
    if blend < 1:
        states[-1] = {name: torch.lerp(states[0][name], tensor, blend) for name, tensor in states[-1].items()}
    settings = json.loads((runs[-1] / "settings.json").read_text())
    model = build_generator(generator_config(data, settings["dim_z"], settings["channel_width"]))
    model.load_state_dict(states[-1])
    if data.channels == 1:
        tie_colours(model)
    settle_spectral_norm(model)
    return model


def stage(run: Path, folder: Path) -> str:
    """One stage of training as a line of the card: its command with the options that differ from the defaults."""
    settings = json.loads((run / "settings.json").read_text())
    words = [] if folder == Path(KINDS["scenes"][1]) else ["--data", str(folder)]
    words += ["--out", f"outputs/{run.name}"]
    words += ["--start", f"outputs/{settings['start']}"] if settings["start"] else []
    for name, default in asdict(Settings()).items():
        value, option = settings.get(name, default), "--" + name.replace("_", "-")
        if value != default:
            words += [option.replace("--", "--no-")] if value is False else [option, str(value)]
    steps, batch = len((run / "stats.jsonl").read_text().splitlines()), settings["batch_size"]
    if steps < settings["steps"]:
        words += ["--until", str(steps)]
    together = settings.get("together", 1)
    images = f"{batch} × {together}" if together > 1 else str(batch)
    return f"  - `python scripts/builtin/train.py {' '.join(words)}`: {steps} steps of batch {images}"


def export(kind: str, runs: list[Path], folder: Path, out: Path, samples: int, blend: float = 1.0) -> str:
    """Write weights, configuration, samples and card; return the table of figures."""
    data = Images(folder)
    model = finished(runs, data, blend)
    for _ in tqdm(measure_statistics(model, samples=samples), total=51, desc="Statistics", unit="row", disable=None):
        pass
    out.mkdir(parents=True, exist_ok=True)
    digest = write_generator(model, out, data.class_names)
    generator = load_generator(str(out))
    z = generator.sample_z(10, seed=0)
    with torch.no_grad():
        sheet = torch.cat([generator(z, name) for name in data.class_names])
    sample_sheet(sheet, 10).quantize(64).save(out / "samples.png", optimize=True)
    table = table_of(figures_of(generator, data))
    dataset = json.loads((folder / "dataset.json").read_text())
    lines = [line for run in runs for line in (run / "stats.jsonl").read_text().splitlines()]
    seconds = sum(json.loads(line)["seconds"] for line in lines)
    licences = ""
    if kind == "letters":
        named = sorted(dataset["licences"].items(), key=lambda item: -item[1])
        counted = "; ".join(f"{name} ({count})" for name, count in named)
        licences = f"- **Licences of the fonts**, as they or their packages name them (files): {counted}.\n"
    card = CARD.substitute(
        kind=kind,
        name=out.name,
        side=data.images.shape[1],
        dim_z=model.config.z_dim,
        classes=", ".join(data.class_names) if len(data.class_names) < 10 else "A–Z",
        parameters=f"{sum(parameter.numel() for parameter in model.parameters()) / 1e6:.2f}",
        count=f"{len(data):,}",
        data=DATA[kind].format(**dataset),
        digest=data.digest,
        training=TRAINING[kind],
        stages="\n".join(stage(run, Path(KINDS[kind][1])) for run in runs),
        blend=f" --blend {blend:g}" if blend < 1 else "",
        cores=os.cpu_count(),
        hours=f"{seconds / 3600:.2f}",
        samples=samples,
        weights=digest,
        size=f"{(out / WEIGHTS).stat().st_size / 1e6:.2f}",
        licences=licences,
        table=table,
    )
    write_text(out / "card.md", card)
    return table


def main(argv: list[str] | None = None) -> int:
    """Export."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=KINDS, help="what was trained on")
    parser.add_argument("--runs", type=Path, nargs="+", help="training runs, the last is exported")
    parser.add_argument("--data", type=Path, help="the renders")
    parser.add_argument("--out", type=Path, help="folder to write (the package's)")
    parser.add_argument("--blend", type=float, default=1.0, help="weights of the last run, the rest of the one before")
    parser.add_argument("--samples", type=int, default=512, help="images a truncation, a multiple of 128")
    arguments = parser.parse_args(argv)
    name, folder, runs = KINDS[arguments.kind]
    out = arguments.out or PACKAGED / name
    chosen = arguments.runs or [Path("outputs", run) for run in runs]
    print(export(arguments.kind, chosen, arguments.data or Path(folder), out, arguments.samples, arguments.blend))
    return 0


if __name__ == "__main__":
    sys.exit(main())
