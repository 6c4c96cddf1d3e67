r"""Fréchet distance between real and generated images, in the features of a named network.

After training. Both sets of features are taken for normal distributions, and the distance of these is

.. math:: d^2 = |\mu_r - \mu_g|^2 + \operatorname{tr}\bigl(C_r + C_g - 2 (C_r C_g)^{1/2}\bigr).

With Inception's features this is the FID; with another network's it is another number and has another name. It depends
on the number of images, which a metric's name therefore holds. torchmetrics computes it, in float64; this module feeds
it, and keeps the statistics of real images.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor, nn

from directions.atomic import atomic_write
from directions.errors import MissingExtraError, NonFiniteError, UserError
from directions.evaluation.images import as_saved

if TYPE_CHECKING:
    from torchmetrics.image.fid import FrechetInceptionDistance

_STATES = ("real_features_sum", "real_features_cov_sum", "real_features_num_samples")


class FeatureNetwork(Protocol):
    """What a Fréchet distance needs of a network.

    Attributes:
        name: Stands in the names of metrics.
        num_features: Width of its features.
        digest: SHA-256 of the weights.
    """

    name: str
    num_features: int
    digest: str

    def __call__(self, images: Tensor) -> Tensor:
        """Turn (batch, 3, height, width) images in [−1, 1] into (batch, num_features)."""
        ...


class FrechetDistance:
    """Collects features of real and of generated images, batch by batch, and computes their distance.

    Images are rounded to 256 levels first, as files are.

    Args:
        network: Whose features.
        device: Where images are sent.

    Raises:
        MissingExtraError: If the extra ``metrics`` is not installed.
    """

    def __init__(self, network: FeatureNetwork, device: torch.device | str = "cpu") -> None:
        try:
            from torchmetrics.image.fid import FrechetInceptionDistance
        except ImportError as error:
            raise MissingExtraError("A Fréchet distance", "metrics") from error
        self._network = network
        self._device = torch.device(device)
        self._metric: FrechetInceptionDistance = FrechetInceptionDistance(feature=_Identity(network.num_features))

    @property
    def num_real(self) -> int:
        """Real images so far."""
        return int(self._metric.real_features_num_samples)

    @property
    def num_generated(self) -> int:
        """Generated images so far."""
        return int(self._metric.fake_features_num_samples)

    def add_real(self, images: Tensor) -> None:
        """Take in real images.

        Args:
            images: (batch, 3, height, width) in [−1, 1].
        """
        self._add(images, real=True)

    def add_generated(self, images: Tensor) -> None:
        """Take in generated images.

        Args:
            images: (batch, 3, height, width) in [−1, 1].
        """
        self._add(images, real=False)

    @torch.no_grad()
    def _add(self, images: Tensor, *, real: bool) -> None:
        features = self._network(as_saved(images.to(self._device)))
        if not bool(features.isfinite().all()):
            kind = "real" if real else "generated"
            raise NonFiniteError(f"The features of {kind} images hold NaN or infinity; so do the images, probably.")
        # In float64: sums of squares of 50,000 features lose too much in float32.
        self._metric.update(features.double().cpu(), real=real)

    def value(self) -> float:
        """Compute the distance.

        Returns:
            d², at least 0, in the network's units.

        Raises:
            UserError: If there are fewer than two images of a kind.
        """
        for kind, number in (("real", self.num_real), ("generated", self.num_generated)):
            if number < 2:
                raise UserError(f"A Fréchet distance needs at least 2 {kind} images, got {number}.")
        return max(0.0, float(self._metric.compute()))  # of equal sets, rounding may leave less than nothing

    def save_real(self, path: str | os.PathLike[str]) -> None:
        """Keep the statistics of the real images.

        Args:
            path: The file to write, wholly or not at all; its folder must exist.
        """
        from safetensors.torch import save

        data = save({name: getattr(self._metric, name).clone() for name in _STATES})
        with atomic_write(path) as partial:
            partial.write_bytes(data)

    def load_real(self, path: str | os.PathLike[str]) -> bool:
        """Take up kept statistics in the place of real images.

        Args:
            path: What `save_real` wrote.

        Returns:
            Whether they are there, whole, and of this network's width; if not, nothing has changed.
        """
        from safetensors.torch import load

        try:
            states: dict[str, Any] = load(Path(path).read_bytes())
        except Exception:  # noqa: BLE001 - it is a cache: whatever is wrong with it, it is made anew
            return False
        if set(states) != set(_STATES) or any(
            states[name].shape != getattr(self._metric, name).shape for name in _STATES
        ):
            return False
        for name, state in states.items():
            setattr(self._metric, name, state)
        return True


class _Identity(nn.Module):
    """Stands for the network inside torchmetrics, which gets features: so they are computed once and on any device."""

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.num_features = num_features

    def forward(self, features: Tensor) -> Tensor:
        return features


def frechet_distance(network: FeatureNetwork, real: Iterable[Tensor], generated: Iterable[Tensor]) -> float:
    """Compute the Fréchet distance between two sets of images.

    Args:
        network: Whose features.
        real: Batches of images (batch, 3, height, width) in [−1, 1].
        generated: Likewise.

    Returns:
        d², at least 0.
    """
    distance = FrechetDistance(network)
    for images in real:
        distance.add_real(images)
    for images in generated:
        distance.add_generated(images)
    return distance.value()
