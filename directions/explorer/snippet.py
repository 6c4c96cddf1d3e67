"""Python that makes the picture of a view again, to be copied from the page; the tests execute it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from directions.direction_file import Directions
from directions.explorer.models import View


@dataclass(frozen=True)
class Origin:
    """Where directions and generator come from, as the command line was told.

    Attributes:
        file: The direction file.
        generator: Name of the generator, if it is another than the file's.
        weights: Where its weights are, if not at the usual places.
        device: Where it runs.
    """

    file: Path
    generator: str | None = None
    weights: str | None = None
    device: str = "cpu"


def snippet(view: View, directions: Directions, moves: Sequence[tuple[int, float]], origin: Origin) -> str:
    """Write a program that makes the images of a view and saves each as a PNG.

    Args:
        view: What to show.
        directions: What it moves along.
        moves: The index of the direction of each of its moves, and how far to go.
        origin: Where everything comes from.

    Returns:
        Python.
    """
    options = ["directions.generator" if origin.generator is None else repr(origin.generator)]
    options += [] if origin.weights is None else [f"weights={origin.weights!r}"]
    options += [] if origin.device == "cpu" else [f"device={origin.device!r}"]
    settings, labels = f"truncation={view.truncation!r}", list(view.labels or ())
    label = f"y={(labels[0] if len(set(labels)) == 1 else labels)!r}, " if labels else ""
    moved = "z"
    move = ""
    if moves:
        moved, names = "moved", [directions.names[index] for index, _ in moves]
        move = f"moved = directions.move(z, {names!r}, {[amount for _, amount in moves]!r})\n"
    images = f"generator({moved}, {label}{settings})"
    if view.layers is not None:
        layers = "{}:{}".format(*view.layers)
        images = f"generator.prefix(z, {label}layers={layers!r}, {settings})({moved})"
    return f"""import torch
from PIL import Image

from directions import load_directions, load_generator
from directions.rendering.frames import to_uint8

directions = load_directions({str(origin.file)!r})
generator = load_generator({", ".join(options)})

seeds = {list(view.seeds)!r}
z = torch.cat([generator.sample_z(1, seed=seed, {settings}) for seed in seeds])
{move}images = {images}  # (n, 3, height, width) in [-1, 1]
for seed, image in zip(seeds, to_uint8(images)):
    Image.fromarray(image).save(f"sample-{{seed}}.png")
"""
