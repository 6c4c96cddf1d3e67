"""The model card of a direction file, written from its header.

Before the commit that ``push.py`` makes. Names and notes are other people's text: nothing in them becomes Markdown,
HTML or YAML.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from directions.direction_file import Directions
from directions.errors import UserError

_TEMPLATE = Path(__file__).with_name("card.md.j2")
_LICENSE = re.compile(r"[a-z0-9][a-z0-9.+-]{0,63}")
_SCORES = {"before": "before", "after": "after", "random": "random directions", "axes": "axes of z"}


def write_card(
    directions: Directions,
    repository: str,
    *,
    pictures: Sequence[str] = (),
    license_name: str | None = None,
) -> str:
    """Write the card.

    Args:
        directions: What it is about.
        repository: ``owner/name`` on the Hub.
        pictures: Paths in the repository of the pictures to show.
        license_name: As the Hub writes licenses, such as ``mit``; ``None`` names none.

    Returns:
        Markdown with YAML front matter.

    Raises:
        UserError: If the license is not a word.

    References:
        The Hub's documentation of model cards.
    """
    from jinja2 import Environment, StrictUndefined

    if license_name is not None and not _LICENSE.fullmatch(license_name):
        raise UserError(
            f"license must be one word as the Hub writes it, such as mit or cc-by-4.0, got {license_name!r}."
        )
    # Not HTML, so Jinja's own escaping would be the wrong one; every value from a header goes through a filter.
    environment = Environment(
        undefined=StrictUndefined, autoescape=False, keep_trailing_newline=True, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"text": as_text, "code": as_code}
    header = directions.header
    entries = [entry | {"index": index} for index, entry in enumerate(header["directions"])]
    shown = [entries[index] for index in directions.order if not entries[index]["hidden"]]
    return environment.from_string(_TEMPLATE.read_text(encoding="utf-8")).render(
        title=f"Directions of {directions.generator}",
        repository=repository,
        license=license_name,
        generator=header["generator"],
        directions=entries,
        shown=shown,
        hidden=len(entries) - len(shown),
        noted=any(entry["note"] for entry in shown),
        pictures=[{"path": path, "alt": _alternative(path)} for path in pictures],
        facts=_facts(header),
    )


def as_text(value: object) -> str:
    r"""Keep Markdown and HTML from reading anything into text.

    Args:
        value: What to show.

    Returns:
        One line, with a backslash before each character that means something to Markdown; & and < as entities.

    Example:
        >>> print(as_text("a|b <i>*c*"))
        a\|b &lt;i\>\*c\*
    """
    line = " ".join(str(value).split())
    escaped = re.sub(r"([\\`*_{}\[\]()#+!|>~$])", r"\\\1", line)
    return escaped.replace("&", "&amp;").replace("<", "&lt;")


def as_code(value: object) -> str:
    """Keep text from ending the code that it stands in."""
    return " ".join(str(value).split()).replace("`", "'")


def _alternative(path: str) -> str:
    """Say what is on a picture."""
    return "What each direction does to some samples" if "overview" in path else "Stills along each direction"


def _facts(header: dict[str, Any]) -> list[tuple[str, str]]:
    """What is known of where the directions come from."""
    start, stop = header["space"]
    layers, classes, penalty = header["layers"], header["classes"], header["penalty"] or {}
    scores = ", ".join(f"{label} {penalty[key]:.4g}" for key, label in _SCORES.items() if _is_number(penalty.get(key)))
    facts = {
        "generator": header["generator"]["name"],
        "SHA-256 of its weights": header["generator"]["digest"] or "unknown",
        "method": header["method"],
        "steps": header["steps"],
        "seed": header["seed"],
        "truncation": header["truncation"],
        "classes": ", ".join(map(str, classes)) if isinstance(classes, list) else classes,
        "components of z": f"{start} to {stop - 1}",
        "layers": None if layers is None else f"{layers[0]} to {layers[-1]}",
        "held-out Hessian penalty": scores or None,
        "found with": f"biggan-directions {header['tool_version']}",
    }
    return [(key, str(value)) for key, value in facts.items() if value is not None]


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
