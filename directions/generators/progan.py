"""ProGAN: the layers and the network that ``directions gan train`` trains, and a trained one as a generator."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor, nn
from torch.nn import functional as F

from directions.errors import UserError
from directions.files import write_bytes
from directions.generators.base import ClassConditional, Labels, check_truncation, normal
from directions.generators.weights import CONFIG, checked_digest, load_into

ARCH = "progan"
"""What config.json calls it, and the key of the header in weights.safetensors."""
FIRST_RESOLUTION = 4
_LEAK = 0.2
_EPSILON = 1e-8
_GAIN = math.sqrt(2.0)
_FIRST_GAIN = 2**0.5 / 4  # the first layer counts as a convolution over 4 × 4 pixels, as in the authors' networks


def resolutions(levels: int) -> tuple[int, ...]:
    """Return height and width at each level of growth, from 4 pixels on."""
    return tuple(FIRST_RESOLUTION * 2**level for level in range(levels))


def pixel_norm(x: Tensor) -> Tensor:
    """Give the feature vector at each pixel a mean square of 1.

    Args:
        x: (batch, channels, …), also a latent (batch, |z|).

    Returns:
        The same shape.

    References:
        Karras et al. 2018, arXiv:1710.10196, section 4.2.

    Example:
        >>> pixel_norm(torch.tensor([[3.0, 4.0]])).square().mean().round(decimals=4)
        tensor(1.)
    """
    return _PixelNorm.apply(x)


class _PixelNorm(torch.autograd.Function):
    """Pixel norm with a derivative written out: a third of the passes over memory that autograd would take.

    With y = x·r and r = (mean x² + ε)^(−1/2), the Jacobian at a pixel is r (I − y yᵀ / channels), a symmetric matrix.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        return x * _scale(x)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs, output)
        ctx.save_for_forward(*inputs, output)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return _times_jacobian(gradient, *ctx.saved_tensors)

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor) -> Tensor:
        return _times_jacobian(tangent, *ctx.saved_tensors)


def _scale(x: Tensor) -> Tensor:
    square = torch.linalg.vector_norm(x, dim=1, keepdim=True).square() / x.shape[1]
    return (square + _EPSILON).rsqrt()


def _times_jacobian(vector: Tensor, x: Tensor, normalised: Tensor) -> Tensor:
    along = (vector * normalised).mean(dim=1, keepdim=True)
    return torch.addcmul(vector, normalised, along, value=-1) * _scale(x)


def activate(x: Tensor) -> Tensor:
    """Leaky ReLU with slope 0.2 below 0, for a tensor of any shape."""
    return F.leaky_relu(x, _LEAK)


def upsample(x: Tensor, factor: int = 2) -> Tensor:
    """Repeat each pixel ``factor`` times in height and width: (batch, c, h, w) to (batch, c, f·h, f·w)."""
    return F.interpolate(x, scale_factor=factor, mode="nearest") if factor > 1 else x


def downsample(x: Tensor, factor: int = 2) -> Tensor:
    """Average over squares of ``factor`` pixels: (batch, c, h, w) to (batch, c, h/f, w/f)."""
    return F.avg_pool2d(x, factor) if factor > 1 else x


