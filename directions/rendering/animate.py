"""Animations: one of each direction and an overview of all, as GIF, WebP or MP4."""

from __future__ import annotations

import contextlib
import io
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import imageio.v3 as iio
import numpy as np
from imageio.v2 import get_writer
from PIL import Image
from scipy.spatial import cKDTree

from directions.errors import MissingExtraError, UserError
from directions.files import atomic_write
from directions.rendering.frames import one_way, strip, there_and_back
from directions.rendering.page import CAPTION_COLOURS, PAPER, Page, RowCaption, enlarge, row_caption
from directions.rendering.stills import COLUMNS, write_strip
from directions.settings.render import Animation

if TYPE_CHECKING:
    from directions.rendering.frames import Scene

AHEAD = 2
"""Steps that may wait to be encoded: enough to even out the pace, few enough to stay small."""

WEBP = {"method": 2, "kmin": 2**15, "kmax": 2**16}
"""Pillow's options: libwebp's effort, 0 to 6, of which 3 gives files 1 to 3% smaller for twice the time; and only the
first frame whole."""

_SAMPLED_PIXELS = 2**18

# Browsers assume BT.709, and ffmpeg converts by BT.601 unless it is told: colours would be off. A constant rate factor
# of 16: below 18 the eye hardly tells the difference.
_FFMPEG = (
    "-vf scale=out_color_matrix=bt709:out_range=tv -colorspace bt709 -color_primaries bt709 -color_trc bt709 "
    "-preset veryfast -crf 16 -movflags +faststart -f mp4"
)

# An MP4 may be larger, but this much decoders in browsers and phones are sure to take.
_LARGEST = {"gif": 65535, "webp": 16383, "mp4": 4096}

PALETTE_SIZE = 256
"""Entries of a GIF palette."""

TRANSPARENT = PALETTE_SIZE - 1
"""The last entry: "as in the frame before"."""

_SHIFT = 1.0
"""Keeps the colours in a search tree above 0. There the tree looks for the next larger number, which is a denormal; in
programs that flush those to zero (``torch.set_flush_denormal``) it would never end."""

_BITS = 6
_MIX = 16
_ERROR_SHARE = 0.5
_MAX_ERROR = 12.0
_SAMPLE_WEIGHT = 0.5
_POINTS = 20_000

_Item = TypeVar("_Item")


@dataclass(frozen=True)
class PlannedPage:
    """Some directions that are rendered together.

    Attributes:
        rows: The directions.
        shows: The directions that each file shows.
        sheet: Their contact sheet, or ``None``.
    """

    rows: list[int]
    shows: dict[Path, list[int]]
    sheet: Path | None = None


def require_size(kind: Animation, height: int, width: int) -> None:
    """Refuse pictures that a format cannot hold, before the generator works.

    Args:
        kind: The format.
        height: In pixels.
        width: In pixels.

    Raises:
        UserError: If it is too large.
    """
    if max(height, width) > _LARGEST[kind]:
        raise UserError(
            f"A picture of the format {kind} can be at most {_LARGEST[kind]} pixels wide and high, got {width} × "
            f"{height}. Render fewer directions or samples, or at a smaller scale."
        )


def require_ffmpeg() -> None:
    """Refuse to write an MP4 where ffmpeg is missing.

    Raises:
        MissingExtraError: If it is not installed.
    """
    try:
        from imageio_ffmpeg import get_ffmpeg_exe

        get_ffmpeg_exe()
    except (ImportError, RuntimeError) as error:
        raise MissingExtraError("MP4, unlike GIF and WebP,", "video") from error


def held_rate(kind: str, fps: float) -> float:
    """Return the frame rate that a format will hold: a GIF counts in hundredths of a second.

    Example:
        >>> held_rate("gif", 25.0), round(held_rate("gif", 30.0), 1), held_rate("webp", 30.0)
        (25.0, 33.3, 30.0)
    """
    return 100 / round(100 / fps) if kind == "gif" else fps


