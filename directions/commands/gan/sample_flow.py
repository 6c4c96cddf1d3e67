"""What ``directions gan sample`` does once its options are read: a sheet of images, or components swept.

The components are directions like any other, the axes of z, so the pictures are those of ``directions render``.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from directions.commands.common import print_json, progress_bar
from directions.config import MAX_SEED, parse_classes
from directions.errors import UserError
from directions.rendering.settings import MAX_SAMPLES

if TYPE_CHECKING:
    from torch import Tensor

    from directions.direction_file import Directions
    from directions.generators.base import Generator

_SAMPLES = Path("outputs", "samples")
_IMAGES = 64
_ROWS = 32


@dataclass(frozen=True, kw_only=True)
class Request:
    """What the command line asks for, not yet checked."""

    run: str
    """A run folder or a generator."""
    sweep: tuple[str, ...]
    """Components to move."""
    extent: float
    """How far, to either side of 0."""
    samples: int | None
    """How many images."""
    classes: str
    """Classes of the samples, in turn."""
    seed: int
    """Of the samples."""
    truncation: float
    """Spread of z."""
    separate: bool
    """Whether each image gets a file."""
    steps: int | None
    """Columns of a strip or plane."""
    scale: int | None
    """Enlargement."""
    device: str
    """Where it runs."""
    out: Path | None
    """Folder for the pictures."""
    as_json: bool
    """Whether to print JSON."""
    quiet: bool
    """Whether to keep progress off stderr."""


def carry_out(request: Request) -> None:
    """Make the pictures and print their paths.

    Args:
        request: What is asked for.

    Raises:
        UserError: If something that is asked for does not exist or is out of range.
    """
    _check(request)

    from directions.generators.registry import load_generator

    generator = load_generator(request.run, device=request.device)
    folder = request.out or _folder_of(request.run)
    written = _sweep(generator, folder, request) if request.sweep else _images(generator, folder, request)
    if request.as_json:
        print_json([str(path) for path in written])
        return
    for path in written:
        typer.echo(path)


def _check(request: Request) -> None:
    """Refuse what cannot be right, before anything is loaded."""
    if len(request.sweep) > 2:
        raise UserError(
            f"sweep must be given once, or twice for a plane of two components, got {len(request.sweep)} times."
        )
    if "all" in request.sweep and len(request.sweep) > 1:
        raise UserError("sweep must be all, or one or two components, got all and another.")
    if request.samples is not None and not 1 <= request.samples <= MAX_SAMPLES:
        raise UserError(f"samples must be from 1 to {MAX_SAMPLES}, got {request.samples}.")
    if not 0 <= request.seed <= MAX_SEED:
        raise UserError(f"seed must be a whole number from 0 to {MAX_SEED} (2^63 - 1), got {request.seed}.")
    if not (math.isfinite(request.extent) and request.extent > 0):
        raise UserError(f"extent must be a positive number (standard deviations of z), got {request.extent}.")
    if request.separate and request.sweep:
        raise UserError("separate is for images without a sweep. Leave one of the two out.")
    if request.steps is not None and not request.sweep:
        raise UserError(f"steps has no meaning without --sweep, got {request.steps}. Leave it out.")


def _images(generator: Generator, folder: Path, request: Request) -> list[Path]:
    """Write a sheet of images, and a file for each if it is wanted."""
    import torch
    from PIL import Image

    from directions.atomic import atomic_write, require_writable
    from directions.gan.sheets import sample_sheet

    number = request.samples or _IMAGES
    sheet = folder / "samples.png"
    names = [folder / f"sample-{index:05d}.png" for index in range(number)] if request.separate else []
    z = generator.sample_z(number, seed=request.seed, truncation=request.truncation)
    y = _classes(generator, number, request)
    _make(folder)
    for path in (sheet, *names):
        require_writable(path)
    parts: list[Tensor] = []
    with torch.inference_mode(), progress_bar(total=number, unit="image", quiet=request.quiet) as bar:
        for start in range(0, number, _ROWS):
            rows = slice(start, start + _ROWS)
            parts.append(generator(z[rows], None if y is None else y[rows], truncation=request.truncation).cpu())
            bar.update(len(parts[-1]))
    images = torch.cat(parts)
    pictures = {sheet: sample_sheet(images, columns=math.ceil(math.sqrt(number)))}
    if request.separate:
        pictures |= {
            path: sample_sheet(image[None], columns=1, gap=0) for path, image in zip(names, images, strict=True)
        }
    for path, picture in pictures.items():
        assert isinstance(picture, Image.Image)
        with atomic_write(path) as partial:
            picture.save(partial, "PNG")
    return list(pictures)


def _sweep(generator: Generator, folder: Path, request: Request) -> list[Path]:
    """Render one component, two, or all of them."""
    from directions.rendering.render import render
    from directions.rendering.settings import RenderSettings

    components = None if request.sweep == ("all",) else [_component(text, generator) for text in request.sweep]
    axes = component_directions(generator, request.extent)
    shared: dict[str, Any] = {
        "seed": request.seed,
        "truncation": request.truncation,
        "scale": request.scale,
        "remove_projection": True,
        "samples": request.samples,
    }
    if components is not None and len(components) == 2:
        across, up = components
        plane = RenderSettings(format="plane", plane=(across, up), frames=request.steps, **shared)
        _make(folder)
        jobs: list[tuple[RenderSettings, Path, list[int] | None]] = [(plane, folder, None)]
    else:
        strip = RenderSettings(format="strip", frames=request.steps, **shared)
        animated = RenderSettings(format="gif", **shared)
        _classes(generator, strip.count, request)
        _make(folder)
        order = _order(generator, request) if components is None else components
        # One component is a file; of all there is an overview as well.
        gif = folder if components is None else folder / f"{order[0]:03d}-z{order[0]}.gif"
        jobs = [(strip, folder, order), (animated, gif, order)]
    written: list[Path] = []
    for settings, out, indices in jobs:
        y = _classes(generator, settings.count, request)
        written += render(
            axes, generator, settings, out=out, indices=indices, y=0 if y is None else y, progress=not request.quiet
        )
    return written


def component_directions(generator: Generator, extent: float) -> Directions:
    """Make directions of the components of z: the axes, named z0, z1 and so on.

    Args:
        generator: Whose z.
        extent: Path size of each.

    Returns:
        As many directions as z has components.
    """
    import numpy as np

    from directions.direction_file import Directions
    from directions.direction_file.header import make_header

    header = make_header(
        generator,
        names=[f"z{index}" for index in range(generator.dim_z)],
        path_sizes=[extent] * generator.dim_z,
        classes="all" if generator.num_classes else None,
        truncation=None,
        space=(0, generator.dim_z),
        method="axes",
        config={},
        steps=None,
        seed=None,
        penalty=None,
    )
    return Directions(np.eye(generator.dim_z), header)


def _order(generator: Generator, request: Request) -> list[int]:
    """All components, most active first, as ``gan evaluate`` has measured it if it has."""
    from directions.evaluation.components import component_activeness
    from directions.evaluation.measuring import Measuring
    from directions.evaluation.metric_file import FILE_NAME, MetricFile
    from directions.evaluation.named_metrics import METRICS
    from directions.sampling import resolve_classes

    classes = resolve_classes(generator, parse_classes(request.classes)) if generator.num_classes else ()
    if request.truncation == 1 and Path(request.run, FILE_NAME).is_file():
        line = MetricFile(request.run).find(METRICS["activeness"], Measuring(generator, classes=classes))
        if line is not None:
            return list(line["results"]["order"])
    samples = METRICS["activeness"].settings["samples"]
    with progress_bar(
        total=3 * samples * generator.dim_z, unit="image", quiet=request.quiet, title="activeness"
    ) as bar:
        measured = component_activeness(
            generator, samples=samples, classes=classes, truncation=request.truncation, count=bar.update
        )
    return list(measured.order)


def _component(text: str, generator: Generator) -> int:
    """Read a component's index, with or without the z before it."""
    match = re.fullmatch(r"z?(\d+)", text.strip())
    if match is None or int(match[1]) >= generator.dim_z:
        raise UserError(
            f"sweep must be a component of z, from 0 to {generator.dim_z - 1}, or all; got {text!r}. The generator "
            f"has {generator.dim_z} of them."
        )
    return int(match[1])


def _classes(generator: Generator, number: int, request: Request) -> Tensor | None:
    """Classes of the samples, in turn; ``None`` for a generator without classes."""
    from directions.sampling import resolve_classes

    if generator.num_classes == 0:
        return None
    classes = resolve_classes(generator, parse_classes(request.classes))
    return generator.class_indices([classes[index % len(classes)] for index in range(number)], number)


def _folder_of(run: str) -> Path:
    """Where pictures go: into the run folder, if there is one."""
    path = Path(run)
    return path / "pictures" if path.is_dir() else _SAMPLES / re.sub(r"[^\w.+-]+", "-", run).strip("-.")


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"Cannot make the folder {folder}: {error.strerror}. Give another with --out.") from error
