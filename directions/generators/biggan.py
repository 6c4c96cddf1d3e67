"""Plain BigGAN, the paper's own generator, from the weights that ajbrock/BigGAN-PyTorch writes (``G_ema.pth``)."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from directions.errors import UserError
from directions.generators import frozen
from directions.generators.base import normal
from directions.generators.operations import affine_relu
from directions.generators.weights import first_difference, shapes

State = Mapping[str, Tensor]

_EPS = 1e-5
"""Added to the variances of the batch norms; the repository has no option that the published weights change."""
_SPECTRAL = re.compile(r"\.(u|sv)\d+$")


@dataclass(frozen=True)
class Architecture:
    """The sizes of a plain BigGAN, which users of the repository set with fifteen flags and which are read off here.

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
        first, last = self.widths[0] * self.bottom_width**2, self.widths[-1]
        needed: dict[str, tuple[int, ...]] = {
            "shared.weight": (self.num_classes, self.shared), "linear.weight": (first, self.chunk),
            "linear.bias": (first,), "output_layer.2.weight": (3, last, 3, 3), "output_layer.2.bias": (3,),
        }  # fmt: skip
        needed |= {f"output_layer.0.{part}": (last,) for part in ("gain", "bias", "stored_mean", "stored_var")}
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
                needed |= {f"{block}.g.weight": (after // 2, after, 1, 1), f"{block}.gamma": ()}
                needed[f"{block}.o.weight"] = (after, after // 2, 1, 1)
        return needed


def looks_like_plain_biggan(state: Mapping[str, object]) -> bool:
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
        UserError: If it is no plain BigGAN's generator with a shared class embedding, or has other tensors.
    """
    if not looks_like_plain_biggan(state):
        is_deep = any(name.startswith("generator.gen_z") for name in state)
        deep = " It looks like a BigGAN-deep: load it as biggan-deep-128, -256 or -512." if is_deep else ""
        raise UserError(
            f"{where} is no plain BigGAN's generator: it has no linear.weight and blocks.0.0.conv1.weight, but "
            f"{', '.join(sorted(state)[:3])}, ….{deep} The file to give is G_ema.pth of ajbrock/BigGAN-PyTorch."
        )
    if "shared.weight" not in state:
        raise UserError(
            f"{where} has no shared.weight: only generators with a shared class embedding (G_shared) can be loaded."
        )
    found = shapes(state)

    def shape_of(name: str, axes: int) -> tuple[int, ...]:
        if len(found.get(name, ())) != axes:
            problem = f"must have {axes} dimensions, got shape {found[name]}" if name in found else "is missing"
            raise UserError(f"{where} is no whole generator of a plain BigGAN: {name} {problem}.")
        return found[name]

    count = 1 + max(int(match[1]) for name in state if (match := re.match(r"blocks\.(\d+)\.0\.conv1\.weight", name)))
    convolutions = [shape_of(f"blocks.{index}.0.conv1.weight", 4) for index in range(count)]
    widths = (convolutions[0][1], *(shape[0] for shape in convolutions))
    num_classes, shared = shape_of("shared.weight", 2)
    out, chunk = shape_of("linear.weight", 2)
    sizes = Architecture(
        widths=widths,
        attention=tuple(index for index in range(count) if f"blocks.{index}.1.theta.weight" in state),
        bottom_width=max(1, math.isqrt(out // max(1, widths[0]))),
        chunk=chunk,
        hierarchical=shape_of("blocks.0.0.bn1.gain.weight", 2)[1] != shared,
        shared=shared,
        num_classes=num_classes,
    )
    needed = sizes.shapes()
    for name in filter(_SPECTRAL.search, found):  # what spectral norm keeps of a layer that there is
        layer, _, kind = name.rpartition(".")
        if f"{layer}.weight" in needed:
            needed[name] = (1, needed[f"{layer}.weight"][0]) if kind.startswith("u") else (1,)
    difference = first_difference(needed, found)
    if difference:
        raise UserError(f"{where} is no whole generator of a plain BigGAN of {sizes.resolution} pixels: {difference}.")
    return sizes


def normal_names(state: State) -> dict[str, Tensor]:
    """Bring the statistics of all kinds of batch norm that the repository has under one name, in float32 or more."""
    renamed = {}
    for name, tensor in state.items():
        if not name.endswith((".num_batches_tracked", ".accumulation_counter")):
            name = re.sub(r"\.bn\.(running|stored)_(mean|var)$", r".stored_\2", name)
            renamed[name] = tensor if tensor.dtype == torch.float64 else tensor.float()
    return renamed


def _folded(state: State, name: str) -> Tensor:
    """A layer's weight with its spectral norm divided out, as the repository does it in evaluation."""
    # One step of the power iteration from the kept left singular vector u0 gives the norm; sv0 is only a log.
    weight = state[f"{name}.weight"]
    u = state.get(f"{name}.u0")
    if u is None:
        return weight
    matrix = weight.flatten(1)
    v = F.normalize(u.to(weight) @ matrix, dim=1)
    return weight / torch.linalg.vector_norm(v @ matrix.mT)


class _Block(frozen.FrozenBlock):
    """Two convolutions and a convolution in the shortcut; the resolution doubles.

    The biases of the convolutions are not added: a norm follows each of them, whose mean is lowered by as much.
    """

    def __init__(self, state: State, name: str) -> None:
        super().__init__()
        self.first = frozen.FrozenDoubling(_folded(state, f"{name}.conv1"))
        self.second = frozen.FrozenConvolution(_folded(state, f"{name}.conv2"))
        self.shortcut = frozen.FrozenConvolution(_folded(state, f"{name}.conv_sc"))
        self.widths = (self.first.weight.shape[0], self.second.weight.shape[1])
        self.upsample = True

    def forward(self, x: Tensor, affines: Sequence[frozen.Affine]) -> Tensor:
        residual = self.first(affine_relu(x, *affines[0]))
        residual = self.second(affine_relu(residual, *affines[1]))
        # A 1×1 convolution of repeated pixels is the repeated convolution, at a quarter of the cost.
        return residual.add_(F.interpolate(self.shortcut(x), scale_factor=2, mode="nearest"))


def _layers(state: State, sizes: Architecture) -> tuple[list[frozen.FrozenBlock | frozen.FrozenAttention], Tensor]:
    """The layers, and what their biases would have added to the input of each norm, the last one included."""
    layers: list[frozen.FrozenBlock | frozen.FrozenAttention] = []
    carried = torch.zeros_like(state["blocks.0.0.bn1.stored_mean"])
    added = []
    for index in range(sizes.blocks):
        name = f"blocks.{index}.0"
        block = _Block(state, name)
        layers.append(block)
        added += [carried, state[f"{name}.conv1.bias"]]
        carried = block.shortcut.weight.flatten(1) @ carried
        carried = carried + state[f"{name}.conv2.bias"] + state[f"{name}.conv_sc.bias"]
        if index in sizes.attention:
            name = f"blocks.{index}.1"
            projections = (_folded(state, f"{name}.{part}") for part in ("theta", "phi", "g", "o"))
            layers.append(frozen.FrozenAttention(projections, state[f"{name}.gamma"], carried))
    return layers, torch.cat([*added, carried])


class BigGAN(frozen.FrozenBigGAN):
    """A frozen plain BigGAN.

    z is not cut off at 2, as the generator was trained without; ``truncation`` is a factor of z, and changes nothing
    in the normalisation.

    Args:
        state: A generator's state dict, in the names that the repository writes.
        where: Where the weights come from, for messages.
        **identity: ``name``, ``digest``, ``class_names`` and ``class_synonyms`` of `ClassConditional`.

    Raises:
        UserError: If it is a state dict of something else; the message says what differs.
    """

    def __init__(self, state: State, *, where: str = "the state dict", **identity: Any) -> None:
        state = normal_names(state)
        self.architecture = sizes = read_architecture(state, where)
        layers, added = _layers(state, sizes)
        to_rgb = frozen.FrozenConvolution(_folded(state, "output_layer.2"), state["output_layer.2.bias"])
        sides = {"bottom_width": sizes.bottom_width, "resolution": sizes.resolution}
        super().__init__(layers, to_rgb, _conditioning(state, sizes, added), **sides, **identity)

    def sample_z_from(self, n: int, rng: torch.Generator, truncation: float = 1.0) -> Tensor:
        """Draw latents from a source of randomness.

        Args:
            n: Number of latents, at least 1.
            rng: On the CPU.
            truncation: Factor, in (0, 1].

        Returns:
            (n, dim_z) float32 on the CPU, normal with standard deviation ``truncation``.
        """
        return normal(n, self.dim_z, rng, truncation)


def _conditioning(state: State, sizes: Architecture, added: Tensor) -> frozen.Conditioning:
    names = [f"blocks.{index}.0.{norm}" for index in range(sizes.blocks) for norm in ("bn1", "bn2")]
    every = [*names, "output_layer.0"]
    # The repository's first layer gives channel, height, width; ours height, width, channel.
    order = torch.arange(len(state["linear.bias"])).view(sizes.widths[0], -1).mT.flatten()
    first = F.pad(_folded(state, "linear"), (0, sizes.dim_z - sizes.chunk + sizes.shared))
    return frozen.Conditioning(
        dim_z=sizes.dim_z,
        embeddings=state["shared.weight"],
        first_weight=first[order],
        first_bias=state["linear.bias"][order],
        scales=torch.cat([_columns(_folded(state, f"{norm}.gain"), norm, sizes) for norm in names]),
        shifts=torch.cat([_columns(_folded(state, f"{norm}.bias"), norm, sizes) for norm in names]),
        means=torch.cat([state[f"{norm}.stored_mean"] for norm in every])[None] - added,
        variances=torch.cat([state[f"{norm}.stored_var"] for norm in every])[None],
        last_affine=torch.stack((state["output_layer.0.gain"], state["output_layer.0.bias"])),
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
