"""How large a picture of each format can be: asked before the generator works, and by the writers once more.

Under ``gif.py``, ``webp.py`` and ``mp4.py``, which write them.
"""

from __future__ import annotations

from directions.errors import UserError

_LARGEST = {
    "gif": (65535, "A GIF can be at most 65535 pixels wide and high,"),
    "webp": (16383, "A WebP can be at most 16383 pixels wide and high,"),
    # The format holds more; this much decoders in browsers and phones are sure to take.
    "mp4": (4096, "An MP4 should be at most 4096 pixels wide and high, or many players refuse it;"),
}
"""For each format, the pixels to a side, and the same in words."""


def require_size(kind: str, height: int, width: int) -> None:
    """Refuse a picture that a format cannot hold.

    Args:
        kind: ``gif``, ``webp`` or ``mp4``.
        height: In pixels.
        width: In pixels.

    Raises:
        UserError: If it is too large.
    """
    largest, allowed = _LARGEST[kind]
    if max(height, width) > largest:
        raise UserError(f"{allowed} got {width} × {height}. Render fewer directions or samples, or at a smaller scale.")
