"""Animations: one of each direction and an overview of all, or one file with a row for each direction.

Takes images from a scene (``scene.py``) along the paths of ``path.py``, lays them on pages (``captions.py``) and hands
these to an encoder (``encode.py``), which works in another thread (``overlap.py``). Many directions are done in pages,
each of them finished before the next: memory and open files stay few, and what is finished stays when the rest is
interrupted.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence

import numpy as np

from directions.rendering.captions import Page, PageLayout, RowCaption, enlarge
from directions.rendering.encode import Animation, Encoder, make_encoder
from directions.rendering.limits import require_size
from directions.rendering.overlap import overlapped
from directions.rendering.path import animation, strip
from directions.rendering.plan import Plan, PlannedPage
from directions.rendering.scene import Scene
from directions.rendering.sheets import COLUMNS, row_caption, write_contact_sheet

_SAMPLED_PIXELS = 2**18


def write_animations(scene: Scene, kind: Animation, plan: Plan) -> None:
    """Write what is planned; each file appears when it is complete.

    Args:
        scene: What to show.
        kind: The format of the animations.
        plan: The directions of each page, and where they go.
    """
    for page in plan.pages:
        sample = _look_ahead(scene, page) if plan.looks_ahead else None
        _write_page(scene, kind, page, sample)


def _look_ahead(scene: Scene, page: PlannedPage) -> np.ndarray:
    """Make stills along the whole paths: for the contact sheet, and as a sample of colours to choose a palette from."""
    sizes = [scene.path_size(index) for index in page.rows]
    firsts: list[np.ndarray] = []
    sampled: list[np.ndarray] = []
    for images in scene.images(page.rows, [strip(COLUMNS, size) for size in sizes]):
        firsts.append(images[:, 0].copy())
        pixels = images.reshape(-1, 3)
        sampled.append(pixels[:: max(1, COLUMNS * len(pixels) // _SAMPLED_PIXELS)].copy())
    if page.sheet is not None:
        names = [scene.directions.names[index] for index in page.rows]
        write_contact_sheet(page.sheet, np.stack(firsts, axis=1), names, sizes, scene.scale)
    return np.concatenate(sampled)


def _write_page(scene: Scene, kind: Animation, page: PlannedPage, sample: np.ndarray | None) -> None:
    """Write the animations of a page, frame by frame and side by side."""
    settings = scene.settings
    assert settings.motion is not None
    assert settings.loop is not None
    encoder = make_encoder(kind, settings.rate, loop=settings.loop, pixels=sample)
    amounts = [
        animation(settings.length, scene.path_size(index), motion=settings.motion, loop=settings.loop)
        for index in page.rows
    ]
    # The rows that each file shows.
    shows = [[row] for row in range(len(page.single))] if page.single else []
    shows += [list(range(len(page.rows)))] if page.overview is not None else []
    sheets = [_Sheet(scene, encoder, [page.rows[row] for row in rows]) for rows in shows]
    with contextlib.ExitStack() as stack:
        adders = [stack.enter_context(encoder.open(path)) for path in page.animations]

        def encode(step: tuple[np.ndarray, Sequence[float]]) -> None:
            images, places = step
            tiles = encoder.images(enlarge(images, scene.scale))
            for rows, sheet, add in zip(shows, sheets, adders, strict=True):
                add(sheet.lay(tiles[rows], [places[row] for row in rows]))

        steps = zip(scene.images(page.rows, amounts), np.stack(amounts, axis=1).tolist(), strict=True)
        overlapped(steps, encode)


def require_sizes(scene: Scene, kind: Animation, plan: Plan) -> None:
    """Refuse animations that their format cannot hold, before an image is made.

    Args:
        scene: What to show.
        kind: The format of the animations.
        plan: The directions of each page, and where they go.

    Raises:
        UserError: If one is too large.
    """
    for page in plan.pages:
        for rows in [*([row] for row in page.rows if page.single), *([page.rows] if page.overview else [])]:
            layout = PageLayout(*_grid(scene, rows), bare=scene.settings.captions == "none")
            require_size(kind, layout.height, layout.width)


def _grid(scene: Scene, indices: Sequence[int]) -> tuple[list[RowCaption], int, tuple[int, int], list[str]]:
    """The rows, columns, tiles and column captions of the page that shows directions."""
    captions = [row_caption(scene.directions.names[index], scene.path_size(index)) for index in indices]
    if scene.settings.captions == "amount":  # The widest that they will be, so that the page has room.
        captions = [
            RowCaption(caption.name, _amount(-scene.path_size(index)))
            for caption, index in zip(captions, indices, strict=True)
        ]
    return captions, scene.settings.count, (scene.generator.resolution * scene.scale,) * 2, scene.class_captions


class _Sheet:
    """The page of one animation, in its encoder's colours."""

    def __init__(self, scene: Scene, encoder: Encoder, indices: Sequence[int]) -> None:
        self._moving = scene.settings.captions == "amount"
        self._page = Page(*_grid(scene, indices), bare=scene.settings.captions == "none")
        self._blank = encoder.drawing(self._page.blank)
        self._drawing: Callable[[np.ndarray], np.ndarray] = encoder.drawing

    def lay(self, tiles: np.ndarray, amounts: Sequence[float]) -> np.ndarray:
        """Lay the images of a step on the page, and write where it is."""
        page = self._page.lay(self._blank, tiles)
        if self._moving:
            for row, amount in enumerate(amounts):
                self._page.write_detail(page, row, _amount(amount), self._drawing)
        return page


def _amount(amount: float) -> str:
    return f"step {amount:+.2f}"
