"""Directions with all that is known of them: look up, move z along them, make images, write on them, save, load."""

from __future__ import annotations

import contextlib
import copy
import itertools
import operator
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import numpy as np

from directions.direction_file.annotate import annotate, reorder, undo
from directions.direction_file.format import (
    DescribesGenerator,
    as_json,
    fault_of,
    has_digest,
    is_found_here,
    make_header,
    pack,
    short,
    unpack,
    upgraded,
)
from directions.errors import UserError, nearest
from directions.files import cannot_write, write_bytes
from directions.hub import fetch_from_hub, is_hub_id

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image
    from torch import Tensor

    from directions.generators.base import Generator, Labels

Key: TypeAlias = int | str
"""A direction's index, its name, or the beginning of its name that no other has."""

Latent = TypeVar("Latent")
"""A NumPy array or a torch tensor."""

_GAP = 2


def _column(key: str) -> Any:
    """Make a property of what each direction's entry in the header has under a key."""
    return property(lambda self: tuple(entry[key] for entry in self._header["directions"]))


class Directions:
    """Orthonormal directions in the latent space of one generator, with a header that says how they came to be.

    Its content does not change: the matrix is read-only, ``header`` gives a copy, and what writes on directions
    (`renamed`, `annotated`, `reordered`, `undone`) returns new ones. To change a file, give one
    of these to `directions.edit_directions`.

    Args:
        matrix: (ndirs, dim_z), one direction a row, orthonormal; kept as float32.
        header: As `directions.direction_file.format.make_header` makes it.

    Attributes:
        matrix: (ndirs, dim_z) float32, read-only.

    Raises:
        UserError: If the rows are not finite and orthonormal, or the header is not sound or does not fit them.

    Example:
        >>> from types import SimpleNamespace
        >>> from directions.direction_file.format import make_header
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

    matrix: np.ndarray
    names: tuple[str, ...] = _column("name")
    """The name of each direction."""
    activeness: tuple[float | None, ...] = _column("activeness")
    """How much each direction changes the images, or ``None`` where it was not measured."""
    notes: tuple[str, ...] = _column("note")
    """What people wrote about each direction; empty for most."""
    hidden: tuple[bool, ...] = _column("hidden")
    """Whether each direction is to be left out of galleries and pages."""
    starred: tuple[bool, ...] = _column("starred")
    """Whether each direction was found worth coming back to."""
    _header: dict[str, Any]
    _tensor: Tensor | None = None

    def __init__(self, matrix: np.ndarray, header: Mapping[str, Any]) -> None:
        rows, checked = np.array(matrix, dtype=np.float32), upgraded(as_json(header))
        if fault := fault_of(rows, checked):
            raise UserError(f"These directions are not usable: {fault}")
        self._keep(rows, checked)

    def _keep(self, matrix: np.ndarray, header: dict[str, Any]) -> Directions:
        """Take what is known to be sound and kept by nobody else."""
        matrix.flags.writeable = False
        self.matrix, self._header = matrix, header
        return self

    @classmethod
    def from_basis(
        cls,
        Q: Any,
        generator: Generator,
        *,
        names: Sequence[str] | None = None,
        path_sizes: float | Sequence[float] = 5.0,
        classes: Sequence[int] | str | None = None,
        truncation: float = 1.0,
        layers: Sequence[int] | None = None,
        method: str = "given",
    ) -> Directions:
        """Make directions of an orthonormal basis, however it was found; `save` writes them to a file.

        Args:
            Q: (ndirs, dim_z) NumPy array or torch tensor, one direction a row; see `directions.gram_schmidt`.
            generator: In whose latent space they are.
            names: A name for each; ``None`` names them ``d0``, ``d1``, …
            path_sizes: How far they are worth going to either side, in latent units: one number, or one for each.
            classes: Indices of the classes that they are for; ``None`` is all.
            truncation: Of the latents that they are for, in (0, 1].
            layers: The generator's layers that they act on, in order and without gaps; ``None`` is all.
            method: How they were found, in a word.

        Returns:
            The directions. What a search measures (activeness, penalties) is left open.

        Raises:
            UserError: If the rows are not orthonormal or not of the generator, or something else is not allowed.
        """
        generator = _loaded(generator)
        matrix = np.asarray(Q.detach().cpu() if hasattr(Q, "detach") else Q, dtype=np.float32)
        sizes: Any = np.broadcast_to(path_sizes, len(matrix)) if np.ndim(path_sizes) == 0 else path_sizes
        if classes is None and generator.num_classes:
            classes = "all"
        scope: dict[str, Any] = {"classes": classes, "truncation": truncation, "layers": layers, "method": method}
        return cls(matrix, make_header(generator, path_sizes=list(sizes), names=names, **scope))

    @property
    def header(self) -> dict[str, Any]:
        """All that the file says, as JSON would give it (a copy)."""
        return copy.deepcopy(self._header)

    @property
    def ndirs(self) -> int:
        """The number of directions."""
        return len(self.matrix)

    @property
    def dim_z(self) -> int:
        """The size of z."""
        return int(self.matrix.shape[1])

    @property
    def generator(self) -> str:
        """What ``load_generator`` takes: the generator's name, or where it was if that is not found from here."""
        name, path = self._header["generator"]["name"], self._header["generator"].get("path")
        return str(name if path is None or is_found_here(name) else path)

    @property
    def layers(self) -> tuple[int, ...] | None:
        """The layers of the generator that the directions act on, in order and without gaps; ``None`` is all."""
        layers = self._header["layers"]
        return None if layers is None else tuple(layers)

    @property
    def path_sizes(self) -> tuple[float, ...]:
        """How far each direction is worth going to either side, in latent units."""
        return tuple(float(entry["path_size"]) for entry in self._header["directions"])

    @property
    def order(self) -> tuple[int, ...]:
        """The indices in the order in which to show the directions; it changes no index."""
        order = self._header["order"]
        return tuple(range(len(self)) if order is None else order)

    @property
    def history(self) -> tuple[dict[str, Any], ...]:
        """What was changed, the oldest first: ``time`` (UTC), ``tool_version``, ``what``, and ``before`` to undo it."""
        return tuple(self.header["history"])

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
        chosen = range(len(self))[key] if isinstance(key, slice) else [self.index(item) for item in _keys(key)]
        if not chosen:
            raise UserError(f"{key!r} takes none of the {len(self)} directions. Give at least one index or name.")
        if len(set(chosen)) < len(chosen):
            raise UserError(f"Each direction can be taken once only, got {key!r}.")
        header = self.header | {"order": None, "history": []}
        header["directions"] = [header["directions"][index] for index in chosen]
        return _kept(self.matrix[list(chosen)], header)

    def __repr__(self) -> str:
        """Say what these directions are, briefly."""
        return f"Directions({len(self)} × {self.dim_z}, generator={self.generator!r}: {_listed(self.names)})"

    def _repr_html_(self) -> str:
        """Show them in a notebook: a table in their order with bars for activeness."""
        from jinja2 import Environment

        environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)  # names are text, not HTML
        template = Path(__file__).with_name("table.html.j2").read_text(encoding="utf-8")
        return environment.from_string(template).render(directions=self, **self._header["generator"])

    def index(self, key: Key) -> int:
        """Find a direction.

        Args:
            key: Its index (as a number, or as the text of one), its name, or the beginning of its name.

        Returns:
            Its index, from 0.

        Raises:
            UserError: If there is no such direction, or several names begin so.
        """
        names = self.names
        if isinstance(key, str) and key in names:
            return names.index(key)
        if isinstance(key, str) and not re.fullmatch(r"[+-]?[0-9]{1,18}", key):
            found = [name for name in names if key and name.startswith(key)]
            if len(found) == 1:
                return names.index(found[0])
            if found:
                raise UserError(f"{key!r} begins {len(found)} names: {_listed(map(repr, found))}. Write more of it.")
            hint = nearest(key, names) or f" The names are: {_listed(names)}."
            raise UserError(f"There is no direction {key!r}.{hint}")
        if isinstance(key, bool) or not _is_key(key):
            raise UserError(f"A direction is an index or a name, got {key!r}.")
        number = int(key)
        if not 0 <= number < len(names):
            raise UserError(f"There is no direction {number}: the indices go from 0 to {len(names) - 1}.")
        return number

    def move(self, z: Latent, direction: Key | Sequence[Key], amount: Any) -> Latent:
        """Add amount × direction to z.

        This is about z alone. Directions that act on some layers (`layers`) are for `images`, or for
        ``generator.prefix(z, y, layers=directions.layers)``, which take the moved z for those layers only. Half
        precision is added in single precision and rounded once, at the end.

        Args:
            z: (…, dim_z) NumPy array or torch tensor of floats, with any batch shape.
            direction: Index or name; or a sequence of them, to move along several at once.
            amount: How far, in latent units: a number, or an array that broadcasts with the batch shape of z. For a
                sequence of directions: a sequence with as many amounts, each of them a number or such an array.

        Returns:
            The moved z: a new array or tensor of the type, dtype and device of z. Gradients of torch tensors flow
            through z and amount.

        Raises:
            UserError: If z is not (…, dim_z) floats, a direction does not exist, or the amounts do not fit or are not
                finite.
        """
        keys, amounts = _keys(direction), [amount] if _is_key(direction) else amount
        if not hasattr(amounts, "__len__") or len(amounts) != len(keys):
            got = len(amounts) if hasattr(amounts, "__len__") else f"the one number {amounts!r}"
            raise UserError(f"{len(keys)} directions need {len(keys)} amounts, one each, got {got}.")
        moved, rows, back = self._wide(z, "z")
        batch = tuple(moved.shape[:-1])
        for key, one in zip(keys, amounts, strict=True):
            step = _numbers(one, moved)
            try:
                np.broadcast_shapes(batch, tuple(step.shape))
            except ValueError:
                shape = tuple(step.shape)
                raise UserError(f"An amount of shape {shape} does not fit z of shape {batch}. Give one each.") from None
            moved = moved + step[..., None] * rows[self.index(key)]
        return back(moved)

    def path(self, z: Latent, direction: Key, steps: Sequence[float] | np.ndarray) -> Latent:
        """Take z to several places along one direction.

        Args:
            z: (…, dim_z) NumPy array or torch tensor of floats.
            direction: Index or name.
            steps: The signed distances from z, in latent units.

        Returns:
            (len(steps), …, dim_z), of the type, dtype and device of z.

        Raises:
            UserError: If z is not (…, dim_z) floats, the direction does not exist, or a step is no finite number.
        """
        batch_axes = max(getattr(z, "ndim", 1) - 1, 0)
        return self.move(z, direction, np.asarray(steps).reshape(-1, *[1] * batch_axes))

    def project(self, edit: Latent) -> Latent:
        """Tell how far an edit goes along each direction: the inverse of `move`.

        What is left of the edit after going so far along each is perpendicular to all of them. For a part of the
        directions, project on that part: ``directions[["hue", "size"]].project(edit)``.

        Args:
            edit: (…, dim_z) NumPy array or torch tensor of floats: a moved z less the z that it was before.

        Returns:
            (…, ndirs) amounts, of the type, dtype and device of the edit.

        Raises:
            UserError: If the edit is not (…, dim_z) floats.
        """
        wide, rows, back = self._wide(edit, "edit")
        return back(wide @ rows.T)

    def _wide(self, z: Latent, name: str) -> tuple[Any, Any, Callable[[Any], Latent]]:
        """Return z and the rows in at least single precision, where z is, and the way back to what z was."""
        torch: Any = sys.modules.get("torch")  # whoever has a tensor has imported it already
        array: Any = z
        is_tensor = torch is not None and isinstance(z, torch.Tensor)
        if not is_tensor and not isinstance(z, np.ndarray):
            raise UserError(f"{name} must be a NumPy array or a torch tensor, got {type(z).__name__}.")
        if not array.shape or array.shape[-1] != self.dim_z:
            raise UserError(f"{name} must have the shape (…, {self.dim_z}), got {tuple(array.shape)}.")
        if not (array.is_floating_point() if is_tensor else np.issubdtype(array.dtype, np.floating)):
            raise UserError(f"{name} must be of a floating-point type, got {array.dtype}. Convert it to float32.")
        if not is_tensor:
            dtype = np.result_type(array.dtype, np.float32)
            return array.astype(dtype), self.matrix, lambda moved: moved.astype(array.dtype)
        wide = torch.promote_types(array.dtype, torch.float32)
        return array.to(wide), self.tensor.to(array.device, wide), lambda moved: moved.to(array.dtype)

    def images(
        self,
        generator: Generator,
        z: Tensor | np.ndarray,
        direction: Key | Sequence[Key],
        amount: Any,
        *,
        y: Labels | None = 0,
        truncation: float = 1.0,
    ) -> Tensor:
        """Move z and make the images, as these directions are meant: on the layers that they act on.

        Where that is all layers, it is ``generator(directions.move(z, direction, amount), y)``. Where it is some,
        the others see z, and what lies before the first of them is computed once, however many amounts there are.

        Args:
            generator: In which the directions were found.
            z: (batch, dim_z) torch tensor, or NumPy array.
            direction: As for `move`.
            amount: As for `move`. It may add axes in front of the batch: amounts of shape (steps, 1) give a
                path of each z.
            y: Classes; one for all, or one for each z.
            truncation: The generator's truncation setting, in (0, 1]; z must have been drawn with the same.

        Returns:
            (batch, 3, resolution, resolution) in [-1, 1], with further axes in front where the amounts have them.
            Gradients flow through z and amount.

        Raises:
            UserError: If the directions are of another generator, it has no such layers, or z, direction or amount do
                not fit.

        Example:
            >>> from directions import Directions
            >>> from directions.direction_file.format import make_header
            >>> from directions.generators.registry import load_generator
            >>> generator = load_generator("builtin")
            >>> header = make_header(generator, path_sizes=[3.0], names=["size"], classes=None, truncation=1.0,
            ...                      space=(0, 12), layers=[0, 1, 2], method="adam", config={}, steps=0, seed=0,
            ...                      penalty=None)
            >>> directions, z = Directions(np.eye(1, 12), header), generator.sample_z(4, seed=0)
            >>> directions.images(generator, z, "size", 3.0, y="sphere").shape
            torch.Size([4, 3, 64, 64])
            >>> directions.images(generator, z, "size", [[-3.0], [0.0], [3.0]], y="sphere").shape
            torch.Size([3, 4, 3, 64, 64])
        """
        import torch

        from directions.device import to_tensor
        from directions.generators.base import chosen_layers, edited_images

        generator = _loaded(generator)
        self.require_fits(generator)
        if isinstance(z, np.ndarray):
            z = to_tensor(z, generator.device).float()
        if not isinstance(z, torch.Tensor) or z.ndim != 2 or not len(z):
            got = f"{type(z).__name__} {tuple(getattr(z, 'shape', ()))}"
            raise UserError(
                f"z must be a tensor (batch, {generator.dim_z}), as generator.sample_z(n) makes, got {got}."
            )
        moved = self.move(z, direction, amount)
        layers = chosen_layers(generator, self.layers)
        make_images = edited_images(generator, z, y, layers=layers, truncation=truncation)
        return make_images(moved.flatten(0, -2)).unflatten(0, moved.shape[:-1])

    def strip(
        self,
        generator: Generator,
        z: Tensor | np.ndarray,
        direction: Key,
        *,
        steps: int = 7,
        path_size: float | None = None,
        y: Labels | None = 0,
        truncation: float = 1.0,
    ) -> Image:
        """Make one picture of a path: a row for each z, a column for each step from one end to the other.

        In a notebook the picture shows itself; elsewhere it is a Pillow image, to be saved or shown.

        Args:
            generator: In which the directions were found.
            z: (batch, dim_z) torch tensor or NumPy array; the middle column is at z itself if ``steps`` is odd.
            direction: Index or name.
            steps: Number of columns, at least 2.
            path_size: How far to go to either side, above 0; ``None`` takes the direction's own.
            y: Classes; one for all, or one for each z.
            truncation: The generator's truncation setting, in (0, 1].

        Returns:
            An RGB picture with gaps of two pixels.

        Raises:
            UserError: If ``steps`` or ``path_size`` is out of range, or as for `images`.
        """
        import torch
        from PIL import Image

        if steps < 2:
            raise UserError(f"steps must be at least 2, got {steps}.")
        size = self.path_sizes[self.index(direction)] if path_size is None else path_size
        if not (np.isfinite(size) and size > 0):
            raise UserError(f"path_size must be a positive number of latent units, got {size}.")
        amounts = np.linspace(-size, size, steps).reshape(-1, 1)
        with torch.no_grad():
            images = self.images(generator, z, direction, amounts, y=y, truncation=truncation)
        levels = ((images.float().cpu() + 1) * 127.5 + 0.5).clamp(0, 255).byte()
        framed = torch.nn.functional.pad(levels, (0, _GAP, 0, _GAP), value=255)
        page = framed.permute(1, 3, 0, 4, 2).flatten(2, 3).flatten(0, 1)[:-_GAP, :-_GAP]
        return Image.fromarray(page.contiguous().numpy())

    def to(self, device: torch.device | str) -> Directions:
        """Keep the rows on a device, so that moving many tensors there copies nothing to it each time.

        Args:
            device: Where, such as ``"cuda"``, or ``"auto"`` for CUDA where there is one; NumPy arrays and tensors
                elsewhere can still be moved.

        Returns:
            The same directions, whose `tensor` is there.

        Raises:
            UserError: If there is no such device.
        """
        import torch

        from directions.device import resolve_device

        there = copy.copy(self)
        try:
            there._tensor = torch.tensor(self.matrix, device=device)  # torch knows more devices than we do
        except (AssertionError, RuntimeError):
            there._tensor = torch.tensor(self.matrix, device=resolve_device(str(device)))
        return there

    @property
    def tensor(self) -> Tensor:
        """The matrix as a torch tensor, (ndirs, dim_z) float32: a copy on the CPU, or what `to` put elsewhere."""
        import torch

        return torch.tensor(self.matrix) if self._tensor is None else self._tensor

    def require_fits(self, generator: DescribesGenerator) -> None:
        """Check that these directions were found in this generator.

        Where both have a digest of the weights it decides; otherwise the name does.

        Args:
            generator: What is to be moved along them.

        Raises:
            UserError: If it is another generator, has another |z| or other weights.
        """
        own, name = self._header["generator"], generator.name
        load = f"Load {own['name']!r}, or give directions found in {name!r}."
        if generator.dim_z != own["dim_z"]:
            sizes = f"|z| = {own['dim_z']}, but {name!r} has |z| = {generator.dim_z}"
            raise UserError(f"These directions were found in {own['name']!r} with {sizes}. {load}")
        if own["digest"] and generator.digest and not has_digest(generator, own["digest"]):
            weights = f"the weights {own['digest'][:12]}…, but {name!r} has the weights {generator.digest[:12]}…"
            raise UserError(f"These directions were found in {own['name']!r} with {weights}. Load the same weights.")
        if not (own["digest"] and generator.digest) and own["name"] != name:
            raise UserError(f"These directions were found in {own['name']!r}, not in {name!r}. {load}")

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

    def annotated_each(self, changes: Mapping[Any, Mapping[str, Any]]) -> Directions:
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
        return self._with_header(annotate(self.header, by_index))

    def reordered(self, keys: Key | Sequence[Key]) -> Directions:
        """Change the order in which directions are shown (`order`); indices and rows stay as they are.

        Args:
            keys: Which to show first, by index or name; the others follow in the order that they have now.

        Returns:
            These directions with the change in the history; itself if nothing changes.

        Raises:
            UserError: If there is no such direction, or one is given twice.
        """
        first = [self.index(key) for key in _keys(keys)]
        if len(set(first)) < len(first):
            raise UserError(f"Each direction has one place in the order, got {keys!r}.")
        return self._with_header(reorder(self.header, [*first, *(i for i in self.order if i not in first)]))

    def undone(self) -> Directions:
        """Take the last change of the history back.

        Returns:
            These directions as they were before it.

        Raises:
            UserError: If there is none, or it cannot be undone.
        """
        return self._with_header(undo(self.header))

    def _with_header(self, header: dict[str, Any]) -> Directions:
        """Return the same matrix with another header, in which only annotations differ."""
        if header == self._header:
            return self
        if fault := fault_of(self.matrix, header):
            raise UserError(fault[0].upper() + fault[1:])
        return _kept(self.matrix, as_json(header))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a direction file, wholly or not at all; the same directions always give the same bytes.

        Args:
            path: The file to write, by custom ``….safetensors``; its folder must exist.
        """
        write_bytes(path, pack(self.matrix, self._header))


def _loaded(generator: Any) -> Any:
    """Wrap a module, or load what a name means; what describes a generator stays as it is."""
    if hasattr(generator, "digest"):
        return generator
    from directions.generators.registry import load_generator

    return load_generator(generator)


def _kept(matrix: np.ndarray, header: dict[str, Any]) -> Directions:
    return Directions.__new__(Directions)._keep(matrix, header)


def direction_file(path: str | os.PathLike[str]) -> Path:
    """Return the direction file that is meant by a path: the file itself, or that of a run folder."""
    given = Path(os.path.expanduser(path))  # noqa: PTH111 — Path.expanduser raises without a home folder
    inside = given / "directions.safetensors"
    return inside if os.path.isfile(inside) else given  # noqa: PTH113 — a name too long is no file, no error


def load_directions(path: str | os.PathLike[str], *, revision: str | None = None) -> Directions:
    """Read a direction file, from this machine or from the Hugging Face Hub. Nothing is ever unpickled.

    Args:
        path: The file, or the run folder in which it is ``directions.safetensors``; or, as text, a repository
            ``owner/name`` of the Hub, where there is no such path here (extra ``hub``).
        revision: Branch, tag or commit of the repository; ``None`` is its newest state.

    Returns:
        What it holds, checked.

    Raises:
        UserError: If the file is missing, of another format, truncated, damaged or not sound, or cannot be fetched; the
            message says which.
    """
    file = direction_file(path)
    if not os.path.exists(file) and is_hub_id(path):  # noqa: PTH110 — a name too long is no file, no error
        file = fetch_from_hub(str(path), revision=revision)
    elif revision is not None:
        raise UserError(f"revision is for repositories of the Hub, owner/name, not for the path {path}. Leave it out.")
    return _kept(*unpack(file))


def edit_directions(
    path: str | os.PathLike[str], change: Callable[[Directions], Directions], *, timeout: float = 10.0
) -> Directions:
    """Read a direction file, change it and write it back, while nobody else does.

    The lock is the operating system's, on an empty hidden file that stays beside the direction file
    (``.directions.safetensors.lock``). It ends with the process that holds it, however that ends, so a left-over lock
    file locks nobody out.

    Args:
        path: The file, or its run folder.
        change: Given what the file holds now, returns what it shall hold. Nothing is written if it raises, or returns
            what it was given.
        timeout: Seconds to wait for others to be done. A change takes milliseconds; who holds the lock longer is stuck.

    Returns:
        What the file holds now.

    Raises:
        UserError: If the file is missing or not sound, another program holds the lock for longer than ``timeout``, or
            the file cannot be written; and what ``change`` raises. The file is as it was then.

    Example::

        edit_directions("directions.safetensors", lambda found: found.renamed(5, "rotation"))
    """
    from filelock import FileLock, Timeout

    path = direction_file(path)
    target = Path(os.path.realpath(path))  # as the atomic write: a link and its target are one file
    if not os.path.isfile(target):  # noqa: PTH113 — a name too long is no file, no error
        unpack(path)  # says what is wrong with it
    lock = target.with_name(f".{target.name}.lock")
    try:
        held = FileLock(lock, timeout=timeout).acquire(poll_interval=0.02)
    except Timeout:
        held_by = f"another program has been changing it for more than {timeout:g} seconds (it has {lock} open)"
        raise UserError(f"Cannot change {path}: {held_by}. Close that program, then try again.") from None
    except OSError as error:
        raise UserError(cannot_write(lock, error)) from error
    with held:
        found = load_directions(path)
        wanted = change(found)
        if wanted is not found:
            wanted.save(path)
        return wanted


def _is_key(value: Any) -> bool:
    """Tell one direction (a name, or a whole number of any library) from a sequence of them."""
    try:
        return isinstance(value, str) or operator.index(value) is not None
    except TypeError:
        return False


def _keys(value: Any) -> list[Any]:
    """Turn one direction or a sequence of them into a list."""
    if not _is_key(value) and not isinstance(value, Iterable):
        raise UserError(f"A direction is an index or a name, or a sequence of them, got {value!r}.")
    return [value] if _is_key(value) else list(value)


def _numbers(amount: Any, like: Any) -> Any:
    """Turn an amount into an array or a tensor like another, of finite numbers."""
    try:
        if isinstance(like, np.ndarray):
            amount = amount.detach().cpu() if hasattr(amount, "detach") else amount
            step: Any = np.asarray(amount).astype(like.dtype)
        else:
            step = sys.modules["torch"].as_tensor(amount, dtype=like.dtype, device=like.device)
    except (TypeError, ValueError, RuntimeError) as error:
        raise UserError(f"An amount must be a number or an array of numbers, got {short(amount)}.") from error
    with contextlib.suppress(RuntimeError):  # of tensors without values, as torch.vmap hands over
        if not (np.isfinite(step) if isinstance(step, np.ndarray) else step.isfinite()).all():
            raise UserError(f"An amount must be finite, got {short(amount)}.")
    return step


def _listed(names: Iterable[str]) -> str:
    first = list(itertools.islice(names, 7))
    return ", ".join(first[:6]) + (", …" if len(first) > 6 else "")
