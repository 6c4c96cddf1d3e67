"""What a notebook shows of directions: a table with bars, and a picture of a path.

Called by `directions.Directions`. Names and notes are text, whatever they hold.
"""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

import numpy as np

from directions.direction_file.records import Records

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

_LEFT = "text-align:left"
_RIGHT = "text-align:right"
_BAR = "display:inline-block;height:0.7em;background:currentColor;opacity:0.45"
_BAR_WIDTH = 8.0
_GAP = 2


def html_table(records: Records, shape: tuple[int, ...]) -> str:
    """Lay directions out as a table, in their order, with bars for activeness.

    Args:
        records: What is known of them.
        shape: (ndirs, dim_z).

    Returns:
        HTML without scripts or style sheets, whose colours are those of the page it is put into.
    """
    header = records.header
    entries = header["directions"]
    largest = max((entry["activeness"] or 0.0 for entry in entries), default=0.0)
    share, note = any(entry["penalty_share"] is not None for entry in entries), any(records.notes)
    heads = ["", "name", "activeness", "path size", *(["penalty share"] * share), *(["note"] * note)]
    lines = [
        "<table style='color:inherit'>",
        f"<caption style='{_LEFT}'>{_caption(records, shape)}</caption>",
        "<thead><tr>",
    ]
    lines += [f"<th style='{_LEFT}'>{head}</th>" for head in heads]
    lines.append("</tr></thead><tbody>")
    for index in records.order:
        entry = entries[index]
        cells = [
            f"<td style='{_RIGHT}'>{index}</td>",
            f"<td style='{_LEFT}'>{'★ ' * entry['starred']}{escape(entry['name'])}{' (hidden)' * entry['hidden']}</td>",
            f"<td style='{_LEFT};white-space:nowrap'>{_bar(entry['activeness'], largest)}</td>",
            f"<td style='{_RIGHT}'>{entry['path_size']:g}</td>",
        ]
        if share:
            value = entry["penalty_share"]
            cells.append(f"<td style='{_RIGHT}'>{'' if value is None else f'{value:.1%}'}</td>")
        if note:
            cells.append(f"<td style='{_LEFT};white-space:pre-wrap'>{escape(entry['note'])}</td>")
        lines.append(f"<tr{' style=opacity:0.5' * entry['hidden']}>{''.join(cells)}</tr>")
    return "\n".join([*lines, "</tbody></table>"])


def strip_picture(images: Tensor) -> Image:
    """Lay images out, a row a sample and a column a step.

    Args:
        images: (steps, samples, 3, height, width) in [-1, 1]; what is outside is clipped.

    Returns:
        An RGB picture; notebooks show it by themselves.
    """
    from PIL import Image as Pictures

    levels = ((images.detach().float().cpu() + 1) * 127.5 + 0.5).clamp(0, 255).floor().byte().numpy()
    steps, samples, _, height, width = levels.shape
    page = np.full((samples * (height + _GAP) - _GAP, steps * (width + _GAP) - _GAP, 3), 255, np.uint8)
    for step in range(steps):
        for sample in range(samples):
            top, left = sample * (height + _GAP), step * (width + _GAP)
            page[top : top + height, left : left + width] = levels[step, sample].transpose(1, 2, 0)
    return Pictures.fromarray(page)


def _caption(records: Records, shape: tuple[int, ...]) -> str:
    """Say what they are of."""
    header = records.header
    parts = [f"{shape[0]} directions of {escape(records.generator)}", f"|z| {shape[1]}"]
    if records.layers is not None:
        parts.append(f"layers {records.layers[0]} to {records.layers[-1]}")
    parts.append(f"method {escape(header['method'])}")
    return " · ".join(parts)


def _bar(value: float | None, largest: float) -> str:
    """A bar and the number; nothing where it was not measured."""
    if value is None:
        return ""
    width = _BAR_WIDTH * max(0.0, value) / largest if largest else 0.0
    return f"<span style='{_BAR};width:{width:.2f}em'></span> {value:.3g}"
