"""What is made while nobody asks for anything else, and kept beside the file: previews and suggested names."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from directions.errors import UserError
from directions.evaluation.statistics import Statistics, suggest_names
from directions.explorer.file import Content
from directions.explorer.models import MAX_AMOUNT
from directions.explorer.painter import Shared, encode
from directions.files import write_bytes
from directions.generators.base import resolve_classes
from directions.rendering.frames import Scene, strip
from directions.settings.render import RenderSettings

PREVIEW_FRAMES = 7
_PREVIEW_PIXELS = 96
_FILES_KEPT = 2048
"""Previews and suggestions in the hidden folder; a preview has some 8 kB."""

_JUDGE_SAMPLES = 64
_SECONDS_AT_ONCE = 0.1
"""As many images of a preview are made in one call as this allows: a slider that is moved then waits no longer."""


class Backstage:
    """Previews and suggestions of a direction file, kept in a hidden folder beside it, where that can be written.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._judges: dict[str, Statistics] = {}
        self._at_once = 1

    def preview(self, content: Content, direction: str, generator: Shared) -> bytes:
        """Show what a direction does to sample 0, as it was learned.

        Args:
            content: The direction file.
            direction: Its id.
            generator: Makes one image after another.

        Returns:
            `PREVIEW_FRAMES` images side by side, from one end to the other: a JPEG.
        """
        directions, index = content.directions, content.index(direction)
        size, classes = min(directions.path_sizes[index], MAX_AMOUNT), directions.header["classes"]

        def make() -> bytes:
            settings = RenderSettings(format="strip", samples=1, truncation=directions.header["truncation"] or 1.0)
            y = classes[0] if isinstance(classes, list) and classes else 0
            scene = Scene.draw(directions, generator, settings, y)
            scene.samples.batch = self._at_once
            frames = np.concatenate(list(scene.images([index], [strip(PREVIEW_FRAMES, size)])))
            self._at_once = max(1, min(PREVIEW_FRAMES, int(_SECONDS_AT_ONCE * PREVIEW_FRAMES / generator.seconds)))
            return encode(frames[:, 0], PREVIEW_FRAMES, "jpeg", _PREVIEW_PIXELS)

        return self._kept("jpg", (direction, size, _learned(content), generator.digest), make)

    def suggestion(self, content: Content, direction: str, generator: Shared) -> str | None:
        """Suggest a name: the one statistic of pictures that a direction changes most.

        Args:
            content: The direction file.
            direction: Its id.
            generator: Makes some images after another.

        Returns:
            Such as "darker ↔ brighter"; ``None`` where nothing stands out.
        """
        directions, index = content.directions, content.index(direction)
        learned = _learned(content)

        def make() -> bytes:
            judge = self._judges.get(learned) or self._judges.setdefault(learned, _judge(content, generator))
            (found,) = suggest_names(generator, directions[[index]], judge=judge)
            return (found.words if found else "").encode()

        about = direction, directions.path_sizes[index], learned, generator.digest
        return self._kept("txt", about, make).decode() or None

    def _kept(self, ending: str, about: Any, make: Callable[[], bytes]) -> bytes:
        """Return the content that depends on ``about`` alone, or make it and keep it; the oldest ones go."""
        folder = self._path.parent / f".{self._path.name}.previews"
        kept = folder / f"{hashlib.sha256(repr(about).encode()).hexdigest()[:32]}.{ending}"
        with contextlib.suppress(OSError):
            return kept.read_bytes()
        content = make()
        with contextlib.suppress(OSError, UserError):  # such as a folder that is only read
            folder.mkdir(exist_ok=True)
            write_bytes(kept, content)
            for old in sorted(folder.glob("[!.]*"), key=lambda file: file.stat().st_mtime)[:-_FILES_KEPT]:
                old.unlink()
        return content


def _learned(content: Content) -> str:
    """On what the directions of a file were learned."""
    return repr([content.directions.header[key] for key in ("classes", "truncation", "layers")])


def _judge(content: Content, generator: Shared) -> Statistics:
    """Measure how much pictures differ, on samples as they were learned on, two at a time: sliders wait for no more."""
    header = content.directions.header
    classes = resolve_classes(generator, tuple(header["classes"]) if isinstance(header["classes"], list) else "all")
    truncation = header["truncation"] or 1.0
    return Statistics.of(generator, samples=_JUDGE_SAMPLES, classes=classes, truncation=truncation, rows=2)
