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
    name = "directions.generator" if origin.generator is None else repr(origin.generator)
    options = [name, *(f"{key}={value!r}" for key, value in _options(origin).items())]
    settings = f"truncation={view.truncation!r}"
    labels = list(view.labels or ())
    label = f"y={(labels[0] if len(set(labels)) == 1 else labels)!r}, " if labels else ""
    lines = [
        "import torch",
        "from PIL import Image",
        "",
        "from directions import load_directions, load_generator",
        "from directions.rendering.frames import to_uint8",
        "",
        f"directions = load_directions({str(origin.file)!r})",
        f"generator = load_generator({', '.join(options)})",
        "",
        f"seeds = {list(view.seeds)!r}",
        f"z = torch.cat([generator.sample_z(1, seed=seed, {settings}) for seed in seeds])",
    ]
    moved = "z"
    if moves:
        moved = "moved"
        names = [directions.names[index] for index, _ in moves]
        lines.append(f"moved = directions.move(z, {names!r}, {[amount for _, amount in moves]!r})")
    shape = "(n, 3, height, width) in [-1, 1]"
    if view.layers is None:
        lines.append(f"images = generator({moved}, {label}{settings})  # {shape}")
    else:
        layers = "{}:{}".format(*view.layers)
        lines.append(f"images = generator.prefix(z, {label}layers={layers!r}, {settings})({moved})  # {shape}")
    lines += [
        "for seed, image in zip(seeds, to_uint8(images)):",
        '    Image.fromarray(image).save(f"sample-{seed}.png")',
    ]
    return "\n".join(lines) + "\n"


def _options(origin: Origin) -> dict[str, str]:
    """What else the generator was loaded with."""
    given = {} if origin.weights is None else {"weights": origin.weights}
    return given if origin.device == "cpu" else given | {"device": origin.device}
