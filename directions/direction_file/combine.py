"""Make a new set of directions of existing ones: some of one set, or several sets of the same generator in one.

After ``file.py``, whose objects come in and go out. A direction keeps its row, its name and what was measured of it
alone; what was measured of its whole old set (the penalty, shares of it) stays behind when sets are merged, and is told
in the new header's ``source``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

import numpy as np

from directions.basis import check_orthonormal
from directions.direction_file.annotations import DEFAULTS, begin_history
from directions.direction_file.file import Directions
from directions.direction_file.lookup import Key, keys_of
from directions.errors import UserError

SameNames = Literal["number", "refuse"]
"""What to do with a name that an earlier direction has: append a number to it, or give up."""

MERGED = "merged"
"""The ``method`` of merged directions."""

TOLERANCE = 1e-4
"""Largest product of two rows that still counts as perpendicular; the same as for a file."""

_KEPT = ("name", "path_size", "activeness", *DEFAULTS)
_LONGEST_NAME = 64


def select(directions: Directions, keys: Key | Sequence[Key], *, label: str) -> Directions:
    """Take some directions, in the order given, and say in the history where they come from.

    Args:
        directions: What to take from.
        keys: Which, by index or name.
        label: What to call the old set in the history, such as the name of its file.

    Returns:
        Those directions, with the indices 0, 1, … in that order.

    Raises:
        UserError: If there is no such direction, or one is taken twice, or none is taken.
    """
    wanted = keys_of(keys)
    if not wanted:
        raise UserError("There is no direction to select. Give at least one index or name.")
    chosen = directions[wanted]
    taken = ", ".join(str(directions.index(key)) for key in wanted)
    what = f"selected {taken} of the {len(directions)} directions of {label}"
    return Directions(chosen.matrix, begin_history(chosen.header, what))


def merge(
    sets: Mapping[str, Directions], *, orthonormalise: bool = False, same_names: SameNames = "number"
) -> Directions:
    """Put several sets of directions of one generator together.

    Args:
        sets: At least two, in order, each under what to call it in messages and in the header.
        orthonormalise: Make directions that are not perpendicular so: each is taken less its projection on those
            before it, which turns it (the header says how far).
        same_names: ``"number"`` makes ``hue`` ``hue 2`` where there is a ``hue`` already; ``"refuse"`` does not.

    Returns:
        All of them. What differs between the sets and describes all of a file is widened (classes, space) or left
        open (truncation); ``method`` is ``"merged"`` and ``source`` says for each set how it was found.

    Raises:
        UserError: If the sets are of different generators or act on different layers, are not perpendicular to each
            other (the message names the two directions that are least so), or have a name twice and are not to.
    """
    if same_names not in get_args(SameNames):
        raise UserError(f"same_names must be number or refuse, got {same_names!r}.")
    if len(sets) < 2:
        raise UserError(f"Merging needs at least two sets of directions, got {len(sets)}.")
    headers = {label: part.header for label, part in sets.items()}
    _check_same_generator(sets)
    _check_same(headers, "layers")
    matrix = np.concatenate([part.matrix for part in sets.values()]).astype(np.float64)
    places = [(label, index) for label, part in sets.items() for index in range(len(part))]
    said = [f"{index} ({sets[label].names[index]!r}) of {label}" for label, index in places]
    if len(matrix) > matrix.shape[1]:
        raise UserError(
            f"These are {len(matrix)} directions, but z has {matrix.shape[1]} components, so not all can be "
            "perpendicular. Take fewer: directions select."
        )
    turns = None
    if orthonormalise:
        matrix, turns = _orthonormalised(matrix, said)
    else:
        _check_perpendicular(matrix, said)
    names = _unique([sets[label].names[index] for label, index in places], said, same_names)
    entries = []
    for (label, index), name in zip(places, names, strict=True):
        entry = headers[label]["directions"][index]
        entries.append({key: entry.get(key) for key in _KEPT} | {"name": name, "penalty_share": None})
    header = _merged_header(headers) | {"directions": entries}
    if turns is not None:
        header["source"]["largest_turn_degrees"] = round(float(turns.max()), 3)
    counts = ", ".join(f"{label} ({len(part)})" for label, part in sets.items())
    return Directions(matrix, begin_history(header, f"merged from {counts}"))


def _check_same_generator(sets: Mapping[str, Directions]) -> None:
    """Refuse sets whose z or weights are not the same."""
    (first_label, first), *others = sets.items()
    one = first.header["generator"]
    for label, part in others:
        other = part.header["generator"]
        known = bool(one["digest"] and other["digest"])
        same = one["digest"] == other["digest"] if known else one["name"] == other["name"]
        if not same or one["dim_z"] != other["dim_z"]:
            raise UserError(
                f"Directions of different generators cannot be merged: {first_label} is for {one['name']!r} "
                f"(|z| {one['dim_z']}, weights {one['digest'][:12] or '?'}), {label} for {other['name']!r} "
                f"(|z| {other['dim_z']}, weights {other['digest'][:12] or '?'})."
            )


def _check_same(headers: Mapping[str, Mapping[str, Any]], key: str) -> None:
    """Refuse sets that differ in what holds for a whole file."""
    (first_label, first), *others = headers.items()
    for label, header in others:
        if header[key] != first[key]:
            raise UserError(
                f"Directions that act on different {key} cannot be in one file: {first_label} has {first[key]}, "
                f"{label} has {header[key]} (None is all)."
            )


def _check_perpendicular(matrix: np.ndarray, said: Sequence[str]) -> None:
    """Refuse rows that are not, and name the two that are least so."""
    if check_orthonormal(matrix, TOLERANCE) is None:
        return
    products = matrix @ matrix.T
    np.fill_diagonal(products, 0.0)
    first, second = sorted(int(index) for index in np.unravel_index(np.abs(products).argmax(), products.shape))
    degrees = float(np.degrees(np.arccos(min(1.0, abs(products[first, second])))))
    raise UserError(
        f"Directions {said[first]} and {said[second]} are not perpendicular: the cosine between them is "
        f"{products[first, second]:.4g} ({degrees:.3g} degrees apart). Leave one of them out with directions select, "
        "or turn the later ones with orthonormalise (--orthonormalise)."
    )


def _orthonormalised(matrix: np.ndarray, said: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Apply Gram–Schmidt in order; also return by how many degrees each row was turned."""
    columns, triangle = np.linalg.qr(matrix.T)
    diagonal = triangle.diagonal()
    # |R_ii| is the sine of the angle between a row and the span of those before it, as rows have length 1.
    if np.abs(diagonal).min() < 1e-3:
        row = int(np.argmax(np.abs(diagonal) < 1e-3))
        raise UserError(
            f"Direction {said[row]} lies in the span of those before it, so that Gram–Schmidt leaves nothing of it. "
            "Leave it out: directions select."
        )
    basis = columns.T * np.sign(diagonal)[:, None]
    return basis, np.degrees(np.arccos(np.clip((basis * matrix).sum(axis=1), -1.0, 1.0)))


