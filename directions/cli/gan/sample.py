"""``directions gan sample``: a sheet of a generator's images, or pictures of what its components do."""

from __future__ import annotations

import contextlib
import math
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from directions.cli.common import HARDWARE, OUTPUT, SAMPLES, Json, Quiet, print_json, progress_bar
from directions.errors import UserError
from directions.settings.base import MAX_SEED, ConfigError, Settings, setting, with_options
from directions.settings.discover import parse_classes
from directions.settings.render import MAX_SAMPLES, is_file

if TYPE_CHECKING:
    from torch import Tensor

    from directions.generators.base import Generator

_drawn = partial(setting, panel=SAMPLES)
_picture = partial(setting, panel="The pictures")
_component = partial(typer.Option, rich_help_panel="Components", show_default="none: images only")

_RUN = "A run folder, or another generator by name, folder or FILE.py:FUNCTION."
_SWEEP = (
    "Move this component of z: a GIF and a strip. Twice: the plane of two components. all: every one, most active "
    "first."
)
_OUT = "Folder for the pictures; made if it is not there."
_OWN_FOLDER = "pictures in the run folder, or outputs/samples/NAME"


class SampleSettings(Settings):
    """What is sampled, and how it is shown."""

    extent: float = setting(
        2.0, "A component goes from minus this to this (standard deviations of z).", gt=0, panel="Components"
    )
    samples: int | None = _drawn(
        None, "How many images, each with a z of its own.", ge=1, le=MAX_SAMPLES, metavar="1..10000",
        shown="64; 4 for a sweep; 1 for a plane",
    )  # fmt: skip
    classes: str = _drawn(
        "all", "Classes in turn, by index or name; or all. Not used without classes.", metavar="CLASS,…",
        flags=("--classes", "-y"),
    )  # fmt: skip
    seed: int = _drawn(0, "Seed of the samples.", ge=0, le=MAX_SEED)
    truncation: float = _drawn(1.0, "Spread of z and the generator's truncation.", gt=0, le=1)
    separate: bool = _picture(False, "A PNG for each image beside the sheet of all.", flags=("--separate",))
    steps: int | None = _picture(None, "Columns of a strip or plane.", metavar="2..512", shown="7", ge=2, le=512)
    scale: int | None = _picture(
        None, "How many times larger to show swept images.", metavar="1..16", shown="at least 128 pixels"
    )
    device: str = setting("cpu", "cpu, cuda, cuda:N, or auto.", panel=HARDWARE)


