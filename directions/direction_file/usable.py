"""Directions in use: move latents along them, make images, measure how far an edit goes along each.

Between the records of a header (``records.py``) and `directions.Directions`, which adds what makes a file of
them. The arithmetic is in ``moves.py`` and ``images.py``.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from directions.direction_file.display import strip_picture
from directions.direction_file.fits import generator_misfit
from directions.direction_file.header import DescribesGenerator
from directions.direction_file.images import edited
from directions.direction_file.lookup import Key, is_key, keys_of, short
from directions.direction_file.moves import Latent, add_steps, products
from directions.direction_file.records import Records
from directions.errors import UserError

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image
    from torch import Tensor

    from directions.generators.base import Generator, Labels


Self = TypeVar("Self", bound="Usable")


class Usable(Records):
    """A matrix of directions, with what is known of them.

    Args:
        matrix: (ndirs, dim_z), one direction a row.
        header: As JSON gives it, in the newest format.

    Attributes:
        matrix: (ndirs, dim_z) float32, read-only.
    """

    def __init__(self, matrix: np.ndarray, header: Mapping[str, Any]) -> None:
        super().__init__(header)
        self.matrix = np.array(matrix, dtype=np.float32)
        self.matrix.flags.writeable = False
        self._tensor: Tensor | None = None

    @property
    def ndirs(self) -> int:
        """The number of directions."""
        return len(self.matrix)

    @property
    def dim_z(self) -> int:
        """The size of z."""
        return int(self.matrix.shape[1])

    def move(self, z: Latent, direction: Key | Sequence[Key], amount: Any) -> Latent:
        """Add amount × direction to z.

        This is about z alone. Directions that act on some layers (`layers`) are for `images`, or for
        ``generator.prefix(z, y, layers=directions.layers)``, which take the moved z for those layers only.

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
        keys, amounts = keys_of(direction), [amount] if is_key(direction) else amount
        if not hasattr(amounts, "__len__") or len(amounts) != len(keys):
            got = len(amounts) if hasattr(amounts, "__len__") else f"the one number {amounts!r}"
            raise UserError(f"{len(keys)} directions need {len(keys)} amounts, one each, got {got}.")
        return add_steps(z, self._rows(z)[[self.index(key) for key in keys]], amounts)

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
        try:
            distances = np.asarray(steps, dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise UserError(f"The steps must be numbers, got {short(steps)}.") from error
        batch_axes = max(getattr(z, "ndim", 1) - 1, 0)
        return self.move(z, direction, distances.reshape(-1, *[1] * batch_axes))

    def images(
        self,
        generator: Generator,
        z: Tensor,
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
            z: (batch, dim_z) torch tensor.
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
            >>> from directions.direction_file.header import make_header
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
        self.require_fits(generator)
        return edited(
            generator,
            z,
            lambda start: self.move(start, direction, amount),
            y=y,
            layers=self.layers,
            truncation=truncation,
        )

    def strip(
        self,
        generator: Generator,
        z: Tensor,
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
            z: (batch, dim_z) torch tensor; the middle column is at z itself if ``steps`` is odd.
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

        if steps < 2:
            raise UserError(f"steps must be at least 2, got {steps}.")
        size = self.path_sizes[self.index(direction)] if path_size is None else path_size
        if not (np.isfinite(size) and size > 0):
            raise UserError(f"path_size must be a positive number of latent units, got {size}.")
        amounts = np.linspace(-size, size, steps).reshape(-1, 1)
        with torch.no_grad():
            return strip_picture(self.images(generator, z, direction, amounts, y=y, truncation=truncation))

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
        return products(edit, self._rows(edit))

    def to(self: Self, device: torch.device | str) -> Self:
        """Keep the rows on a device, so that moving many tensors there copies nothing to it each time.

        Args:
            device: Where, such as ``"cuda"``, or ``"auto"`` for CUDA where there is one; NumPy arrays and tensors
                elsewhere can still be moved.

        Returns:
            The same directions, whose `tensor` is there.

        Raises:
            UserError: If there is no such device, or no room on it.
        """
        import torch

        from directions.devices import resolve_device

        there = copy.copy(self)
        try:
            there._tensor = torch.tensor(self.matrix, device=resolve_device(device) if device == "auto" else device)
        except (AssertionError, RuntimeError) as error:
            resolve_device(str(device))  # says which devices there are, if it is none of them
            raise UserError(f"The directions cannot be put on {str(device)!r}: {error}") from error
        return there

    @property
    def tensor(self) -> Tensor:
        """The matrix as a torch tensor, (ndirs, dim_z) float32: a copy on the CPU, or what `to` put elsewhere."""
        import torch

        return torch.tensor(self.matrix) if self._tensor is None else self._tensor

    def _rows(self, z: Any) -> Any:
        """The matrix where z is, if it has been put there."""
        there = self._tensor is not None and getattr(z, "device", None) == self._tensor.device
        return self._tensor if there else self.matrix

    def require_fits(self, generator: DescribesGenerator) -> None:
        """Check that these directions were found in this generator.

        Where both have a digest of the weights it decides; otherwise the name does.

        Args:
            generator: What is to be moved along them.

        Raises:
            UserError: If it is another generator, has another |z| or other weights.
        """
        fault = generator_misfit(self._header, generator)
        if fault:
            raise UserError(fault)
