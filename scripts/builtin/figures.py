"""Measure what a packaged generator reaches: scenes by the scene reader, letters by closed formulas and a classifier.

``python scripts/builtin/figures.py letters`` prints the table of the card; ``--judge`` instead writes the means and
deviations that the package's judge of letters needs, and holds its readings of the renders against the fonts' tables.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from images import LETTERS, SHAPES, Images
from scipy.stats import spearmanr
from torch import Tensor, nn
from torch.nn import functional as F

from directions.evaluation.letter_factors import (
    LETTER_FACTORS,
    SEEN_IN,
    LetterJudge,
    letter_factors,
    load_letter_judge,
    seen_in,
)
from directions.evaluation.letter_factors import TABLE as JUDGE_TABLE
from directions.evaluation.scene_reader import FACTORS
from directions.generators.base import Generator
from directions.generators.registry import load_generator
from directions.sampling import derived_rng

GRID_PERIOD = 8
ITALIC_NAMES = ("ital", "obli", "slant", "drmsl", "drmit", "_mo.", "_mbo", "_rbo")
TIMES = 300  # latents that letters are measured at, each in all 26


class Figure(NamedTuple):
    """One line of a table: a value that is to reach ``wanted``, or only stands beside that of the data."""

    name: str
    value: float
    wanted: float | None = None
    data: float | None = None


def table_of(figures: list[Figure]) -> str:
    """Lay figures out in Markdown."""
    lines = ["|  | samples | wanted | data |", "| --- | --- | --- | --- |"]
    for name, value, wanted, data in figures:
        asked, real = ("" if wanted is None else f"≥ {wanted:g}"), ("" if data is None else f"{data:.3f}")
        lines.append(f"| {name} | {value:.3f} | {asked} | {real} |")
    return "\n".join(lines)


def figures_of(generator: Generator, data: Images | None) -> list[Figure]:
    """Measure a packaged generator; ``data`` is what it was trained on, where it is there."""
    return scene_figures(generator, data) if generator.class_names == SHAPES else letter_figures(generator, data)


def made(generator: Generator, y: Tensor) -> Tensor:
    """Make an image of each class of ``y``; for as many classes the z are the same."""
    z = generator.sample_z_from(len(y), derived_rng(0, 0, "quality"), 1.0)
    return torch.cat([generator(*part) for part in zip(z.split(250), y.split(250), strict=True)])


@torch.no_grad()
def scene_figures(generator: Generator, data: Images | None, samples: int = 3000) -> list[Figure]:
    """Shape as asked, spread of the factors, and traces of a grid."""
    from directions.evaluation.scene_reader import load_scene_reader

    y, judge = torch.arange(samples) % len(SHAPES), load_scene_reader()
    images = made(generator, y)
    read = judge.read(images, y)
    figures = [Figure("shape as asked", float((read[:, len(FACTORS) :].argmax(dim=1) == y).float().mean()), 0.95)]
    for index, name in enumerate(FACTORS):
        spread = float(read[:, index].std()) / judge.spread[name] ** 0.5
        figures.append(Figure(f"spread of {name} over that of the renders", spread, 0.85))
    renders = texture(data.batch(torch.arange(min(3000, len(data))))[0]) if data else (None, None)
    names = "grid, grey levels", "roughness, grey levels"
    return figures + [Figure(n, v, data=d) for n, v, d in zip(names, texture(images), renders, strict=True)]


def texture(images: Tensor) -> tuple[float, float]:
    """Structure that stays at the same pixels of (n, channels, h, w) images, and the grain of flat regions.

    Both are what is left of images when their mean over 3 by 3 pixels is taken away, in grey levels of 255: the root
    mean square, over the places in a grid of period 8, of the mean there; and the median of its absolute value.
    """
    grey = ((images + 1) * 127.5).round().clamp(0, 255).mean(dim=1)
    residual = grey - F.avg_pool2d(F.pad(grey[:, None], (1, 1, 1, 1), mode="replicate"), 3, stride=1)[:, 0]
    # The outermost cells are left out, since objects and vignettes end there.
    cells = residual.mean(dim=0)[GRID_PERIOD:-GRID_PERIOD, GRID_PERIOD:-GRID_PERIOD]
    cells = cells.unflatten(0, (-1, GRID_PERIOD)).unflatten(2, (-1, GRID_PERIOD)).median(dim=2).values.median(0).values
    return float(cells.square().mean().sqrt()), float(residual.abs().median())


@torch.no_grad()
def letter_figures(generator: Generator, data: Images | None) -> list[Figure]:
    """Letter as asked, spread of the factors, and whether the letters of one z are of one face."""
    if data is None:
        raise SystemExit("Error: figures of letters need the renders, to train a classifier. Run: make letters")
    with torch.enable_grad():
        classifier, accuracy = train_classifier(data)
    judge, right, values = load_letter_judge(), [], []
    for index in range(len(LETTERS)):
        y = torch.full((TIMES,), index)
        images = made(generator, y)
        right.append(float((classifier(images[:, :1]).argmax(dim=1) == y).float().mean()))
        values.append(judge.read(images, y))
    figures = [Figure("letter as asked, by a classifier", sum(right) / len(right), 0.97, accuracy)]
    figures.append(Figure(f"the letter that is read worst, {LETTERS[right.index(min(right))]}", min(right)))
    values, of_faces = torch.stack(values), whole_faces(data, judge)  # (26, z or faces, factors)
    for k, name in enumerate(LETTER_FACTORS):
        spread = values[seen_in()[:, k], :, k].var(dim=1).mean().sqrt()
        figures.append(Figure(f"spread of {name} over that of the data", float(spread), 0.85))
    pairs = torch.triu_indices(len(LETTERS), len(LETTERS), 1)
    for k, name in enumerate(LETTER_FACTORS[:2]):
        agree, theirs = (torch.corrcoef(of[:, :, k])[pairs[0], pairs[1]] for of in (values, of_faces))
        wanted = Figure(
            f"{name} of two letters of one z, mean correlation", float(agree.mean()), 0.9, float(theirs.mean())
        )
        worst = "".join(LETTERS[index] for index in pairs[:, agree.argmin()])
        figures += [wanted, Figure(f"the same, lowest pair ({worst})", float(agree.min()))]
    # What goes together in typefaces is one direction of z, however pure a basis is.
    together = [torch.corrcoef(of_each_face(of).mT) for of in (values, of_faces)]
    for i, j in torch.triu_indices(len(LETTER_FACTORS), len(LETTER_FACTORS), 1).mT.tolist():
        if abs(ours := float(together[0][i, j])) >= 0.5:
            name = f"correlation of {LETTER_FACTORS[i]} and {LETTER_FACTORS[j]} over z"
            figures.append(Figure(name, ours, data=float(together[1][i, j])))
    return figures


def of_each_face(values: Tensor) -> Tensor:
    """Mean of each factor over the letters in which it is seen: (26, faces, factors) to (faces, factors)."""
    seen = seen_in()[:, None]
    return (values * seen).sum(dim=0) / seen.sum(dim=0)


def whole_faces(data: Images, judge: LetterJudge) -> Tensor:
    """What the judge reads from the faces of the data that have all letters: (26, faces, factors)."""
    values = data.measured(judge.read)
    return torch.stack([values[(data.labels == k) & (data.count == len(LETTERS))] for k in range(len(LETTERS))])


def train_classifier(data: Images, epochs: int = 5, side: int = 32) -> tuple[nn.Module, float]:
    """Train a small network to read letters; return it and its accuracy on a tenth of the faces that it never saw."""
    torch.manual_seed(0)
    out = data.faces % 10 == 9
    factor = data.images.shape[1] // side
    images = data.measured(lambda images, y: F.avg_pool2d(images, factor))
    blocks = [nn.Conv2d(1, 16, 3, 2, 1), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 32, 3, 2, 1), nn.BatchNorm2d(32)]
    blocks += [nn.ReLU(), nn.Conv2d(32, 64, 3, 2, 1), nn.BatchNorm2d(64), nn.ReLU(), nn.Flatten(), nn.Linear(1024, 26)]
    network = nn.Sequential(*blocks)
    order = torch.where(~out)[0]
    total = epochs * (len(order) // 128)
    optimiser = torch.optim.AdamW(network.parameters(), 3e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 3e-3, total)
    for _ in range(epochs):
        for part in order[torch.randperm(len(order))].split(128)[: total // epochs]:
            # Shifts, and a little noise: what is read later is generated.
            batch = torch.roll(images[part], torch.randint(-1, 2, (2,)).tolist(), (2, 3))
            loss = F.cross_entropy(network(batch + 0.1 * torch.randn_like(batch)), data.labels[part])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
    network.eval()
    with torch.no_grad():
        accuracy = (network(images[out]).argmax(dim=1) == data.labels[out]).float().mean()
    reader = nn.Sequential(nn.AdaptiveAvgPool2d(side), network).requires_grad_(False)
    return reader, float(accuracy)


def write_judge(data: Images, folder: Path) -> str:
    """Write the table of the package's judge; return how its readings agree with the fonts' own tables."""
    values, y = data.measured(letter_factors), data.labels
    judge, seen = LetterJudge.of(values, y), seen_in()[y].numpy()
    rows = []
    for letter, means, deviations in zip(LETTERS, judge.means.tolist(), judge.deviations.tolist(), strict=True):
        of = {name: [round(m, 5), round(d, 5)] for name, m, d in zip(LETTER_FACTORS, means, deviations, strict=True)}
        seen_here = {name: pair for name, pair in of.items() if letter in SEEN_IN[name]}
        rows.append(f"  {json.dumps(letter)}: {json.dumps(seen_here)}")
    JUDGE_TABLE.write_text("{\n" + ",\n".join(rows) + "\n}\n")
    standard = judge.standard(values, y).numpy()
    with (folder / "faces.csv").open(newline="") as file:
        faces = list(csv.DictReader(file))
    face = data.faces.numpy()
    means = np.stack([standard[face == i].sum(0) / seen[face == i].sum(0).clip(1) for i in range(len(faces))])
    within = ((standard - means[face]) ** 2).mean(axis=0, where=seen)
    lines = ["share of a factor's variance that is the face's, the same in all letters:"]
    lines += [f"  {name} {1 - share:.2f}" for name, share in zip(LETTER_FACTORS, within, strict=True)]
    return "\n".join([*lines, *agreement(means, faces)])


def agreement(means: np.ndarray, faces: list[dict[str, str]]) -> list[str]:
    """Rank correlations of weight and slant with OS/2.usWeightClass and post.italicAngle."""
    classes = np.array([float(row["weight_class"]) for row in faces])
    angles = -np.array([float(row["italic_angle"]) for row in faces])
    weight, slant = means[:, 0], means[:, 1]
    families: dict[tuple[str, bool], list[int]] = {}
    for index, row in enumerate(faces):
        families.setdefault((row["package"], angles[index] != 0), []).append(index)
    graded = [members for members in families.values() if len(set(classes[members])) >= 4]
    ranks = [spearmanr(weight[members], classes[members])[0] for members in graded]
    names = [f"{row['file']} {row['style']} {row['full_name']}".lower() for row in faces]
    italic = np.array([any(word in name for word in ITALIC_NAMES) for name in names])
    told = ~((angles == 0) & italic)
    a, s = angles[told], slant[told]
    jitter = np.random.RandomState(0).rand(len(a)) * 1e-6  # breaks ties in an order that slants cannot know
    concordant = (np.sign(a[:, None] - a) * np.sign(s[:, None] - s))[a[:, None] != a]
    more = s[a > 0][:, None] > s[a == 0]
    ceiling, tied = spearmanr(a + jitter, a)[0], np.mean(a == 0)
    return [
        "weight and OS/2.usWeightClass, Spearman's rank correlation:",
        f"  {spearmanr(weight, classes)[0]:.3f} over all faces, where a class means another thickness in each family",
        f"  {np.mean(ranks):.3f} within a family, mean over the {len(graded)} that have 4 classes or more",
        f"  {np.median(ranks):.3f} likewise, median",
        "slant and post.italicAngle:",
        f"  {spearmanr(slant, angles)[0]:.3f} over all faces",
        f"  {spearmanr(s, a)[0]:.3f} without {(~told).sum()} faces that are italic by name and have the angle 0",
        f"  {ceiling:.3f} is the highest possible there: {tied:.0%} of the angles are tied at 0",
        f"  {concordant.mean():.3f} over the pairs that the angles order (Goodman and Kruskal's gamma)",
        f"  {more.mean():.3f} of the pairs of an italic and an upright face: the italic one is more slanted",
    ]


def main(argv: list[str] | None = None) -> int:
    """Print; 1 if a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("generator", nargs="?", default="letters", help="name or folder (%(default)s)")
    parser.add_argument("--data", type=Path, help="renders (data/letters-64 or data/clevr-simple-64)")
    parser.add_argument("--judge", action="store_true", help="write the judge's table, and print what it agrees with")
    arguments = parser.parse_args(argv)
    if arguments.judge:
        folder = arguments.data or Path("data/letters-64")
        print(write_judge(Images(folder), folder))
        return 0
    generator = load_generator(arguments.generator)
    scenes = generator.class_names == SHAPES
    folder = arguments.data or Path("data", "clevr-simple-64" if scenes else "letters-64")
    figures = figures_of(generator, Images(folder) if folder.is_dir() else None)
    print(table_of(figures))
    return int(any(figure.wanted is not None and figure.value < figure.wanted for figure in figures))


if __name__ == "__main__":
    sys.exit(main())
