"""The gallery: a folder with a page that shows every direction as a looping thumbnail, and all samples on a slider."""

from __future__ import annotations

import base64
import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import imageio.v3 as iio
import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from PIL import Image

from directions import __version__
from directions.files import atomic_folder
from directions.rendering.animate import WEBP, overlapped
from directions.rendering.frames import dwell, strip
from directions.rendering.page import enlarge, tiled

if TYPE_CHECKING:
    from directions.rendering.frames import Scene

MARKER = "directions render gallery"
"""Stands in the page; a folder with such a page may be replaced."""

THUMB_TILE = 160
"""Largest side of an image in a thumbnail; cards are not much wider, and a page may have a hundred of them."""

# Milliseconds: browsers slow down what is shown for less than about half of that.
_SHORTEST = 20

_TEMPLATES = Path(__file__).parent / "templates"
_BASELINES = {"random": "random directions", "axes": "axes of z"}

# The picture of the curve, in its units: its size, and where its axes are.
_FRAME = {"width": 820, "height": 300, "left": 52, "right": 810, "top": 12, "bottom": 250}
_MOST_POINTS = 200


def write_gallery(scene: Scene, indices: Sequence[int], stats: Sequence[Mapping[str, Any]], out: Path) -> None:
    """Write a gallery; the folder appears when it is complete, in place of an older gallery.

    Args:
        scene: What to show.
        indices: The directions, the most active first.
        stats: The lines of the run's ``stats.jsonl``; none where there is no run.
        out: The folder; the one around it must exist.

    Raises:
        UserError: If there is something else in the folder, or it cannot be written.
    """
    settings = scene.settings
    assert settings.motion is not None
    trip = (settings.frames - 1) / settings.rate
    # The slider's frames are evenly spaced; a thumbnail shows the same ones, each for as long as the motion stays near.
    times = 1000 * trip * dwell(strip(settings.frames, 1.0), settings.motion)
    with atomic_folder(out, replaces=is_gallery) as folder:
        for name in ("thumbs", "stills", "frames"):
            (folder / name).mkdir()
        for index in indices:
            _write_pictures(folder, scene, index, times)
        folder.joinpath("index.html").write_text(make_page(scene, indices, stats, trip), encoding="utf-8")


def picture_paths(index: int) -> tuple[str, str, str]:
    """Return where the pictures of a direction are, relative to the page: thumbnail, still, folder of frames."""
    return f"thumbs/{index:03d}.webp", f"stills/{index:03d}.webp", f"frames/{index:03d}"


def gallery_files(index: int, frames: int) -> list[str]:
    """List the pictures of a direction, relative to the page, with so many places on the slider."""
    thumb, poster, folder = picture_paths(index)
    return [thumb, poster, *(f"{folder}/{place:03d}.webp" for place in range(frames))]


def is_gallery(folder: Path) -> bool:
    """Tell whether a folder holds a gallery, which may be replaced, rather than something else."""
    try:
        with folder.joinpath("index.html").open(encoding="utf-8", errors="replace") as page:
            return MARKER in page.read(400)
    except OSError:
        return False


def _write_pictures(folder: Path, scene: Scene, index: int, times: np.ndarray) -> None:
    """Write the pictures of one direction."""
    thumb, poster, frames = (folder / path for path in picture_paths(index))
    frames.mkdir()
    across, groups, tile = _across(scene.settings.samples), len(scene.groups) or 1, min(scene.tile, THUMB_TILE)
    thumbs: list[np.ndarray] = []
    ends: list[np.ndarray] = []

    def add(images: np.ndarray) -> None:
        images = enlarge(images[0], scene.scale)
        _save(frames / f"{len(thumbs):03d}.webp", [np.concatenate(images, axis=1)], quality=88)
        small = [np.asarray(Image.fromarray(image).resize((tile, tile), Image.Resampling.LANCZOS)) for image in images]
        tiles = np.stack(small).reshape(groups, -1, tile, tile, 3)[:, : across**2]
        if len(thumbs) in (0, len(times) - 1):
            ends.append(tiles[:, :2])
        thumbs.append(_beside(tiles, across))

    overlapped(scene.images([index], [strip(len(times), scene.path_size(index))]), add)
    # There and back: at the ends it turns, and they are shown once, for both trips.
    trip = [*range(len(times)), *range(len(times) - 2, 0, -1)]
    shown = [max(_SHORTEST, round((2 if place in (0, len(times) - 1) else 1) * times[place])) for place in trip]
    _save(thumb, [thumbs[place] for place in trip], duration=shown, loop=0, quality=80)
    # For those who do not want motion: two samples at both ends.
    _save(poster, [_beside(np.stack(ends, axis=2).reshape(groups, -1, tile, tile, 3), 2)], quality=88)


def _save(path: Path, pages: Sequence[np.ndarray], **options: Any) -> None:
    """Write a picture, or several that move, as WebP."""
    content = np.stack(pages)
    options |= {**WEBP, "is_batch": True}
    path.write_bytes(iio.imwrite("<bytes>", content, plugin="pillow", extension=".webp", **options))


def _across(samples: int) -> int:
    """Images to a side of a thumbnail: two of four samples show at a glance what they have in common."""
    return 2 if samples >= 4 else 1


def _beside(images: np.ndarray, across: int) -> np.ndarray:
    """Lay images (groups, n, height, width, 3) in a block for each group, ``across`` in a row."""
    return np.concatenate([tiled(group, across) for group in images], axis=1)


