"""Maps whose Hessians are known on paper: ground truth for tests, examples and documentation.

`Quadratic` has any Hessian one likes; `RotatedSeparable` has a diagonal one along its own directions, so
that they are what discovery should find. `directions.generators.closed_form` makes a generator of it.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from directions.errors import UserError, nearest

_CURVES = ("cos", "exp")


class Quadratic(nn.Module):
    r"""The map whose output p is :math:`\tfrac12 z^\top H_p z`.

    Args:
        H: (outputs, n, n) matrices; only their symmetric parts count.

    Raises:
        UserError: If ``H`` has another shape.

    Example:
        >>> f = Quadratic(torch.tensor([[[2.0, 3.0], [3.0, 0.0]]]))
        >>> f(torch.tensor([[1.0, 1.0]]))
        tensor([[4.]])
    """

    H: Tensor

    def __init__(self, H: Tensor) -> None:
        super().__init__()
        if H.ndim != 3 or H.shape[1] != H.shape[2]:
            raise UserError(f"H must be (outputs, n, n), got shape {tuple(H.shape)}.")
        self.register_buffer("H", (H + H.mT) / 2)

    def forward(self, z: Tensor) -> Tensor:
        """Evaluate the map.

        Args:
            z: (batch, n).

        Returns:
            (batch, outputs).
        """
        return torch.einsum("bi,pij,bj->bp", z, self.H, z) / 2

    def hessian(self, z: Tensor) -> Tensor:
        """Return the Hessians, the same everywhere.

        Args:
            z: (batch, n).

        Returns:
            (batch, outputs, n, n).
        """
        return self.H.expand(len(z), *self.H.shape)


class RotatedSeparable(nn.Module):
    r"""The map whose output p is :math:`\sum_i c_{pi}\, g(q_i · z)`: each direction :math:`q_i` acts by itself.

    Its Hessian :math:`Q^\top \mathrm{diag}(c_{pi}\, g''(q_i · z))\, Q` is diagonal along the rows of ``Q``. They are
    the only basis in which it is so at every z, up to order and sign, unless two columns of the weights are zero.

    Args:
        Q: (n, n) orthonormal directions as rows.
        weights: (outputs, n) the coefficients c.
        curve: The function g: ``"cos"`` or ``"exp"``.

    Raises:
        UserError: If shapes do not fit, ``Q`` is not orthonormal, or the curve is unknown.

    Example:
        >>> f = RotatedSeparable(torch.eye(2), torch.tensor([[1.0, 2.0]]))
        >>> f.hessian(torch.zeros(1, 2))
        tensor([[[[-1.,  0.],
                  [ 0., -2.]]]])
    """

    Q: Tensor
    weights: Tensor

    def __init__(self, Q: Tensor, weights: Tensor, *, curve: Literal["cos", "exp"] = "cos") -> None:
        super().__init__()
        if Q.ndim != 2 or Q.shape[0] != Q.shape[1] or weights.ndim != 2 or weights.shape[1] != Q.shape[0]:
            raise UserError(
                f"Q must be (n, n) and weights (outputs, n), got shapes {tuple(Q.shape)} and {tuple(weights.shape)}."
            )
        error = float((Q @ Q.mT - torch.eye(len(Q), dtype=Q.dtype, device=Q.device)).abs().max())
        if not error <= 1e-4:
            raise UserError(f"The rows of Q must be orthonormal, but Q Qᵀ differs from the identity by {error:.2g}.")
        if curve not in _CURVES:
            raise UserError(f"curve must be 'cos' or 'exp', got {curve!r}.{nearest(str(curve), _CURVES)}")
        self.curve = curve
        self.register_buffer("Q", Q.clone())
        self.register_buffer("weights", weights.clone())

    def forward(self, z: Tensor, shift: Tensor | None = None) -> Tensor:
        """Evaluate the map.

        Args:
            z: (batch, n).
            shift: (batch, n) added to the coordinates q_i·z; ``None`` is zero.

        Returns:
            (batch, outputs).
        """
        along = self._along(z, shift)
        return (along.cos() if self.curve == "cos" else along.exp()) @ self.weights.mT

    def hessian(self, z: Tensor, shift: Tensor | None = None) -> Tensor:
        """Write down the Hessians.

        Args:
            z: (batch, n).
            shift: As in `forward`.

        Returns:
            (batch, outputs, n, n).
        """
        along = self._along(z, shift)
        bend = -along.cos() if self.curve == "cos" else along.exp()
        return torch.einsum("bi,pi,ij,ik->bpjk", bend, self.weights, self.Q, self.Q)

    def _along(self, z: Tensor, shift: Tensor | None) -> Tensor:
        along = z @ self.Q.mT
        return along if shift is None else along + shift