def _unique(names: Sequence[str], said: Sequence[str], same_names: SameNames) -> list[str]:
    """Make names unique: the first of a name keeps it."""
    taken: dict[str, int] = {}
    reserved = set(names)
    for index, name in enumerate(names):
        if name not in taken:
            taken[name] = index
            continue
        if same_names == "refuse":
            raise UserError(
                f"Directions {said[taken[name]]} and {said[index]} have the same name. Rename one with directions "
                "name, or have numbers appended: --same-names number."
            )
        number = 2
        while (new := _numbered(name, number)) in taken or new in reserved:
            number += 1
        taken[new] = index
    return list(taken)


def _numbered(name: str, number: int) -> str:
    """Append a number to a name, which stays within what a name may be."""
    suffix = f" {number}"
    return name[: _LONGEST_NAME - len(suffix)].rstrip() + suffix


def _merged_header(headers: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Say of all sets together what can be said; the rest goes to the source."""
    parts = list(headers.values())
    first = dict(parts[0])
    first.pop("joint", None)
    digests = [part["generator"] for part in parts if part["generator"]["digest"]]
    truncations = {part["truncation"] for part in parts}
    told = ("method", "steps", "seed", "truncation", "classes", "space", "penalty", "config", "source", "tool_version")
    return first | {
        "generator": digests[0] if digests else first["generator"],
        "classes": _all_classes([part["classes"] for part in parts]),
        "truncation": first["truncation"] if len(truncations) == 1 else None,
        "space": [min(part["space"][0] for part in parts), max(part["space"][1] for part in parts)],
        "method": MERGED,
        "config": {},
        "steps": None,
        "seed": None,
        "penalty": None,
        "order": None,
        "source": {
            MERGED: [
                {"set": label, "ndirs": len(part["directions"])} | {key: part[key] for key in told}
                for label, part in headers.items()
            ]
        },
    }


def _all_classes(classes: Sequence[Any]) -> Any:
    """Return the classes of any of the sets."""
    listed = sorted({index for entry in classes if isinstance(entry, list) for index in entry})
    if "all" in classes or not listed:
        return "all" if "all" in classes else None
    return listed
