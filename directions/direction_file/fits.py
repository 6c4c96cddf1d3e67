"""Whether directions were found in the generator that they are to move.

Asked by rendering, evaluation and other code, through `directions.Directions.require_fits`, before any image is
made.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from directions.direction_file.header import DescribesGenerator


def generator_misfit(header: Mapping[str, Any], generator: DescribesGenerator) -> str | None:
    """Say why directions do not belong to a generator.

    Args:
        header: Theirs.
        generator: What is to be moved along them.

    Returns:
        The reason, or ``None``. Where both have a digest of the weights it decides, otherwise the name does.
    """
    own = header["generator"]
    if generator.dim_z != own["dim_z"]:
        return (
            f"These directions are for |z| = {own['dim_z']} (generator {own['name']!r}), but the generator "
            f"{generator.name!r} has |z| = {generator.dim_z}. Load {own['name']!r}, or give directions found in "
            f"{generator.name!r}."
        )
    if own["digest"] and generator.digest:
        if own["digest"] != generator.digest:
            return (
                f"These directions were found in {own['name']!r} with the weights {own['digest'][:12]}…, but the "
                f"generator {generator.name!r} has the weights {generator.digest[:12]}…. Load the same weights."
            )
    elif own["name"] != generator.name:
        return (
            f"These directions were found in {own['name']!r}, not in {generator.name!r}. Load {own['name']!r}, or "
            f"give directions found in {generator.name!r}."
        )
    return None
