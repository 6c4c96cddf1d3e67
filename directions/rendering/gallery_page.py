"""The page of a gallery: what is known of the directions and their run, and the template that shows it.

After the pictures (``gallery.py``), whose names it refers to. Everything that comes from a file passes through Jinja2's
escaping, or through JSON into text nodes; the page's own style and script are let through by their digests alone, so
that nothing else could run even if it got in.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from directions import __version__
from directions.rendering.gallery_curve import make_curve
from directions.rendering.path import strip
from directions.rendering.scene import Scene

MARKER = "directions render gallery"
"""Stands in the page; a folder with such a page may be replaced."""

_TEMPLATES = Path(__file__).parent / "templates"
_SCORES = ("before", "after", "random", "axes")
_LONGEST_TABLE = 16
_BASELINES = {"random": "random directions", "axes": "axes of z"}


def make_page(
    scene: Scene, indices: Sequence[int], stats: Sequence[Mapping[str, Any]], *, thumb_size: int, trip: float
) -> str:
    """Fill in the template.

    Args:
        scene: What is shown.
        indices: The directions, the most active first.
        stats: The lines of the run's ``stats.jsonl``; none where there is no run.
        thumb_size: Height and width of a thumbnail, in pixels.
        trip: Seconds from one end to the other.

    Returns:
        The HTML.
    """
    header = scene.directions.header
    style, script = (_TEMPLATES.joinpath(f"gallery.{kind}").read_text(encoding="utf-8") for kind in ("css", "js"))
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.policies["json.dumps_kwargs"] = {"sort_keys": True, "ensure_ascii": True}
    penalty = header["penalty"] or {}
    levels = {text: penalty[key] for key, text in _BASELINES.items() if isinstance(penalty.get(key), (int, float))}
    cards = [_card(scene, index) for index in indices]
    return environment.get_template("gallery.html.j2").render(
        marker=MARKER,
        version=__version__,
        generator=scene.directions.generator,
        facts=_facts(scene),
        cards=cards,
        starred=any(card["starred"] for card in cards),
        thumb_size=thumb_size,
        curve=make_curve(stats, levels),
        tables=_tables(header),
        data=_data(scene, cards, trip),
        # Files of this package: nothing in them comes from elsewhere.
        style=Markup(style),
        script=Markup(script),
        style_hash=_digest(style),
        script_hash=_digest(script),
    )


def picture_paths(index: int) -> tuple[str, str, str]:
    """Say where the pictures of a direction are, relative to the page: thumbnail, still, folder of frames."""
    return f"thumbs/{index:03d}.webp", f"stills/{index:03d}.webp", f"frames/{index:03d}"


def _card(scene: Scene, index: int) -> dict[str, Any]:
    """What is shown of one direction."""
    directions = scene.directions
    entry = directions.header["directions"][index]
    size, active = scene.path_size(index), entry["activeness"]
    largest = max((value for value in directions.activeness if value is not None), default=0.0)
    thumb, still, frames = picture_paths(index)
    numbers = [] if active is None else [("activeness", f"{active:.3g}")]
    numbers.append(("path", f"±{size:.3g}"))
    if entry["penalty_share"] is not None:
        numbers.append(("penalty share", f"{entry['penalty_share']:.0%}"))
    return {
        "index": index,
        "name": entry["name"],
        "note": entry["note"],
        "starred": entry["starred"],
        "activeness": active,
        "share": None if active is None or largest <= 0 else round(100 * max(active, 0) / largest, 1),
        "size": size,
        "numbers": numbers,
        "place": directions.order.index(index),
        "thumb": thumb,
        "still": still,
        "frames": frames,
        "alt": f"Samples moving along direction {index}, {entry['name']}, from −{size:.3g} to +{size:.3g} and back",
        "facts": [f"direction {index}", *(f"{what} {value}" for what, value in numbers)],
    }


def _data(scene: Scene, cards: Sequence[Mapping[str, Any]], trip: float) -> dict[str, Any]:
    """What the page's script needs."""
    kept = ("index", "name", "note", "starred", "activeness", "size", "place", "frames", "facts")
    return {
        "directions": [{key: card[key] for key in kept} for card in cards],
        "places": [round(float(place), 6) for place in strip(scene.settings.length, 1.0)],
        "samples": scene.classes or [""] * scene.settings.count,
        "tile": scene.generator.resolution * scene.scale,
        "motion": scene.settings.motion,
        "seconds": trip,
    }


def _facts(scene: Scene) -> list[str]:
    """A line on what is shown."""
    header, settings = scene.directions.header, scene.settings
    resolution = scene.generator.resolution
    facts = [f"|z| {scene.directions.dim_z}", f"{resolution} × {resolution} pixels", f"method {header['method']}"]
    if scene.layers is not None:
        facts.append(f"layers {scene.layers}")
    return [*facts, f"samples from seed {settings.seed}, truncation {settings.truncation:g}"]


def _tables(header: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What the file says of how the directions were found, as rows of text."""
    generator = header["generator"]
    classes = header["classes"]
    start, stop = header["space"]
    origin: list[tuple[str, Any]] = [
        ("generator", generator["name"]),
        ("weights (SHA-256)", generator["digest"]),
        ("classes", ", ".join(map(str, classes)) if isinstance(classes, list) else classes),
        ("components of z", f"{start} to {stop - 1}"),
        ("layers", None if header["layers"] is None else ", ".join(map(str, header["layers"]))),
        ("truncation", header["truncation"]),
        ("method", header["method"]),
        ("steps", header["steps"]),
        ("seed", header["seed"]),
        ("made with", f"directions {header['tool_version']}"),
    ]
    titled = {
        "The file": origin,
        "Held-out penalty": _ordered(header["penalty"] or {}),
        "Where it was converted from": list((header["source"] or {}).items()),
        "Settings": sorted(header["config"].items()),
    }
    tables = []
    for title, rows in titled.items():
        texts = [(str(key), _text(value)) for key, value in rows if value not in (None, "")]
        parts = 1 + (len(texts) > _LONGEST_TABLE)
        size = math.ceil(len(texts) / parts)
        for part in range(parts if texts else 0):
            heading = title if part == 0 else f"{title}, continued"
            tables.append({"title": heading, "rows": texts[part * size : (part + 1) * size]})
    return tables


def _ordered(scores: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Scores in the order of a run, then those that are only compared with."""
    return [(key, scores[key]) for key in sorted(scores, key=lambda key: (*_SCORES, key).index(key))]


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _digest(text: str) -> str:
    """A source that a content security policy allows: what has just these bytes."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii")
