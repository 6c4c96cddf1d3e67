"""Plain BigGAN, the paper's own generator, from the weights that ajbrock/BigGAN-PyTorch writes (``G_ema.pth``).

A generator of the flow's first stop. Nothing has to be said about the architecture: channels, blocks, classes, chunks
of z, resolution and attention are read off the names and shapes of the state dict, which is then compared strictly with
what such a generator must have. What runs is the folded form of ``frozen``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from directions.errors import UserError
from directions.generators.base import check_truncation
from directions.generators.frozen import (
    Affine,
    Conditioning,
    FrozenAttention,
    FrozenBigGAN,
    FrozenBlock,
    FrozenConvolution,
)
from directions.generators.state_dict import first_difference, shapes

State = Mapping[str, Tensor]

_EPS = 1e-5
"""Added to the variances of the batch norms; the repository has no option that the published weights change."""
_SPECTRAL = re.compile(r"\.(u|sv)\d+$")
_STATISTICS = {"bn.running_mean": "stored_mean", "bn.running_var": "stored_var",
               "bn.stored_mean": "stored_mean", "bn.stored_var": "stored_var"}  # fmt: skip
_COUNTERS = (".num_batches_tracked", ".accumulation_counter")


@dataclass(frozen=True)
class Architecture:
    """The sizes of a plain BigGAN.

    Attributes:
        widths: Channels before the first block and after each one.
        attention: Blocks, counted from 0, that attention follows.
        bottom_width: Height and width, in pixels, of what the first layer gives.
        chunk: Components of z that the first layer sees.
        hierarchical: Whether each block sees a chunk of z of its own; if not, all of z goes into the first layer.
        shared: Width of the class embedding.
        num_classes: Number of classes.
    """

    widths: tuple[int, ...]
    attention: tuple[int, ...]
    bottom_width: int
    chunk: int
    hierarchical: bool
    shared: int
    num_classes: int

    @property
    def blocks(self) -> int:
        """Number of blocks; each doubles the resolution."""
        return len(self.widths) - 1

    @property
    def resolution(self) -> int:
        """Height and width of the images, in pixels."""
        return int(self.bottom_width * 2**self.blocks)

    @property
    def dim_z(self) -> int:
        """|z|."""
        return self.chunk * (1 + self.blocks) if self.hierarchical else self.chunk

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Name and shape of every tensor that is not spectral norm's."""
        condition = self.shared + (self.chunk if self.hierarchical else 0)
        needed: dict[str, tuple[int, ...]] = {
            "shared.weight": (self.num_classes, self.shared),
            "linear.weight": (self.widths[0] * self.bottom_width**2, self.chunk),
            "linear.bias": (self.widths[0] * self.bottom_width**2,),
        }
        for index, (before, after) in enumerate(zip(self.widths[:-1], self.widths[1:], strict=True)):
            block = f"blocks.{index}.0"
            for name, channels in (("bn1", before), ("bn2", after)):
                needed |= {f"{block}.{name}.{part}.weight": (channels, condition) for part in ("gain", "bias")}
                needed |= {f"{block}.{name}.{part}": (channels,) for part in ("stored_mean", "stored_var")}
            for name, channels, size in (("conv1", before, 3), ("conv2", after, 3), ("conv_sc", before, 1)):
                needed |= {f"{block}.{name}.weight": (after, channels, size, size), f"{block}.{name}.bias": (after,)}
            if index in self.attention:
                block = f"blocks.{index}.1"
                needed |= {f"{block}.{name}.weight": (after // 8, after, 1, 1) for name in ("theta", "phi")}
                needed[f"{block}.g.weight"] = (after // 2, after, 1, 1)
                needed[f"{block}.o.weight"] = (after, after // 2, 1, 1)
                needed[f"{block}.gamma"] = ()
        last = self.widths[-1]
        needed |= {f"output_layer.0.{part}": (last,) for part in ("gain", "bias", "stored_mean", "stored_var")}
        return needed | {"output_layer.2.weight": (3, last, 3, 3), "output_layer.2.bias": (3,)}


def looks_like_plain_biggan(state: State) -> bool:
    """Tell whether a state dict has the names of a plain BigGAN's generator."""
    return "linear.weight" in state and "blocks.0.0.conv1.weight" in state


def read_architecture(state: State, where: str) -> Architecture:
    """Read the sizes of a generator off its state dict.

    Args:
        state: In the names that the repository writes.
        where: Where it comes from, for messages.

    Returns:
        The sizes.

    Raises:
        UserError: If it is no plain BigGAN's generator with a shared class embedding.
    """
    if not looks_like_plain_biggan(state):
        deep = " It looks like a BigGAN-deep: load it as biggan-deep-128, -256 or -512." if _is_deep(state) else ""
        raise UserError(
            f"{where} is no plain BigGAN's generator: it has no linear.weight and blocks.0.0.conv1.weight, but "
            f"{', '.join(sorted(state)[:3])}, ….{deep} The file to give is G_ema.pth of ajbrock/BigGAN-PyTorch."
        )
    if "shared.weight" not in state:
        raise UserError(
            f"{where} has no shared.weight: only generators with a shared class embedding (G_shared) can be loaded."
        )
    found = shapes(state)
    try:
        count = 1 + max(
            int(match[1]) for name in state if (match := re.match(r"blocks\.(\d+)\.0\.conv1\.weight", name))
        )
        widths = [found["blocks.0.0.conv1.weight"][1]]
        widths += [found[f"blocks.{index}.0.conv1.weight"][0] for index in range(count)]
        num_classes, shared = found["shared.weight"]
        out, chunk = found["linear.weight"]
        condition = found["blocks.0.0.bn1.gain.weight"][1]
    except (KeyError, IndexError, ValueError) as error:
        raise UserError(f"{where} is no whole generator of a plain BigGAN: {error} is missing or misshapen.") from None
    return Architecture(
        widths=tuple(widths),
        attention=tuple(index for index in range(count) if f"blocks.{index}.1.theta.weight" in state),
        bottom_width=max(1, math.isqrt(out // max(1, widths[0]))),
        chunk=chunk,
        hierarchical=condition != shared,
        shared=shared,
        num_classes=num_classes,
    )


def _is_deep(state: State) -> bool:
    return any(name.startswith("generator.gen_z") for name in state)


def _normal_names(state: State) -> dict[str, Tensor]:
    """Bring the statistics of all kinds of batch norm that the repository has under one name."""
    renamed = {}
    for name, tensor in state.items():
        if name.endswith(_COUNTERS):
            continue
        for written, ours in _STATISTICS.items():
            if name.endswith(f".{written}"):
                name = f"{name.removesuffix(written)}{ours}"
        renamed[name] = tensor if tensor.dtype == torch.float64 else tensor.float()  # half-precision files too
    return renamed


def _folded(state: State, name: str) -> Tensor:
    """A layer's weight with its spectral norm divided out, as the repository does it in evaluation."""
    # One step of the power iteration from the kept left singular vector u0 gives the norm; sv0 is only a log.
    weight = state[f"{name}.weight"]
    u = state.get(f"{name}.u0")
    if u is None:
        return weight
    matrix = weight.flatten(1)
    v = F.normalize(u.reshape(1, -1).to(weight) @ matrix, dim=1)
    return weight / torch.linalg.vector_norm(v @ matrix.mT)


def _convolution(state: State, name: str) -> FrozenConvolution:
    return FrozenConvolution(_folded(state, name), state.get(f"{name}.bias"))


def _attention(state: State, name: str) -> FrozenAttention:
    query, key, value, out = (_convolution(state, f"{name}.{part}") for part in ("theta", "phi", "g", "o"))
    return FrozenAttention(query, key, value, out, state[f"{name}.gamma"])


class _Block(FrozenBlock):
    """Two convolutions and a convolution in the shortcut; the resolution doubles."""

    def __init__(self, state: State, name: str) -> None:
        super().__init__()
        self.conv1, self.conv2, self.shortcut = (
            _convolution(state, f"{name}.{part}") for part in ("conv1", "conv2", "conv_sc")
        )
        self.widths = (self.conv1.weight.shape[1], self.conv2.weight.shape[1])

    def forward(self, x: Tensor, affines: Sequence[Affine]) -> Tensor:
        (scale1, shift1), (scale2, shift2) = affines
        residual = torch.addcmul(shift1, x, scale1).relu_()
        residual = self.conv1(F.interpolate(residual, scale_factor=2, mode="nearest"))
        residual = self.conv2(torch.addcmul(shift2, residual, scale2).relu_())
        # A 1×1 convolution of repeated pixels is the repeated convolution, at a quarter of the cost.
        return residual + F.interpolate(self.shortcut(x), scale_factor=2, mode="nearest")


class BigGAN(FrozenBigGAN):
    """A frozen plain BigGAN.

    z is not cut off at 2, as the generator was trained without; ``truncation`` is a factor of z, and changes nothing
    in the normalisation.

    Args:
        state: A generator's state dict, in the names that the repository writes.
        name: What `load_generator` was given.
        digest: SHA-256 of the weights.
        where: Where the weights come from, for messages.
        class_names: A name for each class, or ``None``.
        class_synonyms: Other names of each class, or ``None``.

    Raises:
        UserError: If it is a state dict of something else; the message says what differs.
    """

    def __init__(
        self,
        state: State,
        *,
        name: str,
        digest: str,
        where: str = "the state dict",
        class_names: tuple[str, ...] | None = None,
        class_synonyms: Sequence[Sequence[str]] | None = None,
    ) -> None:
        state = _normal_names(state)
        self.architecture = sizes = read_architecture(state, where)
        found = {tensor: shape for tensor, shape in shapes(state).items() if not _SPECTRAL.search(tensor)}
        difference = first_difference(sizes.shapes(), found)
        if difference:
            raise UserError(
                f"{where} is no whole generator of a plain BigGAN of {sizes.resolution} pixels: {difference}."
            )
        layers: list[FrozenBlock | FrozenAttention] = []
        for index in range(sizes.blocks):
            layers.append(_Block(state, f"blocks.{index}.0"))
            if index in sizes.attention:
                layers.append(_attention(state, f"blocks.{index}.1"))
        super().__init__(
            layers,
            _convolution(state, "output_layer.2"),
            _conditioning(state, sizes),
            name=name,
            digest=digest,
            bottom_width=sizes.bottom_width,
            resolution=sizes.resolution,
            class_names=class_names,
            class_synonyms=class_synonyms,
        )

    def sample_z_from(self, n: int, rng: torch.Generator, truncation: float = 1.0) -> Tensor:
        """Draw latents from a source of randomness.

        Args:
            n: Number of latents, at least 1.
            rng: On the CPU.
            truncation: Factor, in (0, 1].

        Returns:
            (n, dim_z) float32 on the CPU, normal with standard deviation ``truncation``.

        Raises:
            UserError: If n or the truncation is outside its range.
        """
        check_truncation(truncation)
        if n < 1:
            raise UserError(f"n must be at least 1, got {n}.")
        return truncation * torch.randn(n, self.dim_z, generator=rng)


def _conditioning(state: State, sizes: Architecture) -> Conditioning:
    names = [f"blocks.{index}.0.{norm}" for index in range(sizes.blocks) for norm in ("bn1", "bn2")]
    every = [*names, "output_layer.0"]
    # The repository's first layer gives channel, height, width; ours height, width, channel.
    order = torch.arange(len(state["linear.bias"])).view(sizes.widths[0], -1).mT.flatten()
    first = F.pad(_folded(state, "linear"), (0, sizes.dim_z - sizes.chunk + sizes.shared))
    return Conditioning(
        dim_z=sizes.dim_z,
        embeddings=state["shared.weight"],
        first=first[order],
        first_bias=state["linear.bias"][order],
        scales=torch.cat([_columns(_folded(state, f"{norm}.gain"), norm, sizes) for norm in names]),
        shifts=torch.cat([_columns(_folded(state, f"{norm}.bias"), norm, sizes) for norm in names]),
        means=torch.cat([state[f"{norm}.stored_mean"] for norm in every])[None],
        variances=torch.cat([state[f"{norm}.stored_var"] for norm in every])[None],
        last_gain=state["output_layer.0.gain"],
        last_bias=state["output_layer.0.bias"],
        eps=_EPS,
    )


def _columns(weight: Tensor, norm: str, sizes: Architecture) -> Tensor:
    """Turn columns (class, the block's own chunk of z) into columns (all of z, class), zero for the other chunks."""
    full = weight.new_zeros(len(weight), sizes.dim_z + sizes.shared)
    full[:, sizes.dim_z :] = weight[:, : sizes.shared]
    if sizes.hierarchical:
        start = sizes.chunk * (1 + int(norm.split(".")[1]))
        full[:, start : start + sizes.chunk] = weight[:, sizes.shared :]
    return full
