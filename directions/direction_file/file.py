"""Directions with all that is known of them: look up, move z along them, save, load.

Discovery makes a `Directions` at its end; rendering, evaluation and other people's code start from one. The
bytes are in ``container.py``, the checks in ``header.py``. NumPy is all it needs: a torch tensor
goes in and comes out of `Directions.move`, but torch is not imported here.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from directions.atomic import write_bytes
from directions.direction_file.annotations import annotate, annotation_fault, reorder, undo
from directions.direction_file.container import pack, unpack
from directions.direction_file.display import html_table
from directions.direction_file.header import as_json, header_fault, matrix_fault, upgraded
from directions.direction_file.hub import fetch_from_hub, is_hub_id
from directions.direction_file.lookup import Key, keys_of
from directions.direction_file.usable import Usable
from directions.errors import UserError

__all__ = ["Directions", "Key", "load_directions"]

EachChange = Mapping[int, Mapping[str, Any]] | Mapping[str, Mapping[str, Any]] | Mapping[Key, Mapping[str, Any]]
"""For each of several directions, by index or name, what to write on it."""


class Directions(Usable):
    """Orthonormal directions in the latent space of one generator, with a header that says how they came to be.

    Its content does not change: the matrix is read-only, ``header`` gives a copy, and what writes on directions
    (`renamed`, `annotated`, `reordered`, `undone`) returns new ones. To change a file, give one
    of these to `directions.edit_directions`.

    Args:
        matrix: (ndirs, dim_z), one direction a row, orthonormal; kept as float32.
        header: As `directions.direction_file.header.make_header` makes it.

    Attributes:
        matrix: (ndirs, dim_z) float32, read-only.

    Raises:
        UserError: If the rows are not finite and orthonormal, or the header is not sound or does not fit them.

    Example:
        >>> from types import SimpleNamespace
        >>> from directions.direction_file.header import make_header
        >>> toy = SimpleNamespace(name="toy", digest="", dim_z=3, resolution=8)
        >>> header = make_header(toy, path_sizes=[3.0, 2.0], names=["hue", "size"], classes=None, truncation=None,
        ...                      space=(0, 3), method="adam", config={}, steps=0, seed=0, penalty=None)
        >>> directions = Directions(np.eye(2, 3), header)
        >>> directions
        Directions(2 × 3, generator='toy': hue, size)
        >>> z = np.zeros((2, 3))
        >>> directions.move(z, "size", [1.0, -1.0])                     # one direction, an amount for each z
        array([[ 0.,  1.,  0.],
               [ 0., -1.,  0.]])
        >>> directions.move(z, ["hue", 1], [0.5, 2.0])[0]               # two at once
        array([0.5, 2. , 0. ])
        >>> directions.path(z, "hue", [-3.0, 0.0, 3.0]).shape           # three places on the way of each z
        (3, 2, 3)
        >>> directions.project(np.array([[0.5, 2.0, 7.0]]))             # how far an edit goes along each
        array([[0.5, 2. ]])
        >>> directions[["size"]].names, directions.renamed("hue", "colour").names
        (('size',), ('colour', 'size'))
    """

    def __init__(self, matrix: np.ndarray, header: Mapping[str, Any]) -> None:
        super().__init__(matrix, upgraded(as_json(header)))
        fault = matrix_fault(self.matrix) or header_fault(self._header, self.matrix)
        if fault:
            raise UserError(f"These directions are not usable: {fault}")

    def __len__(self) -> int:
        """Count the directions."""
        return len(self.matrix)

    def __contains__(self, name: object) -> bool:
        """Tell whether a direction has this name, one of `names`."""
        return name in self.names

    def __iter__(self) -> Iterator[Directions]:
        """Go through the directions, each a `Directions` of its own."""
        return (self[index] for index in range(len(self)))

    def __getitem__(self, key: Key | slice | Sequence[Key]) -> Directions:
        """Take some of the directions: one by index or name, a slice, or a list in any order.

        Args:
            key: What to take.

        Returns:
            Those directions, in that order, with the same header otherwise but for the history, which is empty.

        Raises:
            UserError: If there is no such direction, or one is taken twice, or none is taken.
        """
        if isinstance(key, slice):
            chosen = list(range(len(self)))[key]
            if not chosen:
                raise UserError(f"The slice {key} takes none of the {len(self)} directions.")
        else:
            chosen = [self.index(item) for item in keys_of(key)]
            if len(set(chosen)) < len(chosen):
                raise UserError(f"Each direction can be taken once only, got {key!r}.")
        entries = [self._header["directions"][index] for index in chosen]
        header = self._header | {"directions": entries, "order": None, "history": []}
        return Directions(self.matrix[chosen], header)

    def __repr__(self) -> str:
        """Say what these directions are, briefly."""
        shown = ", ".join(self.names[:4]) + (", …" if len(self) > 4 else "")
        return f"Directions({len(self)} × {self.dim_z}, generator={self.generator!r}: {shown})"

    def _repr_html_(self) -> str:
        """Show them in a notebook, as a table with bars."""
        return html_table(self, self.matrix.shape)

    def renamed(self, key: Key, name: str) -> Directions:
        """Give a direction another name.

        Args:
            key: Which, by index or name.
            name: 1 to 64 printable characters, trimmed, without a comma, not a number, not ``all``, and not the name
                of another direction.

        Returns:
            These directions, with the new name and the change in the history.

        Raises:
            UserError: If there is no such direction, or the name is not allowed.
        """
        return self.annotated(key, name=name)

    def annotated(
        self,
        key: Key,
        *,
        name: str | None = None,
        path_size: float | None = None,
        note: str | None = None,
        hidden: bool | None = None,
        starred: bool | None = None,
    ) -> Directions:
        """Write on one direction; what is ``None`` stays as it is.

        Args:
            key: Which, by index or name.
            name: As in `renamed`.
            path_size: How far it is worth going to either side, above 0 and at most 100, in latent units.
            note: Up to 2000 printable characters and line ends.
            hidden: Whether to leave it out of galleries and pages.
            starred: Whether it is worth coming back to.

        Returns:
            These directions with the change in the history; itself if nothing changes.

        Raises:
            UserError: If there is no such direction, or a value is not allowed.
        """
        wanted = {"name": name, "path_size": path_size, "note": note, "hidden": hidden, "starred": starred}
        return self.annotated_each({key: {field: value for field, value in wanted.items() if value is not None}})

    def annotated_each(self, changes: EachChange) -> Directions:
        """Write on several directions at once, all or none: two may swap their names.

        Args:
            changes: For each direction, by index or name, what to write: some of the arguments of `annotated`.

        Returns:
            These directions with one change in the history; itself if nothing changes.

        Raises:
            UserError: If there is no such direction, one is given twice, or a value is not allowed.
        """
        by_index: dict[int, Mapping[str, Any]] = {}
        for key, wanted in changes.items():
            index = self.index(key)
            if index in by_index:
                raise UserError(f"Direction {index} ({self.names[index]!r}) is given twice. Say all of it once.")
            by_index[index] = wanted
        return self._with_header(annotate(self._header, by_index))

    def reordered(self, keys: Sequence[Key]) -> Directions:
        """Change the order in which directions are shown (`order`); indices and rows stay as they are.

        Args:
            keys: Which to show first, by index or name; the others follow in the order that they have now.

        Returns:
            These directions with the change in the history; itself if nothing changes.

        Raises:
            UserError: If there is no such direction, or one is given twice.
        """
        first = [self.index(key) for key in keys_of(keys)]
        if len(set(first)) < len(first):
            raise UserError(f"Each direction has one place in the order, got {keys!r}.")
        order = [*first, *(index for index in self.order if index not in first)]
        return self._with_header(reorder(self._header, order))

    def undone(self) -> Directions:
        """Take the last change of the history back.

        Returns:
            These directions as they were before it.

        Raises:
            UserError: If there is none, or it cannot be undone.
        """
        return self._with_header(undo(self._header))

    def _with_header(self, header: Mapping[str, Any]) -> Directions:
        """Return the same matrix with another header, in which only annotations differ."""
        if header == self._header:
            return self
        faults = (annotation_fault(index, entry) for index, entry in enumerate(header["directions"]))
        fault = next(filter(None, faults), None) or header_fault(as_json(header), self.matrix)
        if fault:
            raise UserError(fault[0].upper() + fault[1:])
        return Directions(self.matrix, header)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a direction file, wholly or not at all; the same directions always give the same bytes.

        Args:
            path: The file to write, by custom ``….safetensors``; its folder must exist.
        """
        write_bytes(path, pack(self.matrix, self._header))


def load_directions(path: str | os.PathLike[str], *, revision: str | None = None) -> Directions:
    """Read a direction file, from this machine or from the Hugging Face Hub. Nothing is ever unpickled.

    Args:
        path: The file, by custom ``directions.safetensors`` in a run folder; or, as text, a repository ``owner/name``
            of the Hub, where there is no such path here (extra ``hub``).
        revision: Branch, tag or commit of the repository; ``None`` is its newest state.

    Returns:
        What it holds, checked.

    Raises:
        UserError: If the file is missing, of another format, truncated, damaged or not sound, or cannot be fetched; the
            message says which.
    """
    if is_hub_id(path):
        path = fetch_from_hub(str(path), revision=revision)
    elif revision is not None:
        raise UserError(f"revision is for repositories of the Hub, owner/name, not for the path {path}. Leave it out.")
    matrix, header = unpack(path)
    header = upgraded(header)
    fault = matrix_fault(matrix) or header_fault(header, matrix)
    if fault:
        raise UserError(f"{Path(path)} is not a usable direction file: {fault}")
    return Directions(matrix, header)