class Palette:
    """Colours of an animation, and the map from images to their indices, which holds still.

    A palette chosen anew for each frame flickers, and so does error diffusion, which carries every change on to pixels
    that did not change. Here a pixel's index depends only on its colour and its place. Without any dithering the soft
    shading of rendered objects breaks into rings.

    The dithering is ordered, after Knoll's pattern dithering: for each colour a mix of 16 palette colours that is close
    to it on average, of which an 8 × 8 Bayer matrix picks one by the pixel's place. Unlike a threshold added to the
    image, it fits an uneven palette: where colours are dense, the mix is of close ones.

    Args:
        pixels: (n, 3) uint8, a fair sample of what will be shown.
        fixed: (k, 3) uint8 colours that must be there exactly, for captions.

    Attributes:
        colours: (256, 3) uint8; the fixed colours are first, the last entry stands for transparent.
    """

    colours: np.ndarray

    def __init__(self, pixels: np.ndarray, fixed: Sequence[Sequence[int]] | np.ndarray) -> None:
        exact = np.asarray(fixed, dtype=np.uint8).reshape(-1, 3)
        chosen = _choose_colours(pixels, TRANSPARENT - len(exact))
        self.colours = np.zeros((PALETTE_SIZE, 3), dtype=np.uint8)
        used = np.concatenate([exact, chosen])
        self.colours[: len(used)] = used
        self._mixed = used.astype(np.float64)
        self._first = len(exact)
        # Mixes of the cells of colour space, made when a cell first appears: images fill a small part of the space.
        self._mixes = np.zeros((1 << 3 * _BITS, _MIX), dtype=np.uint8)
        self._known = np.zeros(len(self._mixes), dtype=bool)

    def index(self, images: np.ndarray) -> np.ndarray:
        """Find the palette indices that show images, dithered.

        Args:
            images: (…, height, width, 3) uint8.

        Returns:
            (…, height, width) uint8.
        """
        height, width = images.shape[-3:-1]
        matrix = np.tile(_BAYER, (height // 8 + 1, width // 8 + 1))[:height, :width]
        # Cells are 4 levels wide. A second use of the matrix, shifted, blurs the steps between them.
        step = 256 >> _BITS
        offset = (np.roll(matrix, (3, 5), (0, 1)) * step).astype(np.int16)[..., None] // 64 - step // 2
        cells = np.clip(images.astype(np.int16) + offset, 0, 255) >> (8 - _BITS)
        cell = (cells[..., 0].astype(np.int32) << 2 * _BITS) | (cells[..., 1] << _BITS) | cells[..., 2]
        new = np.unique(cell[~self._known[cell]])
        self._mixes[new] = _mix_colours(new, self._mixed, self._first)
        self._known[new] = True
        picked: np.ndarray = self._mixes[cell, matrix // (64 // _MIX)]
        return picked

    def nearest_fixed(self, image: np.ndarray, fixed: int) -> np.ndarray:
        """Find the nearest of the first colours, undithered, for captions.

        Args:
            image: (height, width, 3) uint8.
            fixed: How many colours to choose from.

        Returns:
            (height, width) uint8.
        """
        nearest = cKDTree(self.colours[:fixed] + _SHIFT).query(image + _SHIFT)[1]
        return np.asarray(nearest, dtype=np.uint8)


def _choose_colours(pixels: np.ndarray, number: int) -> np.ndarray:
    """Choose colours for a sample: median cut, then k-means, over the histogram's cells."""
    cells, member, count = np.unique(pixels >> 3, axis=0, return_inverse=True, return_counts=True)
    member = member.reshape(-1)
    means = np.stack([np.bincount(member, pixels[:, channel], len(cells)) / count for channel in range(3)], axis=1)
    # A large plain background would take most of the colours, and leave few for the object, if it counted fully.
    weight = count**_SAMPLE_WEIGHT
    repeats = np.maximum(1, np.round(weight * (_POINTS / weight.sum()))).astype(int)
    points = np.repeat(np.round(means).astype(np.uint8), repeats, axis=0)
    reduced = Image.fromarray(points[None]).quantize(number, method=Image.Quantize.MEDIANCUT, kmeans=3)
    colours = np.asarray(reduced.getpalette(), dtype=np.uint8).reshape(-1, 3)[:number]
    return np.unique(colours, axis=0)


def _mix_colours(cells: np.ndarray, palette: np.ndarray, first: int) -> np.ndarray:
    """For each cell, palette indices (cells, 16), from ``first`` on, that mix to its colour, from dark to light."""
    channels = np.stack([cells >> 2 * _BITS, cells >> _BITS, cells], axis=-1) & ((1 << _BITS) - 1)
    step = 256 >> _BITS
    # The offsets of index() run from -step / 2 to step / 2 - 1; half a level more makes up for their mean.
    wanted = channels * step + step / 2
    tree = cKDTree(palette[first:] + _SHIFT)
    error = np.zeros_like(wanted)
    mixes = np.empty((len(wanted), _MIX), dtype=np.uint8)
    for place in range(_MIX):
        # Only a part of the error is made up for each time, which gives less grain for hardly less smoothness, and
        # never much: for a colour outside the palette's range the error only grows, and would end in a far colour.
        length = np.linalg.norm(error, axis=1, keepdims=True)
        bounded = error * np.minimum(_ERROR_SHARE, _MAX_ERROR / np.maximum(length, 1e-9))
        mixes[:, place] = first + tree.query(wanted + bounded + _SHIFT)[1]
        error += wanted - palette[mixes[:, place]]
    lightness = palette @ [0.299, 0.587, 0.114]
    return np.take_along_axis(mixes, np.argsort(lightness[mixes], axis=1, kind="stable"), axis=1)


# The ordered-dithering matrix of Bayer: the numbers below 64, each as far as can be from its neighbours'.
_BAYER = np.zeros((1, 1), dtype=np.int64)
while len(_BAYER) < 8:
    _BAYER = np.block([[4 * _BAYER, 4 * _BAYER + 2], [4 * _BAYER + 3, 4 * _BAYER + 1]])


class Encoder:
    """Writes animations of one format, all with the same rate and, for GIFs, the same palette.

    Args:
        kind: The format.
        fps: Frames a second.
        loop: Repeat forever; otherwise play once. An MP4 has no place for it: the player decides.
        pixels: (n, 3) uint8, a fair sample of what will be shown; a GIF needs it for its palette.

    Attributes:
        fps: Frames a second, as the format holds them.
    """

    def __init__(self, kind: Animation, fps: float, *, loop: bool, pixels: np.ndarray | None = None) -> None:
        self.fps = held_rate(kind, fps)
        self._kind, self._loop = kind, loop
        self._palette: Palette | None = None
        if kind == "gif":
            assert pixels is not None, "a palette is chosen from a sample"
            self._palette = Palette(pixels, CAPTION_COLOURS)

    def images(self, tiles: np.ndarray) -> np.ndarray:
        """Turn (…, height, width, 3) uint8 images into what a page holds: dithered palette indices, for a GIF."""
        return tiles if self._palette is None else self._palette.index(tiles)

    def drawing(self, page: np.ndarray) -> np.ndarray:
        """Turn a (height, width, 3) uint8 drawing in the captions' colours into what a page holds, undithered."""
        return page if self._palette is None else self._palette.nearest_fixed(page, len(CAPTION_COLOURS))

    @contextlib.contextmanager
    def open(self, path: str | os.PathLike[str]) -> Iterator[Callable[[np.ndarray], None]]:
        """Write a file, which appears when the block has succeeded.

        Args:
            path: The file; its folder must exist.

        Yields:
            The function that appends a page, as `images` and `drawing` make it; all of one size, at least one.

        Raises:
            UserError: If the file cannot be written.
        """
        with atomic_write(path) as partial:
            if self._kind == "mp4":
                with _mp4(path, partial, self.fps) as add:
                    yield add
                return
            pages: list[np.ndarray] = []
            yield pages.append
            partial.write_bytes(self._packed(pages))

    def _packed(self, pages: Sequence[np.ndarray]) -> bytes:
        """Make a GIF or WebP: Pillow takes all pages at once."""
        # Whole milliseconds that add up to the true rate; those of a GIF are multiples of 10.
        ends = [round(1000 * shown / self.fps) for shown in range(len(pages) + 1)]
        options: dict[str, Any] = {"duration": np.diff(ends).tolist()} | ({"loop": 0} if self._loop else {})
        if self._palette is None:
            options |= {"quality": 88, **WEBP, "loop": 0 if self._loop else 1}
        else:
            colours = self._palette.colours.tobytes()
            # Pixels that do not change are written as transparent, which compresses better.
            options |= {"mode": "P", "palette": colours, "optimize": True, "transparency": TRANSPARENT}
        # In memory, as imageio writes what failed a second time when it is collected.
        file = io.BytesIO()
        with iio.imopen(file, "w", plugin="pillow", extension=f".{self._kind}") as opened:
            writer: Any = opened  # its plugin's own methods
            for page in pages:
                writer.write(page, is_batch=False, **options)
                if self._palette is not None:
                    # Without its colours Pillow would look for them, for 40 ms a page.
                    writer.images_to_write[-1].putpalette(colours)
        return file.getvalue()


@contextlib.contextmanager
def _mp4(path: str | os.PathLike[str], partial: Path, fps: float) -> Iterator[Callable[[np.ndarray], None]]:
    """Write frames through a pipe to ffmpeg as they come."""
    failed = f"Cannot write {path}: ffmpeg could not finish it, as on a full disk. Free some space, or write elsewhere."
    rate: Any = Fraction(fps).limit_denominator(1001)
    writer = get_writer(
        partial, format="FFMPEG", mode="I", fps=rate, codec="libx264", pixelformat="yuv420p", quality=None,
        macro_block_size=2, ffmpeg_log_level="quiet", output_params=_FFMPEG.split(),
    )  # fmt: skip

    def add(page: np.ndarray) -> None:
        # The format wants an even height and width: a line of paper makes them so.
        odd = [(0, page.shape[0] % 2), (0, page.shape[1] % 2), (0, 0)]
        try:
            writer.append_data(np.pad(page, odd, constant_values=PAPER[0]))
        except OSError as error:
            raise UserError(failed) from error

    try:  # Used as a context manager, the writer stays open after an error.
        yield add
    finally:
        writer.close()
    # imageio does not say when ffmpeg failed. The index comes to the front when all else has been written.
    with partial.open("rb") as file:
        if b"moov" not in file.read(64):
            raise UserError(failed)


def overlapped(items: Iterable[_Item], consume: Callable[[_Item], object]) -> None:
    """Go through items in this thread, and use each of them in another one, in order.

    When the consumer falls behind, the source waits, so what is kept does not grow. An exception of either side,
    Ctrl-C included, ends the other one before it is passed on: nothing is running any more when this returns.

    Args:
        items: Made here, one after the other.
        consume: Called with each in the other thread, with one at a time.
    """
    waiting: deque[Future[object]] = deque()
    with ThreadPoolExecutor(1, thread_name_prefix="encode") as worker:
        try:
            for item in items:
                waiting.append(worker.submit(consume, item))
                del item
                if len(waiting) > AHEAD:
                    waiting.popleft().result()
            for left in waiting:
                left.result()
        finally:
            # Without this, what waits would still be consumed after an error.
            worker.shutdown(cancel_futures=True)


def write_animations(scene: Scene, kind: Animation, page: PlannedPage) -> None:
    """Write the animations of a page side by side; each file appears when it is complete.

    Args:
        scene: What to show.
        kind: The format of the animations.
        page: The directions, and where they go.
    """
    settings, sizes = scene.settings, [scene.path_size(index) for index in page.rows]
    assert settings.motion is not None
    loop = settings.loop is True
    pixels = _look_ahead(scene, page, sizes) if kind == "gif" or page.sheet is not None else None
    encoder = Encoder(kind, settings.rate, loop=loop, pixels=pixels)
    trip = there_and_back if loop else one_way
    amounts = [trip(settings.frames, size, settings.motion) for size in sizes]
    shows = [[page.rows.index(row) for row in rows] for rows in page.shows.values()]
    grids = [page_of(scene, rows) for rows in page.shows.values()]
    blanks = [encoder.drawing(grid.blank) for grid in grids]
    with contextlib.ExitStack() as stack:
        adders = [stack.enter_context(encoder.open(path)) for path in page.shows]

        def encode(step: tuple[np.ndarray, np.ndarray]) -> None:
            images, places = step
            tiles = encoder.images(enlarge(images, scene.scale))
            for rows, grid, blank, add in zip(shows, grids, blanks, adders, strict=True):
                filled = grid.lay(blank, tiles[rows])
                if settings.captions == "amount":
                    for number, row in enumerate(rows):
                        grid.write_detail(filled, number, _amount(places[row]), encoder.drawing)
                add(filled)

        overlapped(zip(scene.images(page.rows, amounts), np.stack(amounts, axis=1), strict=True), encode)


def _look_ahead(scene: Scene, page: PlannedPage, sizes: Sequence[float]) -> np.ndarray:
    """Make stills along the whole paths: for the contact sheet, and as a sample of colours."""
    stills = list(scene.images(page.rows, [strip(COLUMNS, size) for size in sizes]))
    if page.sheet is not None:
        # Of one z, a row is a step: both ends and the centre are enough.
        write_strip(page.sheet, scene, page.rows, stills[:: COLUMNS // 2 if scene.settings.one_z else 1], samples=1)
    every = max(1, COLUMNS * stills[0].size // 3 // _SAMPLED_PIXELS)
    return np.concatenate([images.reshape(-1, 3)[::every] for images in stills])


def page_of(scene: Scene, indices: Sequence[int]) -> Page:
    """Lay out the page that shows some directions, a row each."""
    captions = [row_caption(scene.directions.names[index], scene.path_size(index)) for index in indices]
    if scene.settings.captions == "amount":  # The widest that they will be, so that the page has room.
        widest = [_amount(-scene.path_size(index)) for index in indices]
        captions = [RowCaption(caption.name, text) for caption, text in zip(captions, widest, strict=True)]
    bare = scene.settings.captions == "none"
    headings = scene.class_captions * (len(scene.groups) or 1)
    return Page(captions, scene.columns, scene.tile, headings, groups=scene.groups, bare=bare)


def _amount(amount: float) -> str:
    return f"step {amount:+.2f}"
