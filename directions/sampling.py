"""Draw places and steps, and move latents along directions: all that is drawn follows from a seed and a counter."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from directions.device import in_precision
from directions.generators.base import Generator, LayerRange, edited_images
from directions.settings.discover import Precision


def derived_rng(seed: int, step: int = 0, purpose: str = "train") -> torch.Generator:
    """Make the source of randomness of one step.

    Args:
        seed: The run's seed.
        step: The step, or any other counter.
        purpose: What is drawn; different purposes give unrelated numbers.

    Returns:
        A CPU generator that depends on the three arguments only, on every machine: no random state is carried from step
        to step, so that a resumed run needs none. Draws are moved to other devices, which so get the same samples.
    """
    # Hashed, because a sum would make seed 1, step 2 the same as seed 2, step 1.
    digest = hashlib.blake2b(f"{purpose}/{seed}/{step}".encode(), digest_size=8).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest, "big") >> 1)


@dataclass(frozen=True)
class Points:
    """Places in the latent space at which something is measured.

    Attributes:
        z: Latents, (points, |z|).
        y: Class indices, (points,); ``None`` for a generator without classes.
    """

    z: Tensor
    y: Tensor | None

    def __len__(self) -> int:
        """Return the number of points."""
        return len(self.z)

    def __getitem__(self, part: slice) -> Points:
        """Return a part of the points, as views."""
        return Points(self.z[part], None if self.y is None else self.y[part])

    def repeat(self, times: int) -> Points:
        """Return all points ``times`` times one after the other: row ``r`` is point ``r % len(self)``."""
        return Points(self.z.repeat(times, 1), None if self.y is None else self.y.repeat(times))


def draw_points(
    generator: Generator, n: int, rng: torch.Generator, *, classes: tuple[int, ...], truncation: float
) -> Points:
    """Draw latents from the generator's prior, and classes uniformly.

    Args:
        generator: Knows its prior.
        n: Number of points.
        rng: Source of randomness, on the CPU.
        classes: Class indices to draw from, as `resolve_classes` returns them.
        truncation: Spread of z, in (0, 1].

    Returns:
        Points on the generator's device.
    """
    z = generator.sample_z_from(n, rng, truncation).to(generator.device)
    if not classes:
        return Points(z, None)
    chosen = torch.randint(len(classes), (n,), generator=rng)
    return Points(z, torch.tensor(classes)[chosen].to(generator.device))


def draw_steps(
    n: int, ndirs: int, path_size: float, rng: torch.Generator | None = None, *, dtype: torch.dtype | None = None
) -> tuple[Tensor, Tensor]:
    """Draw ``n`` steps, each along one direction.

    Args:
        n: Number of steps.
        ndirs: Number of directions ``N``; each is drawn equally often in the long run.
        path_size: Bound of the step length, in latent units.
        rng: Source of the draw, on the CPU, which gives the same steps for every device; ``None`` is the global one.
        dtype: Float type of the lengths; ``None`` is torch's default.

    Returns:
        Direction indices (n,), int64, uniform over 0 … ndirs − 1, and lengths eta (n,), uniform on
        [−path_size, path_size).
    """
    index = torch.randint(ndirs, (n,), generator=rng)
    return index, torch.rand(n, generator=rng, dtype=dtype).mul_(2).sub_(1).mul_(path_size)


def one_hot_steps(index: Tensor, eta: Tensor, ndirs: int) -> Tensor:
    """Write steps along single directions as rows ``w = η·e_i``.

    Args:
        index: (n,) direction of each step, 0 … ndirs − 1.
        eta: (n,) signed length of each step, in latent units.
        ndirs: Number of directions ``N``.

    Returns:
        ``w`` (n, ndirs), of the type of ``eta`` and differentiable with respect to it.

    Example:
        >>> one_hot_steps(torch.tensor([2, 0]), torch.tensor([-1.5, 4.0]), 3)
        tensor([[ 0.0000,  0.0000, -1.5000],
                [ 4.0000,  0.0000,  0.0000]])
    """
    return eta.new_zeros(len(index), ndirs).scatter(1, index.unsqueeze(1), eta.unsqueeze(1))


def move(z: Tensor, Q: Tensor, w: Tensor) -> Tensor:
    """Move latents along the directions: ``z + wQ``.

    Args:
        z: (…, dim) latents.
        Q: (ndirs, dim) directions as rows.
        w: (…, ndirs) signed distance along each direction, in latent units; batch shapes broadcast.

    Returns:
        (…, dim) moved latents.

    Example:
        >>> move(torch.tensor([1.0, 1.0]), torch.tensor([[0.0, 1.0]]), torch.tensor([[-2.0], [3.0]]))
        tensor([[ 1., -1.],
                [ 1.,  4.]])
    """
    return z + w @ Q


def image_map(
    generator: Generator,
    points: Points,
    basis: Tensor,
    truncation: float,
    layers: LayerRange | None = None,
    *,
    precision: Precision = "float32",
) -> Callable[[Tensor], Tensor]:
    """Return the function that the penalty is about: steps w to images.

    Args:
        generator: In eval mode.
        points: The places z, y that the steps start from, n of them.
        basis: Directions, (ndirs, |z|).
        truncation: The generator's truncation setting, in (0, 1].
        layers: The layers that see the moved z, the others see z; ``None`` is all. What lies before them is computed
            here, once, and not each time that the map is called.
        precision: In which the generator makes the images; latents are moved in their own.

    Returns:
        A map from w, (m·n, ndirs), whose row r starts from point r % n, to images, (m·n, 3, height, width).
    """
    images = edited_images(generator, points.z, points.y, layers=layers, truncation=truncation)

    def moved_images(w: Tensor) -> Tensor:
        moved = move(points.z.repeat(len(w) // len(points), 1), basis, w)
        with in_precision(precision, moved.device):
            return images(moved)

    return moved_images