@with_options(SampleSettings)
def sample(
    given: dict[str, Any],
    run: Annotated[str, typer.Argument(metavar="RUN", help=_RUN)],
    sweep: Annotated[list[str] | None, _component("--sweep", "-s", metavar="COMPONENT", help=_SWEEP)] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help=_OUT, show_default=_OWN_FOLDER, rich_help_panel=OUTPUT)
    ] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Make images of a generator, or show what components of z do.

    A swept component goes from minus to plus the extent, whatever it was in the sample; the others stay.
    """
    settings, swept = SampleSettings(**given), sweep or []
    _check(settings, swept, out)

    from directions.generators.registry import load_generator

    generator = load_generator(run, device=settings.device)
    folder = out or folder_for(run, "pictures", "samples")
    if swept:
        written = _sweep(generator, settings, None if swept == ["all"] else swept, run, folder, quiet=quiet)
    else:
        written = _images(generator, settings, folder, quiet=quiet)
    if as_json:
        print_json([str(path) for path in written])
    else:
        for path in written:
            typer.echo(path)


def _check(settings: SampleSettings, swept: list[str], out: Path | None) -> None:
    """Refuse what does not go together, before anything is loaded."""
    if len(swept) > (1 if "all" in swept else 2):
        raise ConfigError("sweep", f"must be all, or one or two components, got {' and '.join(swept)}.")
    if out is not None and is_file(out):
        raise ConfigError("out", f"must be a folder, got {out}.")
    if settings.separate and swept:
        raise ConfigError("separate", "is for images without a sweep. Leave one of the two out.")
    if settings.steps is not None and not swept:
        raise ConfigError("steps", f"has no meaning without --sweep, got {settings.steps}. Leave it out.")


def folder_for(run: str, inside: str, elsewhere: str) -> Path:
    """Where what is made of a generator goes: into its run folder if it has one, else into one of its name."""
    name = re.sub(r"[^\w.+-]+", "-", run).strip("-.")
    return Path(run, inside) if Path(run).is_dir() else Path("outputs", elsewhere, name)


def classes_of(generator: Generator, text: str) -> tuple[int, ...]:
    """Read the classes to draw from; none for a generator without classes."""
    from directions.generators.base import resolve_classes

    return resolve_classes(generator, parse_classes(text)) if generator.num_classes else ()


def _images(generator: Generator, settings: SampleSettings, folder: Path, *, quiet: bool) -> list[Path]:
    """Write a sheet of images, and a file for each if it is wanted."""
    from PIL import Image

    from directions.files import atomic_write, require_writable
    from directions.rendering.frames import Samples
    from directions.rendering.page import tiled

    number, truncation = settings.samples or 64, settings.truncation
    paths = [folder / "samples.png"]
    paths += [folder / f"sample-{index:05d}.png" for index in range(number)] if settings.separate else []
    z = generator.sample_z(number, seed=settings.seed, truncation=truncation)
    y = _classes(generator, settings, number)
    folder.mkdir(parents=True, exist_ok=True)
    for path in paths:
        require_writable(path)
    with progress_bar(total=number, unit="image", quiet=quiet) as bar:
        images = Samples(generator, z, y, truncation=truncation, made=bar.update).make(z)
    for path, picture in zip(paths, [tiled(images, math.ceil(math.sqrt(number)), gap=2), *images], strict=False):
        with atomic_write(path) as unfinished:
            Image.fromarray(picture).save(unfinished, "PNG")
    return paths


def _sweep(
    generator: Generator, settings: SampleSettings, swept: list[str] | None, run: str, folder: Path, *, quiet: bool
) -> list[Path]:
    """Render one component, two, or all of them (``None``), as directions like any other: the axes of z."""
    import numpy as np

    from directions.direction_file import Directions
    from directions.rendering.render import render
    from directions.settings.render import RenderSettings

    shared: dict[str, Any] = {name: getattr(settings, name) for name in ("seed", "truncation", "scale", "samples")}
    shared["remove_projection"] = True  # the component is set, whatever it was in the sample
    frames: dict[str, Any] = {} if settings.steps is None else {"frames": settings.steps}
    names = [f"z{index}" for index in range(generator.dim_z)]
    axes = Directions.from_basis(np.eye(generator.dim_z), generator, names=names, path_sizes=settings.extent)
    try:
        components = [axes.index(text.strip()) for text in swept or ()]
    except UserError:
        allowed = f"a component of z, from 0 to {generator.dim_z - 1}, or all"
        raise ConfigError("sweep", f"must be {allowed}, got {' and '.join(swept or ())}.") from None
    if len(components) == 2:
        plane = RenderSettings(format="plane", plane=(components[0], components[1]), **frames, **shared)
        jobs: list[tuple[RenderSettings, Path, list[int] | None]] = [(plane, folder, None)]
    else:
        strip = RenderSettings(format="strip", **frames, **shared)
        _classes(generator, settings, strip.samples)  # refused before anything is made
        order = components or _most_active_first(generator, settings, run, quiet=quiet)
        # One component is a file; of all there is an overview as well.
        gif = folder / f"{order[0]:03d}-z{order[0]}.gif" if components else folder
        jobs = [(strip, folder, order), (RenderSettings(format="gif", **shared), gif, order)]
    written: list[Path] = []
    for job, out, indices in jobs:
        y = _classes(generator, settings, job.samples)
        written += render(axes, generator, job, out=out, indices=indices, y=0 if y is None else y, progress=not quiet)
    return written


def _most_active_first(generator: Generator, settings: SampleSettings, run: str, *, quiet: bool) -> list[int]:
    """Order all components, as ``gan evaluate`` has measured them if it has."""
    from directions.evaluation.metrics import FILE_NAME, METRICS, Measuring, MetricFile

    metric = METRICS["activeness"]
    if settings.truncation != 1:
        metric = replace(metric, settings=metric.settings | {"truncation": settings.truncation})
    measuring = Measuring(generator, classes=classes_of(generator, settings.classes), progress=partial(counting, quiet))
    known = MetricFile(run).find(metric, measuring) if Path(run, FILE_NAME).is_file() else None
    return list((known or measuring.measure(metric))["results"]["order"])


@contextlib.contextmanager
def counting(quiet: bool, title: str, total: int) -> Iterator[Callable[[int], object]]:
    """Show the progress of a metric within the block; gives what to call with what has been done since."""
    with progress_bar(total=total, unit="", quiet=quiet, title=title) as bar:
        yield bar.update


def _classes(generator: Generator, settings: SampleSettings, number: int) -> Tensor | None:
    """Classes of the samples, in turn; ``None`` for a generator without classes."""
    drawn = classes_of(generator, settings.classes)
    return generator.class_indices([drawn[index % len(drawn)] for index in range(number)], number) if drawn else None
