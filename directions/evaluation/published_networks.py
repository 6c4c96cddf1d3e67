"""The networks of published figures: Inception (FID) and VGG16 with LPIPS's weights, through torchmetrics.

Beside `directions.evaluation.efficientnet`, and used in its place when a metric's name says so. Their weights
come with no package and are not downloaded: the files are looked for on this machine, and the error says which belongs
where. The extra ``fid`` brings the libraries.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from directions.errors import MissingExtraError, UserError
from directions.evaluation.images import resized


@dataclass(frozen=True)
class WeightFile:
    """A file of weights that somebody else publishes.

    Attributes:
        name: Its file name, which ends in the first digits of its SHA-256.
        url: Where it is published.
        network: What it is of.
    """

    name: str
    url: str
    network: str

    def find(self) -> str:
        """Find the file where torch keeps such files: ``checkpoints`` in torch.hub's folder.

        Returns:
            Its SHA-256.

        Raises:
            UserError: If it is not there, or is another file than its name says.
        """
        path = self.path
        if not path.is_file():
            raise UserError(
                f"The weights of {self.network} are not on this machine. Put {self.name} into {path.parent}; it is "
                f"published at {self.url}. Or use a metric with effnetlite0 in its name: its weights come in a package."
            )
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        expected = path.stem.rsplit("-", 1)[1]
        if not digest.startswith(expected):
            raise UserError(
                f"{path} is not the file that its name says: its SHA-256 should begin with {expected}, and is "
                f"{digest}. Get it again from {self.url}."
            )
        return digest

    @property
    def path(self) -> Path:
        """Where the file belongs; ``TORCH_HOME`` moves it."""
        return Path(torch.hub.get_dir(), "checkpoints", self.name)


INCEPTION = WeightFile(
    "weights-inception-2015-12-05-6726825d.pth",
    "https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/weights-inception-2015-12-05-6726825d.pth",
    "Inception (the network of FID)",
)
VGG16 = WeightFile(
    "vgg16-397923af.pth", "https://download.pytorch.org/models/vgg16-397923af.pth", "VGG16 (the network of LPIPS)"
)


class Inception(nn.Module):
    """Inception as the FID uses it: 2048 pooled features, images enlarged to 299 × 299 as by TensorFlow 1.

    Args:
        model: torchmetrics' ``NoTrainInceptionV3``.
        digest: SHA-256 of the weights.

    Attributes:
        name: Stands in the names of metrics.
        num_features: Width of the features.
        digest: SHA-256 of the weights.
    """

    name = "inception"
    num_features = 2048

    def __init__(self, model: Any, digest: str) -> None:
        super().__init__()
        self.model = model
        self.digest = digest
        self.requires_grad_(False)

    def forward(self, images: Tensor) -> Tensor:
        """Compute the features of images.

        Args:
            images: (batch, 3, height, width) in [−1, 1]; rounded to 256 levels, which the network is given.

        Returns:
            (batch, 2048).
        """
        levels = ((images + 1) * 127.5 + 0.5).floor().clamp(0, 255).to(torch.uint8)
        features: Tensor = self.model(levels)
        return features


class VGG16Distance(nn.Module):
    """LPIPS with VGG16, of images brought to 256 × 256 pixels as the paper does.

    Args:
        model: torchmetrics' LPIPS network.
        digest: SHA-256 of the weights of VGG16.

    Attributes:
        name: Stands in the names of metrics.
        size: Height and width of what it sees, in pixels.
        digest: SHA-256 of the weights of VGG16.
    """

    name = "lpips_vgg"
    size = 256

    def __init__(self, model: Any, digest: str) -> None:
        super().__init__()
        self.model = model
        self.digest = digest
        self.requires_grad_(False)

    def distances(self, first: Tensor, second: Tensor) -> Tensor:
        """Measure how different pairs of images look.

        Args:
            first: (batch, 3, height, width) in [−1, 1].
            second: The same shape.

        Returns:
            (batch,), LPIPS.
        """
        values: Tensor = self.model(resized(first.float(), self.size), resized(second.float(), self.size))
        return values.flatten()


def load_inception(device: torch.device | str = "cpu") -> Inception:
    """Load Inception with the weights of the FID, from a file on this machine.

    Args:
        device: Where to put it.

    Returns:
        The network.

    Raises:
        MissingExtraError: If the extra ``fid`` is not installed.
    """
    digest = INCEPTION.find()
    try:
        from torchmetrics.image.fid import NoTrainInceptionV3

        with _nothing_unpickled():
            model = NoTrainInceptionV3("inception-v3-compat", ["2048"], str(INCEPTION.path), antialias=False)
    except ImportError as error:
        raise MissingExtraError("FID", "fid") from error
    return Inception(model, digest).to(device)


def load_vgg16_distance(device: torch.device | str = "cpu") -> VGG16Distance:
    """Load LPIPS with VGG16; its own weights come with torchmetrics, VGG16's from a file on this machine.

    Args:
        device: Where to put it.

    Returns:
        The network.

    Raises:
        MissingExtraError: If the extra ``fid`` is not installed.
    """
    digest = VGG16.find()
    try:
        from torchmetrics.image.lpip import LearnedPerceptualImagePatchSimilarity

        with _nothing_unpickled():
            model = LearnedPerceptualImagePatchSimilarity(net_type="vgg").net
    except ImportError as error:
        raise MissingExtraError("LPIPS", "fid") from error
    return VGG16Distance(model, digest).to(device)


@contextlib.contextmanager
def _nothing_unpickled() -> Iterator[None]:
    """Make torch.load refuse anything but tensors within the block, also where a library asks for more."""
    name = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"
    before = os.environ.get(name)
    os.environ[name] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before