class EqualisedConv(nn.Conv2d):
    """Convolution whose weights are drawn from N(0, 1) and scaled by He's constant each time they are used.

    Adam's steps do not depend on the size of a gradient, so all layers then learn at the same rate relative to their
    weights.

    Args:
        channels_in: Channels that come in.
        channels_out: Channels that go out.
        kernel_size: Height and width of the kernel, odd; borders are padded with zeros.
        gain: Of the activation that follows; sqrt(2) for leaky ReLU, 1 for none.

    References:
        Karras et al. 2018, arXiv:1710.10196, section 4.1.
    """

    def __init__(self, channels_in: int, channels_out: int, kernel_size: int, *, gain: float = _GAIN) -> None:
        super().__init__(channels_in, channels_out, kernel_size, padding=kernel_size // 2)
        self.scale = gain / math.sqrt(channels_in * kernel_size**2)
        nn.init.normal_(self.weight)
        assert self.bias is not None
        nn.init.zeros_(self.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, channels_in, h, w) to (batch, channels_out, h, w)."""
        return F.conv2d(x, self.weight * self.scale, self.bias, padding=self.padding)


class EqualisedLinear(nn.Linear):
    """Linear layer with an equalised learning rate, see `EqualisedConv`.

    Args:
        features_in: Features that come in.
        features_out: Features that go out.
        gain: Of the activation that follows.
    """

    def __init__(self, features_in: int, features_out: int, *, gain: float = _GAIN) -> None:
        super().__init__(features_in, features_out)
        self.scale = gain / math.sqrt(features_in)
        nn.init.normal_(self.weight)
        nn.init.zeros_(self.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, features_in) to (batch, features_out)."""
        return F.linear(x, self.weight * self.scale, self.bias)


class FirstBlock(nn.Module):
    """From the normalised latent to features of 4 × 4 pixels.

    Args:
        dim_z: |z|.
        channels: Channels that go out.
    """

    def __init__(self, dim_z: int, channels: int) -> None:
        super().__init__()
        self.dense = EqualisedLinear(dim_z, channels * FIRST_RESOLUTION**2, gain=_FIRST_GAIN)
        self.conv = EqualisedConv(channels, channels, 3)

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Map normalised latents, (batch, |z|), to the two normalised activations, each (batch, channels, 4, 4)."""
        x = self.dense(z).unflatten(1, (-1, FIRST_RESOLUTION, FIRST_RESOLUTION))
        first = pixel_norm(activate(x))
        return first, pixel_norm(activate(self.conv(first)))


class GrowBlock(nn.Module):
    """Double height and width, then two convolutions.

    Args:
        channels_in: Channels that come in.
        channels: Channels that go out.
    """

    def __init__(self, channels_in: int, channels: int) -> None:
        super().__init__()
        self.conv_0 = EqualisedConv(channels_in, channels, 3)
        self.conv_1 = EqualisedConv(channels, channels, 3)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Map (batch, channels_in, h, w) to the two normalised activations, each (batch, channels, 2h, 2w)."""
        first = pixel_norm(activate(self.conv_0(upsample(x))))
        return first, pixel_norm(activate(self.conv_1(first)))


class ProGANNetwork(nn.Module):
    """The generator of Progressive Growing: z to an image of the resolution it has grown to.

    Every block has two normalised activations; they are numbered 0, 1 (4 pixels), 2, 3 (8 pixels) and so on.

    Args:
        dim_z: |z|.
        channels: Channels at 4, 8, 16, … pixels; as many as there are levels.

    References:
        Karras et al. 2018, arXiv:1710.10196.
    """

    def __init__(self, dim_z: int, channels: Sequence[int]) -> None:
        super().__init__()
        self.dim_z, self.channels = dim_z, tuple(channels)
        self.resolutions = resolutions(len(self.channels))
        blocks: list[nn.Module] = [FirstBlock(dim_z, self.channels[0])]
        blocks += [GrowBlock(*pair) for pair in zip(self.channels, self.channels[1:], strict=False)]
        self.blocks = nn.ModuleList(blocks)
        self.to_rgb = nn.ModuleList(EqualisedConv(width, 3, 1, gain=1.0) for width in self.channels)

    @property
    def levels(self) -> int:
        """Number of resolutions."""
        return len(self.channels)

    def forward(self, z: Tensor, level: int | None = None, alpha: float = 1.0, *, normalise: bool = True) -> Tensor:
        """Make images.

        Args:
            z: (batch, |z|) latents, as drawn: the network normalises them.
            level: How far it has grown, from 0 (4 pixels); ``None`` is the last level.
            alpha: Weight of the newest block, in [0, 1]; the rest is the level before, enlarged.
            normalise: False takes latents as they are, for edits of latents that have been normalised.

        Returns:
            (batch, 3, 4·2^level, 4·2^level), images in [-1, 1] but for what overshoots.
        """
        level = self.levels - 1 if level is None else level
        features = [pair[1] for pair in self._blocks(pixel_norm(z) if normalise else z, level)]
        return self._image(features, level, alpha)

    def activations(
        self, z: Tensor, layers: Sequence[int], level: int | None = None, alpha: float = 1.0, *, image: bool = False
    ) -> list[Tensor]:
        """Return normalised activations, as the penalty wants them.

        Args:
            z: (batch, |z|) latents, as drawn.
            layers: Numbers of activations, ascending; those of later levels are left out.
            level: How far the network has grown; ``None`` is the last level.
            alpha: Weight of the newest block in the image.
            image: Append the image too.

        Returns:
            Each (batch, channels, height, width).
        """
        level = self.levels - 1 if level is None else level
        # Blocks after the last layer that is wanted are not computed, but for the image.
        deepest = level if image else min(level, max(layers, default=-1) // 2)
        pairs = list(self._blocks(pixel_norm(z), deepest)) if deepest >= 0 else []
        wanted = [pairs[layer // 2][layer % 2] for layer in layers if layer // 2 <= deepest]
        return [*wanted, self._image([pair[1] for pair in pairs], level, alpha)] if image else wanted

    def _blocks(self, x: Tensor, last: int) -> Iterator[tuple[Tensor, Tensor]]:
        for block in self.blocks[: last + 1]:
            pair: tuple[Tensor, Tensor] = block(x)
            yield pair
            x = pair[1]

    def _image(self, features: Sequence[Tensor], level: int, alpha: float) -> Tensor:
        newest: Tensor = self.to_rgb[level](features[level])
        if level == 0 or alpha >= 1:
            return newest
        return torch.lerp(upsample(self.to_rgb[level - 1](features[level - 1])), newest, alpha)


class ProGAN(ClassConditional):
    """A frozen ProGAN.

    z is drawn from a normal distribution, times the truncation. The network normalises z, so that truncation changes
    nothing in the images.

    Args:
        network: With its weights; it is frozen.
        name: What `load_generator` was given.
        digest: SHA-256 of the weights.
        level: How far the weights had grown; images of an earlier level are enlarged to the last one's resolution.
        alpha: Weight of the newest block, in [0, 1].
    """

    def __init__(
        self, network: ProGANNetwork, *, name: str, digest: str, level: int | None = None, alpha: float = 1.0
    ) -> None:
        super().__init__(
            name=name, digest=digest, dim_z=network.dim_z, num_classes=0, resolution=network.resolutions[-1],
            num_layers=1,
        )  # fmt: skip
        self.network = network.requires_grad_(False)
        self.level = network.levels - 1 if level is None else level
        self.alpha, self.normalise = alpha, True
        self.eval()

    def after_norm(self) -> ProGAN:
        """Return the generator behind its first normalisation, with the same weights.

        Its latents are normalised when they are drawn, to a mean square of 1, and taken as they are by a call. A
        component can then be set without the network's scaling all others.
        """
        behind = copy.copy(self)
        behind.normalise = False
        return behind

    def sample_z_from(self, n: int, rng: torch.Generator, truncation: float = 1.0) -> Tensor:
        """Draw latents from a source of randomness.

        Args:
            n: Number of latents, at least 1.
            rng: On the CPU.
            truncation: Factor, in (0, 1].

        Returns:
            (n, dim_z) float32 on the CPU, normal with that standard deviation; normalised if calls do not do it.
        """
        # In float64: torch draws large and small float32 batches in different ways, and a sample must not depend on it.
        z = normal(n, self.dim_z, rng, truncation, torch.float64)
        return (z if self.normalise else pixel_norm(z)).float()

    def forward(self, z: Tensor, y: Labels | None = 0, *, truncation: float = 1.0) -> Tensor:
        """Make images.

        Args:
            z: (batch, dim_z) latents.
            y: Not used: there are no classes.
            truncation: In (0, 1]; z has it in its spread already.

        Returns:
            (batch, 3, resolution, resolution) in [-1, 1].
        """
        self.check_z(z)
        check_truncation(truncation)
        images = self.network(z, self.level, self.alpha, normalise=self.normalise).clamp(-1, 1)
        return upsample(images, self.resolution // images.shape[2])


def write_progan(network: ProGANNetwork, path: Path, *, level: int, alpha: float, kimg: float) -> None:
    """Write weights.safetensors, whole or not at all.

    Args:
        network: The averaged generator.
        path: The file.
        level: How far it has grown.
        alpha: Weight of its newest block.
        kimg: Training so far, in kimg.
    """
    state = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in network.state_dict().items()}
    header = json.dumps({"level": level, "alpha": alpha, "kimg": kimg}, sort_keys=True)
    write_bytes(path, save(state, {ARCH: header}))


def read_progan(path: Path, config: Mapping[str, Any], name: str) -> ProGAN:
    """Read a ProGAN that `write_progan` wrote.

    Args:
        path: The weights.
        config: Content of config.json beside it, with ``dim_z`` and ``channels``.
        name: What `load_generator` was given.

    Returns:
        The generator.

    Raises:
        UserError: If the file is damaged, or does not fit the configuration.
    """
    where = path.with_name(CONFIG)
    try:
        network = ProGANNetwork(int(config["dim_z"]), [int(width) for width in config["channels"]])
    except (KeyError, TypeError, ValueError, RuntimeError, IndexError):
        needs = "it must have dim_z, and channels (one width for each of 4, 8, … pixels)"
        raise UserError(f"{where} is no ProGAN configuration: {needs}.") from None
    load_into(network, path, str(where))
    with safe_open(path, "pt") as file:
        header = json.loads((file.metadata() or {}).get(ARCH, "{}"))  # weights from elsewhere are taken for grown ones
    growth = {"level": header.get("level", network.levels - 1), "alpha": header.get("alpha", 1.0)}
    return ProGAN(network, name=name, digest=checked_digest(path), **growth)
