"""Losses of a growing GAN: Wasserstein with gradient penalty, and non-saturating with R1.

Scores of the discriminator come in, scalars for the two optimisers go out; ``losses`` has those of the BigGAN.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F


def wasserstein_discriminator(real: Tensor, fake: Tensor, *, drift: float = 0.001) -> Tensor:
    """Wasserstein loss of the discriminator, with a term that keeps scores from drifting.

    Args:
        real: (batch,) scores of real images.
        fake: (batch,) scores of generated images.
        drift: Weight of the mean squared score of real images.

    Returns:
        Scalar; the gradient penalty is to be added.

    References:
        Arjovsky et al. 2017, arXiv:1701.07875; Karras et al. 2018, arXiv:1710.10196, appendix A.1 (drift).
    """
    return fake.mean() - real.mean() + drift * real.square().mean()


def wasserstein_generator(fake: Tensor) -> Tensor:
    """Negative mean score of generated images, (batch,) to a scalar."""
    return -fake.mean()


def nonsaturating_discriminator(real: Tensor, fake: Tensor) -> Tensor:
    """Logistic loss of the discriminator.

    Args:
        real: (batch,) scores of real images.
        fake: (batch,) scores of generated images.

    Returns:
        Scalar; R1 is to be added.

    References:
        Goodfellow et al. 2014, arXiv:1406.2661.
    """
    return F.softplus(-real).mean() + F.softplus(fake).mean()


def nonsaturating_generator(fake: Tensor) -> Tensor:
    """Logistic loss of calling generated images real, (batch,) scores to a scalar."""
    return F.softplus(-fake).mean()


def gradient_norms(score: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    """Squared norm of the gradient of each image's score by the image.

    Args:
        score: (batch, 3, h, w) to (batch,) scores.
        images: (batch, 3, h, w).

    Returns:
        (batch,), through which the discriminator's weights can be reached.
    """
    images = images.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(score(images).sum(), images, create_graph=True)
    # Not in bfloat16, whose sums of many small squares would be coarse.
    return gradient.to(torch.promote_types(gradient.dtype, torch.float32)).square().sum(dim=(1, 2, 3))


def gradient_penalty(score: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor, mix: Tensor) -> Tensor:
    """How far the slope of the discriminator is from 1 between real and generated images.

    Args:
        score: Images to (batch,) scores.
        real: (batch, 3, h, w) real images.
        fake: (batch, 3, h, w) generated images.
        mix: (batch,) in [0, 1]: 0 looks at the real image, 1 at the generated one.

    Returns:
        Scalar: the mean squared difference of the norm of the gradient from 1.

    References:
        Gulrajani et al. 2017, arXiv:1704.00028.
    """
    between = torch.lerp(real, fake, mix.view(-1, 1, 1, 1))
    return ((gradient_norms(score, between) + 1e-12).sqrt() - 1).square().mean()


def r1_penalty(score: Callable[[Tensor], Tensor], real: Tensor) -> Tensor:
    """Half the mean squared norm of the discriminator's gradient at real images.

    Args:
        score: Images to (batch,) scores.
        real: (batch, 3, h, w) real images.

    Returns:
        Scalar.

    References:
        Mescheder et al. 2018, arXiv:1801.04406.
    """
    return gradient_norms(score, real).mean() / 2
