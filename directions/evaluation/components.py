"""How active each component of z is, and how many of them carry the image: the shrinking of the latent space.

After training. A generator that is trained with the penalty switches components off that it does not need; this counts
those that are left. Activeness itself is measured by `directions.evaluation.activeness`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from directions.errors import UserError
from directions.evaluation.activeness import activeness
from directions.generators.progan import ProGAN

if TYPE_CHECKING:
    from directions.generators.base import Generator

CARRIED = 0.95


@dataclass(frozen=True)
class ComponentActiveness:
    """Activeness of the components of z.

    Attributes:
        values: Of each component, in units of image²; images are in [−1, 1].
    """

    values: tuple[float, ...]

    @property
    def order(self) -> tuple[int, ...]:
        """The components, most active first; of equal ones the first first."""
        return tuple(sorted(range(len(self.values)), key=lambda i: -self.values[i]))

    @property
    def carrying(self) -> int:
        """The smallest number of components that have 95 % of the activeness of all; 0 if nothing is active."""
        return components_carrying(self.values)

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain JSON types."""
        return {"carrying_95": self.carrying, "order": list(self.order), "activeness": list(self.values)}


def component_activeness(
    generator: Generator,
    *,
    samples: int = 300,
    progan_normalised_from: int = 12,
    classes: Sequence[int] = (),
    truncation: float = 1.0,
    seed: int = 0,
    rows: int = 64,
    count: Callable[[int], object] = lambda images: None,
) -> ComponentActiveness:
    """Measure the activeness of each component of z, as the paper's code does.

    For each of 300 latents the component is set to −2, 0 and 2, the others staying as they are; activeness is the
    variance of the three images (unbiased), averaged over pixels and latents. The latents of a ProGAN are normalised
    before and not after, as by the paper's ``figures.py`` (else the others would not stay); below 12 components, where
    it advises ``--interpolate_pre_norm``, components are set in the latents as drawn.

    Args:
        generator: In eval mode.
        samples: Number of latents.
        progan_normalised_from: Components from which on those of a ProGAN are set behind its normalisation.
        classes: Class indices that samples are drawn from, uniformly; empty for a generator without classes.
        truncation: Spread of z and the generator's setting, in (0, 1]; the component's values are multiplied by it.
        seed: Seed of the latents.
        rows: Images to make at once, at most; at least three are.
        count: Called with the number of images that were just made (a progress bar).

    Returns:
        The activeness of each component.
    """
    if isinstance(generator, ProGAN) and generator.dim_z >= progan_normalised_from:
        generator = generator.after_norm()
    axes = torch.eye(generator.dim_z)
    measured = activeness(
        generator, axes, samples=samples, classes=classes, truncation=truncation, seed=seed, rows=rows, count=count
    )
    return ComponentActiveness(tuple(measured.tolist()))


def components_carrying(values: Sequence[float], share: float = CARRIED) -> int:
    """Count the components that carry a share of the activeness.

    Args:
        values: Activeness of each component, not negative.
        share: The share of the sum wanted, in (0, 1].

    Returns:
        The smallest number of components, most active first, whose activeness adds up to it; 0 if all are 0.

    Raises:
        UserError: If the share is out of range.

    Example:
        >>> components_carrying([0.0, 6.0, 1.0, 3.0], share=0.9)
        2
    """
    if not 0 < share <= 1:
        raise UserError(f"share must be above 0 and at most 1, got {share}.")
    wanted, total = share * sum(values), 0.0
    for number, value in enumerate(sorted(values, reverse=True)):
        # By less than rounding: 95 of 100 equal components carry 95 %.
        if total >= wanted * (1 - 1e-12):
            return number
        total += value
    return len(values)
