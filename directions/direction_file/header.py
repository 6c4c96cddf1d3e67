"""What a direction file says about itself, and the checks that it is sound.

Discovery makes a header here once it is done; ``file.py`` checks every matrix and header here, whether they
were just made or come from a file. A check gives the reason why something is wrong, or ``None``, and leaves it to the
caller to raise. It does without torch.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from directions import __version__
from directions.basis import check_orthonormal
from directions.direction_file.annotations import DEFAULTS, annotation_fault, history_fault, order_fault
from directions.direction_file.lookup import short
from directions.errors import UserError

FORMAT_VERSION = 2
"""Version of the layout that this release writes: 2 has annotations, a history and a checksum."""

READABLE_VERSIONS = (1, 2)
"""Versions that it reads; an older one becomes the newest in memory, and in the file when that is written again."""


class DescribesGenerator(Protocol):
    """What a header keeps of a generator; each is an attribute of every generator."""

    name: str
    digest: str
    dim_z: int
    resolution: int


def make_header(
    generator: DescribesGenerator,
    *,
    path_sizes: Sequence[float],
    classes: Sequence[int] | str | None,
    truncation: float | None,
    space: tuple[int, int],
    method: str,
    config: Mapping[str, Any],
    steps: int | None,
    seed: int | None,
    penalty: Mapping[str, Any] | None,
    names: Sequence[str] | None = None,
    activeness: Sequence[float | None] | None = None,
    penalty_shares: Sequence[float | None] | None = None,
    layers: Sequence[int] | None = None,
    source: Mapping[str, Any] | None = None,
    joint: Mapping[str, Any] | None = None,
    joint_columns: Mapping[str, Sequence[Any]] | None = None,
) -> dict[str, Any]:
    """Put together the header of a new set of directions.

    Args:
        generator: The generator that the directions belong to.
        path_sizes: For each direction, how far it is worth going to either side, in latent units.
        classes: The classes that were used, ``"all"``, or ``None`` for a generator without classes.
        truncation: Truncation in (0, 1], or ``None`` where it has no meaning.
        space: First and one past the last z component that was searched.
        method: How the directions were found: ``"adam"``, ``"joint"`` or ``"joint+adam"``.
        config: All settings of the method.
        steps: Number of training steps, or ``None`` for a method without steps.
        seed: Seed of the search, or ``None``.
        penalty: Held-out penalty, at least ``before`` and ``after``, or ``None`` if it was not measured.
        names: A name for each direction; ``None`` names them ``d0``, ``d1``, …
        activeness: For each direction, how much it changes the images, or ``None``.
        penalty_shares: For each direction, the share of the penalty that it takes part in, or ``None``.
        layers: The generator layers that the directions act on, in order and without gaps; ``None`` for all.
        source: Where converted directions come from, or ``None``.
        joint: What is known about the joint solution that the directions are or started from; ``None`` leaves the key
            out.
        joint_columns: ``confidence`` and ``undetermined``, a value for each direction
            (`directions.joint.solve.JointSolution.columns`); ``None`` leaves them out.

    Returns:
        The header, for `directions.Directions`, which checks it.
    """
    number = len(path_sizes)
    columns: dict[str, Sequence[Any]] = {
        "name": names if names is not None else [f"d{index}" for index in range(number)],
        "path_size": path_sizes,
        "activeness": activeness if activeness is not None else [None] * number,
        "penalty_share": penalty_shares if penalty_shares is not None else [None] * number,
    }
    columns |= {key: [value] * number for key, value in DEFAULTS.items()} | dict(joint_columns or {})
    header = {
        "format_version": FORMAT_VERSION,
        "tool_version": __version__,
        "generator": {key: getattr(generator, key) for key in ("name", "digest", "dim_z", "resolution")},
        "classes": classes,
        "truncation": truncation,
        "space": space,
        "layers": layers,
        "method": method,
        "config": config,
        "steps": steps,
        "seed": seed,
        "penalty": penalty,
        "directions": [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)],
        "source": source,
        "order": None,
        "history": [],
    }
    return header if joint is None else header | {"joint": joint}


def as_json(header: Mapping[str, Any]) -> dict[str, Any]:
    """Copy a header through JSON, so that it is equal to what a file gives back.

    Args:
        header: Mappings, sequences, text, finite numbers (NumPy's too), booleans and ``None``.

    Returns:
        A deep copy with lists for tuples and plain numbers.

    Raises:
        UserError: If something in it cannot be written as JSON.
    """
    try:
        copy: dict[str, Any] = json.loads(json.dumps(dict(header), allow_nan=False, default=_plain))
    except (TypeError, ValueError) as error:
        raise UserError(f"The header must hold what JSON can: {error}. Use finite numbers, text, lists.") from error
    return copy


def upgraded(header: Mapping[str, Any]) -> dict[str, Any]:
    """Bring a header to the newest format.

    Args:
        header: Of any readable format, as JSON gives it, sound or not.

    Returns:
        The header with what its format had not; the same if its format cannot be read.
    """
    version = header.get("format_version")
    if not _whole(version) or version not in READABLE_VERSIONS:
        return dict(header)
    new = {"order": None, "history": []} | dict(header) | {"format_version": FORMAT_VERSION}
    if isinstance(new.get("directions"), list):
        new["directions"] = [{**DEFAULTS, **entry} if isinstance(entry, dict) else entry for entry in new["directions"]]
    return new


def matrix_fault(matrix: np.ndarray) -> str | None:
    """Say why a matrix is not a set of directions.

    Args:
        matrix: One direction a row.

    Returns:
        The reason, or ``None`` if the rows are finite and orthonormal (to 1e-4; float32 rows are to about 1e-6).
    """
    reason = check_orthonormal(matrix)
    if reason is None:
        return None
    if not np.isfinite(matrix).all():
        return f"{reason}. Every number must be finite; find the directions again."
    return f"{reason}. The rows must be orthonormal; make them so with directions.gram_schmidt."


def header_fault(header: Mapping[str, Any], matrix: np.ndarray) -> str | None:
    """Say why a header is not sound, or does not belong to a matrix.

    Args:
        header: As `as_json` or a file gives it.
        matrix: (ndirs, dim_z), one direction a row.

    Returns:
        The first reason, or ``None``.
    """
    version = header.get("format_version")
    if not _whole(version) or version != FORMAT_VERSION:
        newer = isinstance(version, int) and version > FORMAT_VERSION
        hint = "Upgrade biggan-directions." if newer else "Save it again with directions.Directions."
        return f"its format_version must be {' or '.join(map(str, READABLE_VERSIONS))}, got {short(version)}. {hint}"
    for key, (fits, allowed) in _FIELDS.items():
        if key not in header:
            return f"its header lacks {key!r}. Make it with directions.direction_file.header.make_header."
        if not fits(header[key]):
            return f"its header's {key!r} must be {allowed}, got {short(header[key])}."
    if not isinstance(header.get("joint", {}), dict):
        return f"its header's 'joint' must be an object, got {short(header['joint'])}."
    return (
        _generator_fault(header, matrix)
        or _entries_fault(header["directions"], len(matrix))
        or order_fault(header["order"], len(matrix))
        or history_fault(header["history"])
    )


def _generator_fault(header: Mapping[str, Any], matrix: np.ndarray) -> str | None:
    """Check what the header says of z against the matrix."""
    dim_z = header["generator"].get("dim_z")
    if dim_z != matrix.shape[1]:
        return f"its header says |z| = {short(dim_z)}, but its rows have {matrix.shape[1]} numbers."
    for key in ("name", "digest"):
        if not isinstance(header["generator"].get(key), str):
            return f"its header's generator {key} must be text, got {short(header['generator'].get(key))}."
    start, stop = header["space"]
    if not 0 <= start < stop <= dim_z:
        return f"its header's search space {start}:{stop} must lie in 0:{dim_z} and not be empty."
    if np.any(matrix[:, :start]) or np.any(matrix[:, stop:]):
        return f"its header says that only z components {start}:{stop} move, but its rows are not zero elsewhere."
    return None


def _entries_fault(entries: Sequence[Any], ndirs: int) -> str | None:
    """Check the header's list of directions."""
    if len(entries) != ndirs:
        return f"its header describes {len(entries)} directions, but its matrix has {ndirs} rows."
    seen: dict[str, int] = {}
    for index, entry in enumerate(entries):
        if not isinstance(entry, dict):
            return f"the entry of direction {index} must be an object, got {short(entry)}."
        fault = annotation_fault(index, entry)
        if fault:
            return fault
        name = entry["name"]
        if name in seen:
            return f"directions {seen[name]} and {index} have the same name, {name!r}; names must be unique."
        seen[name] = index
        for key in ("activeness", "penalty_share", "confidence"):
            if not _optional(_number)(entry.get(key)):
                return f"the {key} of direction {index} must be a number or null, got {short(entry[key])}."
    return None


def _plain(value: Any) -> Any:
    """Turn NumPy's numbers and arrays into Python's for JSON."""
    if isinstance(value, (np.generic, np.ndarray)):
        return value.tolist()
    raise TypeError(f"{value!r} is a {type(value).__name__}")


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _optional(fits: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: value is None or fits(value)


def _indices(value: Any) -> bool:
    return isinstance(value, list) and len(value) > 0 and all(_whole(item) and item >= 0 for item in value)


def _run(value: Any) -> bool:
    return _indices(value) and value == list(range(value[0], value[0] + len(value)))


_FIELDS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "tool_version": (lambda value: isinstance(value, str), "text"),
    "generator": (lambda value: isinstance(value, dict), "an object"),
    "classes": (lambda value: value in (None, "all") or _indices(value), "a list of class indices, 'all' or null"),
    "truncation": (_optional(lambda value: _number(value) and 0 < value <= 1), "a number in (0, 1] or null"),
    "space": (lambda value: _indices(value) and len(value) == 2, "two z indices, [start, stop]"),
    "layers": (_optional(_run), "a list of layer indices without gaps or null"),
    "method": (lambda value: isinstance(value, str), "text"),
    "config": (lambda value: isinstance(value, dict), "an object"),
    "steps": (_optional(lambda value: _whole(value) and value >= 0), "a whole number of at least 0 or null"),
    "seed": (_optional(_whole), "a whole number or null"),
    "penalty": (_optional(lambda value: isinstance(value, dict)), "an object or null"),
    "directions": (lambda value: isinstance(value, list), "a list"),
    "source": (_optional(lambda value: isinstance(value, dict)), "an object or null"),
    "order": (_optional(_indices), "a list of indices or null"),
    "history": (lambda value: isinstance(value, list), "a list"),
}
"""What each header field must be: a predicate, and the same in words."""
