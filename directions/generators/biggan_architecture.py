"""The architecture of a plain BigGAN, read off the names and shapes of its weights.

Before ``biggan``, which runs it: users build the repository's generator with fifteen flags, here none is needed.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from directions.errors import UserError
from directions.generators.state_dict import shapes

State = Mapping[str, Tensor]

SPECTRAL = re.compile(r"\.(u|sv)\d+$")
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

    def shape_of(name: str, axes: int) -> tuple[int, ...]:
        shape = found.get(name)
        if shape is None or len(shape) != axes:
            problem = "is missing" if shape is None else f"must have {axes} dimensions, got shape {shape}"
            raise UserError(f"{where} is no whole generator of a plain BigGAN: {name} {problem}.")
        return shape

    count = 1 + max(int(match[1]) for name in state if (match := re.match(r"blocks\.(\d+)\.0\.conv1\.weight", name)))
    widths = [shape_of("blocks.0.0.conv1.weight", 4)[1]]
    widths += [shape_of(f"blocks.{index}.0.conv1.weight", 4)[0] for index in range(count)]
    num_classes, shared = shape_of("shared.weight", 2)
    out, chunk = shape_of("linear.weight", 2)
    condition = shape_of("blocks.0.0.bn1.gain.weight", 2)[1]
    return Architecture(
        widths=tuple(widths),
        attention=tuple(index for index in range(count) if f"blocks.{index}.1.theta.weight" in state),
        bottom_width=max(1, math.isqrt(out // max(1, widths[0]))),
        chunk=chunk,
        hierarchical=condition != shared,
        shared=shared,
        num_classes=num_classes,
    )


def spectral_difference(found: Mapping[str, tuple[int, ...]]) -> str | None:
    """Compare the shapes of what spectral norm keeps with those of the layers' weights.

    Args:
        found: Name and shape of every tensor; the weights have been compared already.

    Returns:
        The first that does not fit, or ``None`` where all do.
    """
    for name, shape in found.items():
        match = SPECTRAL.search(name)
        if match is None:
            continue
        weight = found.get(f"{name[: match.start()]}.weight")
        if weight is None:
            return f"{name} {shape} belongs to no layer"
        width = weight[0] if match[1] == "u" else 1
        if math.prod(shape) != width:
            return f"{name} must have as many entries as its layer has outputs, {width}, got shape {shape}"
    return None


def _is_deep(state: State) -> bool:
    return any(name.startswith("generator.gen_z") for name in state)


def normal_names(state: State) -> dict[str, Tensor]:
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
