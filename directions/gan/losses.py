"""Adversarial losses: scores of the discriminator to scalars that the two optimisers minimise."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F


def hinge_discriminator(real: Tensor, fake: Tensor) -> Tensor:
    """Hinge loss of the discriminator.

    Args:
        real: (batch,) scores of real images.
        fake: (batch,) scores of generated images.

    Returns:
        Scalar; 0 where every real scores at least 1 and every fake at most -1.

    References:
        Lim and Ye 2017, arXiv:1705.02894.
    """
    return F.relu(1 - real).mean() + F.relu(1 + fake).mean()


def hinge_generator(fake: Tensor) -> Tensor:
    """Loss of the generator against a hinge discriminator: the negative mean score of what it made.

    Args:
        fake: (batch,) scores of generated images.

    Returns:
        Scalar.
    """
    return -fake.mean()
