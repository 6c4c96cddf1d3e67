"""Maps, and a generator, whose Hessians and directions are known on paper."""

from __future__ import annotations

import hashlib
import math
from typing import Any, Literal

import torch
from torch import Tensor, nn

from directions.generators.base import ClassConditional, Labels, check_truncation


class Quadratic(nn.Module):
    r"""The map whose output p is :math:`\tfrac12 z^\top H_p z`.

    Args:
        H: (outputs, n, n) matrices; only their symmetric parts count.

    Example:
        >>> f = Quadratic(torch.tensor([[[2.0, 3.0], [3.0, 0.0]]]))
        >>> f(torch.tensor([[1.0, 1.0]]))
        tensor([[4.]])
    """

    H: Tensor

    def __init__(self, H: Tensor) -> None:
        super().__init__()
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
        along = z @ self.Q.mT + (0 if shift is None else shift)
        return (along.cos() if self.curve == "cos" else along.exp()) @ self.weights.mT

    def hessian(self, z: Tensor, shift: Tensor | None = None) -> Tensor:
        """Write down the Hessians.

        Args:
            z: (batch, n).
            shift: As in `forward`.

        Returns:
            (batch, outputs, n, n).
        """
        along = z @ self.Q.mT + (0 if shift is None else shift)
        bend = -along.cos() if self.curve == "cos" else along.exp()
        return torch.einsum("bi,pi,ij,ik->bpjk", bend, self.weights, self.Q, self.Q)


class ClosedFormGenerator(ClassConditional):
    r"""A generator of images with a known Hessian and known directions.

    A pixel is :math:`\sum_i c_i \cos(q_i · z + φ_{yi})`: every direction fades one coloured wave pattern in and out, by
    itself. Everything follows from the arguments, so two such generators are equal. Like any module it can be turned
    to double precision, in which its Hessian is exact; latents then have to be, too.

    Args:
        dim_z: Width of the latent.
        resolution: Height and width of the images, in pixels.
        num_classes: Number of classes, which differ in the phases φ; 0 for a generator without classes.
        seed: Of the directions, patterns and phases.
        name: What the generator is called.
        class_names: Of the classes; ``class 0``, ``class 1``, … where none are given.

    Example:
        >>> generator = ClosedFormGenerator(dim_z=4, resolution=8)
        >>> generator(generator.sample_z(2, seed=0), y="class 1").shape
        torch.Size([2, 3, 8, 8])
    """

    phases: Tensor

    def __init__(
        self, dim_z: int = 4, resolution: int = 8, *, num_classes: int = 3, seed: int = 0, name: str = "closed-form",
        class_names: tuple[str, ...] = (),
    ) -> None:  # fmt: skip
        super().__init__(
            name=name, dim_z=dim_z, num_classes=num_classes, resolution=resolution, num_layers=1,
            digest=hashlib.sha256(f"{name} {dim_z} {resolution} {num_classes} {seed}".encode()).hexdigest(),
            class_names=(class_names or tuple(f"class {i}" for i in range(num_classes)))[:num_classes] or None,
        )  # fmt: skip
        rng = torch.Generator().manual_seed(seed)
        Q = torch.linalg.qr(torch.randn(dim_z, dim_z, generator=rng, dtype=torch.float64)).Q
        self.map = RotatedSeparable(Q.float(), _wave_patterns(dim_z, resolution, rng).float())
        self.register_buffer("phases", 2 * math.pi * torch.rand(max(1, num_classes), dim_z, generator=rng))

    @property
    def directions(self) -> Tensor:
        """The rows q_i, (dim_z, dim_z): what discovery should find, up to order and sign."""
        return self.map.Q

    def forward(self, z: Tensor, y: Labels | None = 0, *, truncation: float = 1.0) -> Tensor:
        """Make images.

        Args:
            z: (batch, dim_z) latents.
            y: Class index or name, or one for each latent; not used without classes.
            truncation: In (0, 1]; checked, but of no effect here, as there is no normalisation that depends on it.

        Returns:
            (batch, 3, resolution, resolution) in [−1, 1].
        """
        check_truncation(truncation)
        return self.map(z, self._shift(z, y)).unflatten(1, (3, self.resolution, self.resolution))

    def hessian(self, z: Tensor, y: Labels | None = 0) -> Tensor:
        """Write down the Hessian of every pixel.

        Args:
            z: (batch, dim_z) latents.
            y: As in `forward`.

        Returns:
            (batch, 3·resolution², dim_z, dim_z), pixels in the order of the flattened image.
        """
        return self.map.hessian(z, self._shift(z, y))

    def _shift(self, z: Tensor, y: Labels | None) -> Tensor:
        self.check_z(z)
        return self.phases[self.class_indices(y, len(z))]


def _wave_patterns(dim_z: int, resolution: int, rng: torch.Generator) -> Tensor:
    """One coloured plane wave a direction, (3·resolution², dim_z), scaled so that their sum stays in [−1, 1]."""
    place = torch.arange(resolution, dtype=torch.float64).add(0.5).div(resolution)
    rows, columns = torch.meshgrid(place, place, indexing="ij")
    frequency = 4 * torch.rand(2, dim_z, generator=rng, dtype=torch.float64) - 2  # at most two periods a side
    offset = torch.rand(dim_z, generator=rng, dtype=torch.float64)
    wave = torch.cos(2 * math.pi * (rows[..., None] * frequency[0] + columns[..., None] * frequency[1] + offset))
    colour = 2 * torch.rand(3, 1, 1, dim_z, generator=rng, dtype=torch.float64) - 1
    patterns = (colour * wave).reshape(-1, dim_z)
    return patterns / patterns.abs().sum(dim=1).max()


class DoubleGenerator(ClosedFormGenerator):
    """In float64, for tests whose claims are exact; latents come in it too, so that everything downstream is."""

    def __init__(self, dim_z: int = 4, resolution: int = 4, **settings: Any) -> None:
        super().__init__(dim_z, resolution, **settings)
        self.double()

    def sample_z_from(self, n: int, rng: torch.Generator, truncation: float = 1.0) -> Tensor:
        return super().sample_z_from(n, rng, truncation).double()


class TwoLayers(nn.Module):
    """A user's own network: a first linear layer and a last one, z of 4 to 16 × 16 pixels, in float64."""

    dim_z = 4

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.last = nn.Linear(4, 24), nn.Linear(24, 3 * 16 * 16)
        self.double()

    def forward(self, z: Tensor) -> Tensor:
        return self.last(self.first(z).relu()).tanh().view(-1, 3, 16, 16)