def make_page(scene: Scene, indices: Sequence[int], stats: Sequence[Mapping[str, Any]], trip: float) -> str:
    """Fill in the template.

    Everything that comes from a file passes through Jinja2's escaping, or through JSON into text nodes; the page's own
    style and script are let through by their digests alone, so that nothing else could run even if it got in.

    Args:
        scene: What is shown.
        indices: The directions, the most active first.
        stats: The lines of the run's ``stats.jsonl``; none where there is no run.
        trip: Seconds from one end to the other.

    Returns:
        The HTML.
    """
    settings, header = scene.settings, scene.directions.header
    style, script = (_TEMPLATES.joinpath(f"gallery.{kind}").read_text(encoding="utf-8") for kind in ("css", "js"))
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    environment.filters["text"] = _text
    environment.policies["json.dumps_kwargs"] = {"sort_keys": True, "ensure_ascii": True}
    cards = [_card(scene, index) for index in indices]
    data = {
        "directions": cards,
        "places": [round(float(place), 6) for place in strip(settings.frames, 1.0)],
        "samples": scene.captions,
        "tile": scene.tile,
        "motion": settings.motion,
        "seconds": trip,
    }
    return environment.get_template("gallery.html.j2").render(
        marker=MARKER,
        version=__version__,
        scene=scene,
        header=header,
        cards=cards,
        thumb_size=min(scene.tile, THUMB_TILE) * _across(settings.samples),
        thumbs_across=len(scene.groups) or 1,
        curve=make_curve(stats, header["penalty"] or {}),
        data=data,
        # Files of this package: nothing in them comes from elsewhere.
        style=Markup(style),
        script=Markup(script),
        style_hash=_digest(style),
        script_hash=_digest(script),
    )


def _card(scene: Scene, index: int) -> dict[str, Any]:
    """What is shown of one direction."""
    directions = scene.directions
    entry = directions.header["directions"][index]
    size, active, share = scene.path_size(index), entry["activeness"], entry["penalty_share"]
    largest = max((value for value in directions.activeness if value is not None), default=0.0)
    numbers = [] if active is None else [("activeness", f"{active:.3g}")]
    numbers += [("path", f"±{size:.3g}")] + ([] if share is None else [("penalty share", f"{share:.0%}")])
    return {key: entry[key] for key in ("name", "note", "starred", "activeness")} | {
        "index": index,
        "share": None if active is None or largest <= 0 else round(100 * max(active, 0) / largest, 1),
        "size": size,
        "numbers": numbers,
        "place": directions.order.index(index),
        "pictures": picture_paths(index),
    }


def _text(value: Any) -> str:
    """Write a value of the header."""
    if isinstance(value, float):
        return f"{value:.6g}"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _digest(text: str) -> str:
    """A source that a content security policy allows: what has just these bytes."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii")


def make_curve(stats: Sequence[Mapping[str, Any]], penalty: Mapping[str, Any]) -> dict[str, Any] | None:
    """Lay out the curve of a run: where its lines, dots, ticks and labels are, for the template to draw.

    Args:
        stats: The lines of ``stats.jsonl``; others than those of steps are passed over.
        penalty: Held-out penalties; those of random directions and of the axes are drawn as lines to compare with.

    Returns:
        Numbers in units of the picture, to the right and down, or ``None`` where fewer than two steps have a held-out
        penalty: there is nothing to draw.
    """
    levels = {text: penalty[key] for key, text in _BASELINES.items() if isinstance(penalty.get(key), (int, float))}
    held_out = _points(stats, "held_out")
    noisy = _smoothed(_points(stats, "penalty"))
    last = max((step for step, _ in held_out), default=0)
    if len(held_out) < 2 or last == 0:
        return None
    heights = [value for _, value in [*held_out, *noisy]] + list(levels.values())
    ticks = _round_numbers(min(heights), max(heights), 5)
    low, high = min(*heights, ticks[0]), max(*heights, ticks[-1])

    def right(step: float) -> float:
        return round(float(np.interp(step, [0, last], [_FRAME["left"], _FRAME["right"]])), 1)

    def down(value: float) -> float:
        return round(float(np.interp(value, [low, high], [_FRAME["bottom"], _FRAME["top"]])), 1)

    def line(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
        return [(right(step), down(value)) for step, value in points]

    first, final = held_out[0][1], held_out[-1][1]
    return _FRAME | {
        "held_out": line(held_out),
        "noisy": line(noisy) if len(noisy) > 1 else [],
        "rows": [(down(tick), f"{tick:g}") for tick in ticks],
        "columns": [(right(at), f"{at:g}") for at in _round_numbers(0, last, 6) if at <= last],
        "levels": [(down(value), name) for name, value in levels.items()],
        "alt": f"The held-out penalty over {last:g} steps: {first:.4g} at the start, {final:.4g} at the end.",
    }


def _points(stats: Sequence[Mapping[str, Any]], key: str) -> list[tuple[float, float]]:
    """The steps at which a number was written down; of several at one step the last one."""
    pairs = [(line.get("step"), line.get(key)) for line in stats]
    return sorted({x: y for x, y in pairs if isinstance(x, int) and isinstance(y, float) and math.isfinite(y)}.items())


def _smoothed(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Average neighbours, so that at most 200 points are left and the trend shows."""
    size = max(1, math.ceil(len(points) / _MOST_POINTS), len(points) // 40)
    return [tuple(np.mean(points[start : start + size], axis=0)) for start in range(0, len(points), size)]


def _round_numbers(low: float, high: float, about: int) -> list[float]:
    """Round numbers at even distances from at most ``low`` to at least ``high``."""
    rough = ((high - low) or abs(high) or 1.0) / about
    power = 10.0 ** math.floor(math.log10(rough))
    distance = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= rough * 0.999)
    first, last = math.floor(low / distance), math.ceil(high / distance)
    return [round(number * distance, 10) for number in range(first, last + 1)]
