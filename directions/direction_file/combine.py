"""A new set of directions of existing ones: some of one set, or several sets of one generator in one.

A direction keeps its row, its name and what was measured of it alone; what was measured of its whole old set (the
penalty, shares of it) stays behind when sets are merged, and stands in the new header's ``source``.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np

from directions.basis import check_orthonormal
from directions.direction_file.annotate import begin_history, sized_by_hand
from directions.direction_file.file import Directions, Key
from directions.direction_file.format import DEFAULTS, LONGEST_NAME, digests_of
from directions.errors import UserError

SameNames = Literal["number", "refuse"]
"""What to do with a name that an earlier direction has: append a number to it, or give up."""

_KEPT = ("name", "path_size", "activeness", *DEFAULTS)
_OF_A_RUN = ("joint", "first", "plan")  # which are told of one set, not of several
_TOLD = ("method", "steps", "seed", "truncation", "classes", "space", "penalty", "config", "source", "tool_version")


def select(directions: Directions, keys: Key | Sequence[Key], *, label: str) -> Directions:
    """Take some directions, in the order given, and say in the history where they come from.

    Args:
        directions: What to take from.
        keys: Which, by index or name.
        label: What to call the old set in the history, such as the name of its file.

    Returns:
        Those directions, with the indices 0, 1, … in that order; as for `directions.Directions.__getitem__` otherwise.
    """
    chosen = directions[keys]
    taken = [directions.index(name) for name in chosen.names]
    sized = sized_by_hand(directions.header)
    what = f"selected {', '.join(map(str, taken))} of the {len(directions)} directions of {label}"
    by_hand = [place for place, index in enumerate(taken) if index in sized]
    return Directions(chosen.matrix, begin_history(chosen.header, what, by_hand))


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
    if len(sets) < 2:
        raise UserError(f"Merging needs at least two sets of directions, got {len(sets)}.")
    headers = {label: part.header for label, part in sets.items()}
    _check_alike(headers, next(iter(sets.values())).generator)
    matrix = np.concatenate([part.matrix for part in sets.values()]).astype(np.float64)
    said = [f"{index} ({name!r}) of {label}" for label, part in sets.items() for index, name in enumerate(part.names)]
    if len(matrix) > matrix.shape[1]:
        many = f"These are {len(matrix)} directions, but z has {matrix.shape[1]} components"
        raise UserError(f"{many}, so not all can be perpendicular. Take fewer: directions select.")
    header = _merged_header(headers)
    if orthonormalise:
        matrix, header["source"]["largest_turn_degrees"] = _orthonormalised(matrix, said)
    else:
        _check_perpendicular(matrix, said)
    entries = [entry for part in headers.values() for entry in part["directions"]]
    names = _unique([entry["name"] for entry in entries], said, same_names)
    header["directions"] = [
        {key: entry[key] for key in _KEPT} | {"name": name, "penalty_share": None}
        for entry, name in zip(entries, names, strict=True)
    ]
    counts = ", ".join(f"{label} ({len(part)})" for label, part in sets.items())
    sized = [index in sized_by_hand(part) for part in headers.values() for index in range(len(part["directions"]))]
    by_hand = [place for place, written in enumerate(sized) if written]
    return Directions(matrix, begin_history(header, f"merged from {counts}", by_hand))


def _check_alike(headers: Mapping[str, Mapping[str, Any]], reference: str) -> None:
    """Refuse sets whose z, weights or layers are not the same."""
    (first_label, first), *others = headers.items()
    for label, header in others:
        one, other = first["generator"], header["generator"]
        decides = "digest" if one["digest"] and other["digest"] else "name"
        differ = one[decides] != other[decides]
        if differ and one["name"] == other["name"]:
            differ = not _are_known(reference, one["digest"], other["digest"])
        if differ or one["dim_z"] != other["dim_z"]:
            said = [f"{g['name']!r} (|z| {g['dim_z']}, weights {g['digest'][:12] or '?'})" for g in (one, other)]
            what = f"{first_label} is for {said[0]}, {label} for {said[1]}"
            raise UserError(f"Directions of different generators cannot be merged: {what}.")
        if header["layers"] != first["layers"]:
            what = f"{first_label} has {first['layers']}, {label} has {header['layers']} (None is all)"
            raise UserError(f"Directions that act on different layers cannot be in one file: {what}.")


def _are_known(reference: str, *digests: str) -> bool:
    """Tell whether digests are of the same weights by different rules, which the module that has them can say."""
    from directions.generators.registry import load_generator

    with contextlib.suppress(UserError):
        return ":" in reference and set(digests) <= set(digests_of(load_generator(reference)))
    return False


def _check_perpendicular(matrix: np.ndarray, said: Sequence[str]) -> None:
    """Refuse rows that are not, and name the two that are least so."""
    if check_orthonormal(matrix) is None:
        return
    products = matrix @ matrix.T
    np.fill_diagonal(products, 0.0)
    first, second = sorted(int(index) for index in np.unravel_index(np.abs(products).argmax(), products.shape))
    cosine = products[first, second]
    degrees = float(np.degrees(np.arccos(min(1.0, abs(cosine)))))
    raise UserError(
        f"Directions {said[first]} and {said[second]} are not perpendicular: the cosine between them is {cosine:.4g} "
        f"({degrees:.3g} degrees apart). Leave one out with directions select, or turn it: --orthonormalise."
    )


def _orthonormalised(matrix: np.ndarray, said: Sequence[str]) -> tuple[np.ndarray, float]:
    """Apply Gram–Schmidt in order; also return by how many degrees the row that was turned most was turned."""
    columns, triangle = np.linalg.qr(matrix.T)
    basis = columns.T * np.sign(triangle.diagonal())[:, None]
    turns = np.degrees(np.arccos(np.clip((basis * matrix).sum(axis=1), -1.0, 1.0)))
    if turns.max() > 89.9:  # nearly all of the row was its projection
        which = f"Direction {said[int(turns.argmax())]} lies in the span of those before it"
        raise UserError(f"{which}, so that Gram–Schmidt leaves nothing of it. Leave it out: directions select.")
    return basis, round(float(turns.max()), 3)


def _unique(names: Sequence[str], said: Sequence[str], same_names: SameNames) -> list[str]:
    """Make names unique: the first of a name keeps it; numbers are appended within the longest name."""
    taken: dict[str, int] = {}
    for index, name in enumerate(names):
        if name in taken and same_names == "refuse":
            both = f"{said[taken[name]]} and {said[index]}"
            raise UserError(f"Directions {both} have the same name. Rename one, or say --same-names number.")
        new, number = name, 2
        while new in taken or (new != name and new in names):
            suffix = f" {number}"
            new, number = name[: LONGEST_NAME - len(suffix)].rstrip() + suffix, number + 1
        taken[new] = index
    return list(taken)


def _merged_header(headers: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    """Say of all sets together what can be said; the rest goes to the source."""
    parts = list(headers.values())
    classes = [part["classes"] for part in parts if part["classes"] is not None]
    listed = sorted({index for entry in classes if entry != "all" for index in entry}) or None
    truncations = {part["truncation"] for part in parts}
    told = [
        {"set": label, "ndirs": len(part["directions"])} | {key: part[key] for key in _TOLD}
        for label, part in headers.items()
    ]
    return {key: value for key, value in parts[0].items() if key not in _OF_A_RUN} | {
        "generator": next((part["generator"] for part in parts if part["generator"]["digest"]), parts[0]["generator"]),
        "classes": "all" if "all" in classes else listed,
        "truncation": truncations.pop() if len(truncations) == 1 else None,
        "space": [min(part["space"][0] for part in parts), max(part["space"][1] for part in parts)],
        "source": {"merged": told},
        "method": "merged",
        "config": {},
        **dict.fromkeys(("steps", "seed", "penalty", "order")),
    }
