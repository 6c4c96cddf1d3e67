"""The GIF of one direction, from where a page's sliders stand.

Beside the painter (``painter.py``), whose generator it shares image by image, so that sliders keep moving while a GIF
is made. The path, the palette, the page and the encoding are `directions.rendering`'s.
"""

from __future__ import annotations

import dataclasses
import math
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from directions.explorer.body import Body, number, text, whole
from directions.explorer.open_file import Content
from directions.explorer.painter import Painter
from directions.explorer.view import DIRECTION_ID, MAX_AMOUNT, View
from directions.rendering.captions import Page, enlarge
from directions.rendering.encode import make_encoder
from directions.rendering.gif import MAX_FPS
from directions.rendering.path import MIN_FRAMES, strip, there_and_back
from directions.rendering.settings import SMALLEST_TILE
from directions.rendering.sheets import COLUMNS, row_caption

MAX_FRAMES = 240
_SAMPLED_PIXELS = 2**18


class CancelledError(Exception):
    """Nobody waits for the animation any more."""


@dataclass(frozen=True)
class Animation:
    """What to animate.

    Attributes:
        view: The samples, and where the other directions stand.
        direction: The id of the direction to go along, its path size to either side.
        frames: Number of frames.
        fps: Frames a second.
    """

    view: View
    direction: str
    frames: int
    fps: float

    @classmethod
    def take(cls, body: Body, view: View) -> Animation:
        """Take an animation's fields from a request.

        Args:
            body: Its fields; others stay.
            view: Where to start.

        Returns:
            The animation.
        """
        direction = body.take("direction", text(DIRECTION_ID, "the id of a direction, 16 hexadecimal digits"))
        frames = body.take("frames", whole(MIN_FRAMES, MAX_FRAMES), 48)
        return cls(view, direction, frames, body.take("fps", number(1, MAX_FPS), 20.0))

    def at(self, amount: float) -> View:
        """Say what is seen somewhere on the way.

        Args:
            amount: How far along the direction, in latent units.

        Returns:
            The view.
        """
        others = [move for move in self.view.moves if move[0] != self.direction]
        return dataclasses.replace(self.view, moves=tuple(sorted([*others, (self.direction, amount)])))


def animate(animation: Animation, painter: Painter, content: Content, cancelled: threading.Event) -> bytes:
    """Make a GIF that goes along a direction, there and back, again and again.

    Args:
        animation: What to animate.
        painter: Makes the images.
        content: The direction file.
        cancelled: Checked before each image; set when nobody waits any more.

    Returns:
        The GIF.

    Raises:
        CancelledError: If nobody waits any more.
    """
    index = content.index(animation.direction)
    name = content.directions.names[index]
    size = min(content.directions.path_sizes[index], MAX_AMOUNT)  # an older file may have a larger one
    scale = math.ceil(SMALLEST_TILE / painter.generator.resolution)

    def images(amounts: np.ndarray) -> Iterator[np.ndarray]:
        for amount in amounts.tolist():
            if cancelled.is_set():
                raise CancelledError
            view = animation.at(amount)
            yield painter.images(view, content.directions, content.moves(view))

    stills = np.stack(list(images(strip(COLUMNS, size))))
    sample = stills.reshape(-1, 3)[:: max(1, stills.size // 3 // _SAMPLED_PIXELS)]
    encoder = make_encoder("gif", animation.fps, loop=True, pixels=sample)
    page = Page([row_caption(name, size)], stills.shape[1], (stills.shape[2] * scale, stills.shape[3] * scale))
    blank = encoder.drawing(page.blank)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "direction.gif"
        with encoder.open(path) as add:
            for frame in images(there_and_back(animation.frames, size)):
                add(page.lay(blank, encoder.images(enlarge(frame, scale))[None]))
        return path.read_bytes()
