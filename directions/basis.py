"""Turn the free matrix ``A`` into orthonormal directions, and say which part of the latent they may use."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from directions.device import to_tensor
from directions.errors import UserError
from directions.settings.base import range_fault, read_range

if TYPE_CHECKING:
    import torch
    from torch import Tensor

# Torch is imported on use: configurations and direction files are checked with this module, and must not wait for it.


def gram_schmidt(A: Tensor | np.ndarray) -> Tensor:
    r"""Orthonormalise the rows of ``A`` in order, as textbook Gram–Schmidt does.

    Row :math:`i` of the result is row :math:`i` of ``A`` less its projection on the rows before it, divided by its
    length; the diagonal of :math:`AQ^\top` is therefore positive. Scaling a row of ``A`` by a positive number changes
    nothing. The work is one reduced QR of :math:`A^\top` with the signs chosen such that :math:`R` has a positive
    diagonal, which makes it unique: a few large operations in place of the loop's thousands of small ones, gradient
    included. A Cholesky factor of :math:`AA^\top` would square the condition number.

    Args:
        A: (ndirs, dim) with ndirs <= dim, float32 or float64, torch or NumPy; the scale of a row is arbitrary.

    Returns:
        (ndirs, dim) orthonormal rows, differentiable with respect to ``A``.

    Raises:
        UserError: If ``A`` is not such a matrix, holds NaN or infinity, or a row depends on the rows before it.

    Example:
        >>> import torch
        >>> gram_schmidt(torch.tensor([[3.0, 4.0], [0.0, 5.0]]))
        tensor([[ 0.6000,  0.8000],
                [-0.8000,  0.6000]])
    """
    import torch

    A = to_tensor(A)
    if A.dtype not in (torch.float32, torch.float64):
        raise UserError(f"A must be float32 or float64, got {A.dtype}. Use A.float().")
    if A.ndim != 2 or not 1 <= A.shape[0] <= A.shape[1]:
        raise UserError(
            f"A must be a matrix (ndirs, dim) with 1 <= ndirs <= dim, one direction a row, got shape {tuple(A.shape)}."
        )
    # The result does not depend on the row scale: dividing by a constant keeps squares from under- or overflowing.
    scaled = A / A.detach().abs().amax(dim=1, keepdim=True)
    columns, triangle = torch.linalg.qr(scaled.mT)
    diagonal = triangle.detach().diagonal()
    # |R_ii| / |row i|: the sine of the angle between row i and the span of the rows before it.
    sine = diagonal.abs() / torch.linalg.vector_norm(scaled.detach(), dim=1)
    smallest = A.shape[1] * torch.finfo(A.dtype).eps
    if not bool((sine > smallest).all()):  # one test, one wait for the device: NaN fails it too
        _explain_no_basis(A.detach(), sine, smallest)
    return columns.mT * diagonal.sign().unsqueeze(1)


def _explain_no_basis(A: Tensor, sine: Tensor, smallest: float) -> None:
    broken = (~A.isfinite()).any(dim=1).nonzero()
    if len(broken):
        raise UserError(
            f"A must be finite, but row {int(broken[0])} (counted from 0) holds NaN or infinity. "
            "If A came from training, lower the learning rate."
        )
    row = int((~(sine > smallest)).nonzero()[0])
    raise UserError(
        f"Row {row} of A (counted from 0) is zero or depends on the rows before it: the sine of its angle to them is "
        f"{float(sine[row]):.1e}, at least {smallest:.1e} is needed. Drop the row or start A at random."
    )


def check_orthonormal(Q: Any, tolerance: float = 1e-4) -> str | None:
    """Say why the rows of ``Q`` are not orthonormal.

    Args:
        Q: (ndirs, dim) numpy array or torch tensor, any float type and device.
        tolerance: Largest allowed deviation of an entry of ``Q Qᵀ`` from the identity.

    Returns:
        The reason, starting in lower case so that it can follow a subject, or ``None`` if the rows are orthonormal.

    Example:
        >>> check_orthonormal(np.eye(2, 3)) is None
        True
        >>> check_orthonormal(np.array([[1.0, 0.0], [1.0, 0.0]]))
        'rows 0 and 1 are not perpendicular: their product is 1, not 0'
    """
    if hasattr(Q, "detach"):
        Q = Q.detach().cpu().double().numpy()
    matrix = np.asarray(Q, dtype=np.float64)
    if matrix.ndim != 2 or not 1 <= matrix.shape[0] <= matrix.shape[1]:
        return f"its shape is {matrix.shape}, not (ndirs, dim) with 1 <= ndirs <= dim"
    finite = np.isfinite(matrix).all(axis=1)
    if not finite.all():
        return f"row {int(np.argmin(finite))} holds NaN or infinity"
    products = matrix @ matrix.T
    error = np.abs(products - np.eye(len(matrix)))
    lengths = error.diagonal()
    if lengths.max() > tolerance:
        row = int(lengths.argmax())
        return f"row {row} has length {np.sqrt(products[row, row]):.6g}, not 1"
    if error.max() > tolerance:
        first, second = sorted(int(i) for i in np.unravel_index(error.argmax(), error.shape))
        return f"rows {first} and {second} are not perpendicular: their product is {products[first, second]:.6g}, not 0"
    return None


@dataclass(frozen=True)
class SearchSpace:
    """The components ``start`` to ``stop`` − 1 of the latent, in which directions are searched.

    Attributes:
        start: First component, counted from 0.
        stop: One past the last component.
        dim_z: Width of the whole latent.

    Example:
        >>> space = SearchSpace.parse("0:40", dim_z=120)
        >>> space.size, str(space)
        (40, '0:40')
        >>> str(SearchSpace.parse("fine", dim_z=120))
        '80:120'
    """

    start: int
    stop: int
    dim_z: int

    @classmethod
    def parse(cls, text: str, dim_z: int) -> SearchSpace:
        """Read ``START:STOP``, or the name of a third.

        The thirds are the paper's search spaces of plain BigGAN, whose layers see one chunk of z each: components 0–39,
        40–79 and 80–119 of 120. BigGAN-deep's z enters every layer as a whole; there, ``layers`` are the counterpart.

        Args:
            text: Such as ``"0:40"``, ``"80:"``, ``"coarse"``, ``"mid"``, ``"fine"`` or ``"all"``; an end left out is
                that end of the latent, as in a Python slice.
            dim_z: Width of the whole latent.

        Returns:
            The search space.

        Raises:
            UserError: If the text is no range, or the range is not within the latent.
        """
        ends, fault = read_range(text, dim_z), range_fault(text, dim_z, "components of z")
        if ends is None or fault:
            raise UserError(f"space {fault} Leave it out to search the whole of z.")
        return cls(*ends, dim_z)

    def __str__(self) -> str:
        """Write the range as `parse` reads it."""
        return f"{self.start}:{self.stop}"

    @property
    def size(self) -> int:
        """Number of components in the range: as many directions are worth learning."""
        return self.stop - self.start

    def embed(self, A: Tensor) -> Tensor:
        """Place rows of the space in the whole latent, with zeros elsewhere.

        Args:
            A: (ndirs, size).

        Returns:
            (ndirs, dim_z), differentiable with respect to ``A``; orthonormal if the rows of ``A`` are.
        """
        import torch

        assert A.shape[1] == self.size, "rows of another space"
        return torch.nn.functional.pad(A, (self.start, self.dim_z - self.stop))


def initial_matrix(
    ndirs: int,
    size: int,
    kind: Literal["random", "identity"] = "random",
    rng: torch.Generator | None = None,
    *,
    dtype: torch.dtype | None = None,
) -> Tensor:
    """Make the matrix that discovery starts from.

    Args:
        ndirs: Number of rows, at most ``size``.
        size: Width of the searched space.
        kind: ``"random"``: normal entries with standard deviation 1/√size, so that rows have a length of about 1, to
            which the learning rate is relative; ``"identity"``: the first axes of the space.
        rng: Source of the entries, on the CPU, so that they are the same for every device; ``None`` is the global one.
        dtype: Float type; ``None`` is torch's default.

    Returns:
        (ndirs, size), not yet orthonormal.
    """
    import torch

    if kind == "identity":
        return torch.eye(ndirs, size, dtype=dtype)
    return torch.randn(ndirs, size, generator=rng, dtype=dtype).div_(size**0.5)


def random_basis(
    ndirs: int, dim: int, rng: torch.Generator | None = None, *, dtype: torch.dtype | None = None
) -> Tensor:
    """Draw orthonormal rows uniformly over all orthonormal frames: the baseline that learned directions must beat.

    Args:
        ndirs: Number of rows, at most ``dim``.
        dim: Width of a row.
        rng: Source of the draw; ``None`` uses the global one.
        dtype: Float type of the result; ``None`` is torch's default. The draw is float64 in any case.

    Returns:
        (ndirs, dim) orthonormal rows.

    Example:
        >>> import torch
        >>> check_orthonormal(random_basis(3, 5, torch.Generator().manual_seed(0))) is None
        True
    """
    import torch

    normal = initial_matrix(ndirs, dim, "random", rng, dtype=torch.float64)
    return gram_schmidt(normal).to(dtype or torch.get_default_dtype())
