"""Directions with all that is known of them: look up, move z along them, save, load.

Discovery makes a :class:`Directions` at its end; rendering, evaluation and other people's code start from one. The
bytes are in ``container.py``, the checks in ``header.py``. NumPy is all it needs: a torch tensor
goes in and comes out of :meth:`Directions.move`, but torch is not imported here.
"""

from __future__ import annotations

import operator
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np

from directions.atomic import write_bytes
from directions.direction_file.container import pack, unpack
from directions.direction_file.header import DescribesGenerator, as_json, header_fault, matrix_fault
from directions.direction_file.moves import Latent, add_steps
from directions.errors import UserError, nearest

Key = int | str
"""A direction's index, its name, or the beginning of its name that no other has."""


class Directions:
    """Orthonormal directions in the latent space of one generator, with a header that says how they came to be.

    Its content does not change: the matrix is read-only, and ``header`` gives a copy.

    Args:
        matrix: (ndirs, dim_z), one direction a row, orthonormal; kept as float32.
        header: As :func:`directions.direction_file.header.make_header` makes it.

    Attributes:
        matrix: (ndirs, dim_z) float32, read-only.

    Raises:
        UserError: If the rows are not finite and orthonormal, or the header is not sound or does not fit them.
    """

    matrix: np.ndarray

    def __init__(self, matrix: np.ndarray, header: Mapping[str, Any]) -> None:
        self.matrix = np.array(matrix, dtype=np.float32)
        self.matrix.flags.writeable = False
        self._header = as_json(header)
        fault = matrix_fault(self.matrix) or header_fault(self._header, self.matrix)
        if fault:
            raise UserError(f"These directions are not usable: {fault}")
        self._names = tuple(entry["name"] for entry in self._header["directions"])

    @property
    def header(self) -> dict[str, Any]:
        """All that the file says, as JSON would give it (a copy)."""
        return as_json(self._header)

    @property
    def names(self) -> tuple[str, ...]:
        """The name of each direction."""
        return self._names

    @property
    def generator(self) -> str:
        """The name of the generator, for ``load_generator``."""
        return str(self._header["generator"]["name"])

    @property
    def ndirs(self) -> int:
        """The number of directions."""
        return len(self.matrix)

    @property
    def dim_z(self) -> int:
        """The size of z."""
        return int(self.matrix.shape[1])

    @property
    def path_sizes(self) -> tuple[float, ...]:
        """How far each direction is worth going to either side, in latent units."""
        return tuple(float(entry["path_size"]) for entry in self._header["directions"])

    @property
    def activeness(self) -> tuple[float | None, ...]:
        """How much each direction changes the images, or ``None`` where it was not measured."""
        return tuple(entry.get("activeness") for entry in self._header["directions"])

    def __len__(self) -> int:
        """Count the directions."""
        return len(self.matrix)

    def __iter__(self) -> Iterator[Directions]:
        """Go through the directions, each a :class:`Directions` of its own."""
        return (self[index] for index in range(len(self)))

    def __getitem__(self, key: Key | slice | Sequence[Key]) -> Directions:
        """Take some of the directions: one by index or name, a slice, or a list in any order.

        Args:
            key: What to take.

        Returns:
            Those directions, with the same header otherwise.

        Raises:
            UserError: If there is no such direction, or one is taken twice, or none is taken.
        """
        if isinstance(key, slice):
            chosen = list(range(len(self)))[key]
            if not chosen:
                raise UserError(f"The slice {key} takes none of the {len(self)} directions.")
        else:
            chosen = [self.index(item) for item in _keys(key)]
            if len(set(chosen)) < len(chosen):
                raise UserError(f"Each direction can be taken once only, got {key!r}.")
        header = self._header | {"directions": [self._header["directions"][index] for index in chosen]}
        return Directions(self.matrix[chosen], header)

    def __repr__(self) -> str:
        """Say what these directions are, briefly."""
        shown = ", ".join(self.names[:4]) + (", …" if len(self) > 4 else "")
        return f"Directions({len(self)} × {self.dim_z}, generator={self.generator!r}: {shown})"

    def index(self, key: Key) -> int:
        """Find a direction.

        Args:
            key: Its index (as a number, or as the text of one), its name, or the beginning of its name.

        Returns:
            Its index, from 0.

        Raises:
            UserError: If there is no such direction, or several names begin so.
        """
        if isinstance(key, str):
            if key in self.names:
                return self.names.index(key)
            if not key.lstrip("+-").isdecimal():
                return self._index_of_prefix(key)
            key = int(key)
        if isinstance(key, bool):
            raise UserError(f"A direction is an index or a name, got {key!r}.")
        number = operator.index(key)
        if not 0 <= number < len(self):
            raise UserError(f"There is no direction {number}: the indices go from 0 to {len(self) - 1}.")
        return number

    def _index_of_prefix(self, prefix: str) -> int:
        """Find the one direction whose name begins so."""
        found = [index for index, name in enumerate(self.names) if prefix and name.startswith(prefix)]
        if len(found) == 1:
            return found[0]
        if found:
            several = ", ".join(repr(self.names[index]) for index in found[:6]) + (", …" if len(found) > 6 else "")
            raise UserError(f"{prefix!r} begins {len(found)} names: {several}. Write more of it.")
        hint = nearest(prefix, self.names)
        if not hint:
            hint = f" The names are: {', '.join(self.names[:8])}{', …' if len(self) > 8 else ''}."
        raise UserError(f"There is no direction {prefix!r}.{hint}")

    def move(self, z: Latent, direction: Key | Sequence[Key], amount: Any) -> Latent:
        """Add amount × direction to z.

        Args:
            z: (…, dim_z) NumPy array or torch tensor of floats, with any batch shape.
            direction: Index or name; or a sequence of them, to move along several at once.
            amount: How far, in latent units: a number, or an array that broadcasts with the batch shape of z. For a
                sequence of directions: a sequence with as many amounts, each of them a number or such an array.

        Returns:
            The moved z: a new array or tensor of the type, dtype and device of z. Gradients of torch tensors flow
            through z and amount.

        Raises:
            UserError: If z is not (…, dim_z) floats, a direction does not exist, or the amounts do not fit.

        Example:
            >>> from directions.direction_file.header import make_header
            >>> from types import SimpleNamespace
            >>> toy = SimpleNamespace(name="toy", digest="", dim_z=2, resolution=8)
            >>> header = make_header(toy, path_sizes=[3.0, 3.0], names=["hue", "size"], classes=None, truncation=None,
            ...                      space=(0, 2), method="adam", config={}, steps=0, seed=0, penalty=None)
            >>> Directions(np.eye(2), header).move(np.zeros((2, 2)), "size", [1.0, -1.0])
            array([[ 0.,  1.],
                   [ 0., -1.]])
        """
        keys, amounts = _keys(direction), [amount] if _is_key(direction) else amount
        if not hasattr(amounts, "__len__") or len(amounts) != len(keys):
            got = len(amounts) if hasattr(amounts, "__len__") else f"the one number {amounts!r}"
            raise UserError(f"{len(keys)} directions need {len(keys)} amounts, one each, got {got}.")
        return add_steps(z, self.matrix[[self.index(key) for key in keys]], amounts)

    def path(self, z: Latent, direction: Key, steps: Sequence[float] | np.ndarray) -> Latent:
        """Take z to several places along one direction.

        Args:
            z: (…, dim_z) NumPy array or torch tensor of floats.
            direction: Index or name.
            steps: The signed distances from z, in latent units.

        Returns:
            (len(steps), …, dim_z), of the type, dtype and device of z.

        Raises:
            UserError: If z is not (…, dim_z) floats, or the direction does not exist.
        """
        distances = np.asarray(steps, dtype=np.float64)
        batch_axes = max(getattr(z, "ndim", 1) - 1, 0)
        return self.move(z, direction, distances.reshape(-1, *[1] * batch_axes))

    def require_fits(self, generator: DescribesGenerator) -> None:
        """Check that these directions were found in this generator.

        Where both have a digest of the weights it decides; otherwise the name does.

        Args:
            generator: What is to be moved along them.

        Raises:
            UserError: If it is another generator, has another |z| or other weights.
        """
        own = self._header["generator"]
        if generator.dim_z != self.dim_z:
            raise UserError(
                f"These directions are for |z| = {self.dim_z} (generator {own['name']!r}), but the generator "
                f"{generator.name!r} has |z| = {generator.dim_z}. Load {own['name']!r}, or give directions found in "
                f"{generator.name!r}."
            )
        if own["digest"] and generator.digest:
            if own["digest"] != generator.digest:
                raise UserError(
                    f"These directions were found in {own['name']!r} with the weights {own['digest'][:12]}…, but the "
                    f"generator {generator.name!r} has the weights {generator.digest[:12]}…. Load the same weights."
                )
        elif own["name"] != generator.name:
            raise UserError(
                f"These directions were found in {own['name']!r}, not in {generator.name!r}. Load {own['name']!r}, or "
                f"give directions found in {generator.name!r}."
            )

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a direction file, wholly or not at all; the same directions always give the same bytes.

        Args:
            path: The file to write, by custom ``….safetensors``; its folder must exist.
        """
        write_bytes(path, pack(self.matrix, self._header))


def load_directions(path: str | os.PathLike[str]) -> Directions:
    """Read a direction file. Nothing is ever unpickled.

    Args:
        path: The file, by custom ``directions.safetensors`` in a run folder.

    Returns:
        What it holds, checked.

    Raises:
        UserError: If the file is missing, of another format, truncated, damaged or not sound; the message says which.
    """
    matrix, header = unpack(path)
    fault = matrix_fault(matrix) or header_fault(header, matrix)
    if fault:
        raise UserError(f"{Path(path)} is not a usable direction file: {fault}")
    return Directions(matrix, header)


def _is_key(value: Any) -> TypeGuard[Key]:
    """Tell one direction (a name, or a whole number of any library) from a sequence of them."""
    try:
        return isinstance(value, str) or operator.index(value) is not None
    except TypeError:
        return False


def _keys(value: Key | Sequence[Key]) -> list[Key]:
    """Turn one direction or a sequence of them into a list."""
    if _is_key(value):
        return [value]
    if isinstance(value, Iterable):
        return list(value)
    raise UserError(f"A direction is an index or a name, or a sequence of them, got {value!r}.")
