"""A generator whose Hessian and directions are known on paper, for tests, examples and documentation.

It stands where a trained generator stands, at the start of the flow, and costs next to nothing: discovery on it takes
seconds and has a right answer. Its images are those of a map from `directions.generators.closed_form_maps`.
"""

from __future__ import annotations

import hashlib
import math

import torch
from torch import Tensor

from directions.errors import UserError
from directions.generators.base import ClassConditional, Labels, check_truncation
from directions.generators.closed_form_maps import RotatedSeparable

_NAME = "closed-form"


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

    Raises:
        UserError: If a size is too small.

    Example:
        >>> generator = ClosedFormGenerator(dim_z=4, resolution=8)
        >>> generator(generator.sample_z(2, seed=0), y="class 1").shape
        torch.Size([2, 3, 8, 8])
    """

    phases: Tensor

    def __init__(self, dim_z: int = 4, resolution: int = 8, *, num_classes: int = 3, seed: int = 0) -> None:
        for label, value, least in (
            ("dim_z", dim_z, 1),
            ("resolution", resolution, 1),
            ("num_classes", num_classes, 0),
        ):
            if value < least:
                raise UserError(f"{label} must be at least {least}, got {value}.")
        super().__init__(
            name=_NAME,
            dim_z=dim_z,
            num_classes=num_classes,
            resolution=resolution,
            num_layers=1,
            digest=hashlib.sha256(f"{_NAME} {dim_z} {resolution} {num_classes} {seed}".encode()).hexdigest(),
            class_names=tuple(f"class {i}" for i in range(num_classes)) or None,
        )
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
