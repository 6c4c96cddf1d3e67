"""Plain BigGAN, the paper's own generator, from the weights that ajbrock/BigGAN-PyTorch writes (``G_ema.pth``)."""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

import torch
from torch import Tensor
from torch.nn import functional as F

from directions.errors import UserError
from directions.generators import frozen
from directions.generators.base import normal

_EPS = 1e-5
"""Added to the variances of the batch norms; the repository has no option that the published weights change."""


def looks_like_plain_biggan(state: Mapping[str, object]) -> bool:
    """Tell whether a state dict has the names of a plain BigGAN's generator."""
    return "linear.weight" in state and "blocks.0.0.conv1.weight" in state


def normal_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Bring the statistics of all kinds of batch norm that the repository has under one name, in float32 or more."""
    renamed = {}
    for name, tensor in state.items():
        if not name.endswith((".num_batches_tracked", ".accumulation_counter")):
            name = re.sub(r"\.bn\.(running|stored)_(mean|var)$", r".stored_\2", name)
            renamed[name] = tensor if tensor.dtype == torch.float64 else tensor.float()
    return renamed


class _Reader:
    """Reads a generator off its state dict; tensors are taken one by one, so that each that does not fit is noticed.

    Args:
        state: In the names that the repository writes.
        where: Where it comes from, for messages.
    """

    def __init__(self, state: Mapping[str, Tensor], where: str) -> None:
        self.where = where
        # sv0 is a log, and only the first left singular vector of spectral norm counts.
        unused = re.compile(r"\.(sv\d+|u[1-9]\d*)$")
        self.left = {name: tensor for name, tensor in normal_names(state).items() if not unused.search(name)}
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
        count = sum(re.fullmatch(r"blocks\.\d+\.0\.conv1\.weight", name) is not None for name in self.left)
        convolutions = [self.shape(f"blocks.{index}.0.conv1.weight", 4) for index in range(count)]
        self.widths = (convolutions[0][1], *(shape[0] for shape in convolutions))
        self.num_classes, self.shared = self.shape("shared.weight", 2)
        out, self.chunk = self.shape("linear.weight", 2)
        self.bottom_width = max(1, math.isqrt(out // max(1, self.widths[0])))
        # Each block sees a chunk of z of its own, or all of z goes into the first layer.
        self.own = self.chunk if self.shape("blocks.0.0.bn1.gain.weight", 2)[1] != self.shared else 0
        self.dim_z = self.chunk + self.own * count
        self.norms: dict[str, list[Tensor]] = defaultdict(list)  # what all norms have, in the order of use
        # What the biases of the convolutions would have added to the input of each norm.
        self.carried, self.added = torch.zeros(self.widths[0]).to(self.left["linear.weight"]), list[Tensor]()

    def fail(self, problem: str) -> NoReturn:
        """Raise a `UserError`."""
        raise UserError(f"{self.where} is no whole generator of a plain BigGAN: {problem}.")

    def shape(self, name: str, axes: int) -> tuple[int, ...]:
        """Return a tensor's shape, from which sizes are read."""
        if name not in self.left:
            self.fail(f"{name} is missing")
        shape = tuple(self.left[name].shape)
        return shape if len(shape) == axes else self.fail(f"{name} must have {axes} dimensions, got shape {shape}")

    def take(self, name: str, *shape: int) -> Tensor:
        """Take a tensor that must have a shape."""
        if (got := self.shape(name, len(shape))) != shape:
            self.fail(f"{name}: {shape} is needed, got {got}")
        return self.left.pop(name)

    def folded(self, name: str, *shape: int) -> Tensor:
        """Take a layer's weight with its spectral norm divided out, as the repository does it in evaluation."""
        weight = self.take(f"{name}.weight", *shape)
        if f"{name}.u0" not in self.left:
            return weight
        # One step of the power iteration from the kept left singular vector gives the norm.
        matrix = weight.flatten(1)
        v = F.normalize(self.take(f"{name}.u0", 1, shape[0]) @ matrix, dim=1)
        return weight / torch.linalg.vector_norm(v @ matrix.mT)

    def statistics(self, norm: str, channels: int) -> None:
        """Take the mean and variance of a norm."""
        for kind in ("stored_mean", "stored_var"):
            self.norms[kind].append(self.take(f"{norm}.{kind}", channels))

    def block(self, index: int) -> _Block:
        """Take a block, its norms, and the attention after it."""
        name, (before, after) = f"blocks.{index}.0", self.widths[index : index + 2]
        start = self.chunk + self.own * index
        for norm, channels in (("bn1", before), ("bn2", after)):
            self.statistics(f"{name}.{norm}", channels)
            for kind in ("gain", "bias"):
                # Columns (class, the block's own chunk of z) become columns (all of z, class), 0 for other chunks.
                columns = self.folded(f"{name}.{norm}.{kind}", channels, self.shared + self.own)
                own = F.pad(columns[:, self.shared :], (start, self.dim_z - start - self.own))
                self.norms[kind].append(torch.cat((own, columns[:, : self.shared]), dim=1))
        block = _Block(self, name, before, after)
        self.added += [self.carried, self.take(f"{name}.conv1.bias", after)]
        carried = block.shortcut.weight.flatten(1) @ self.carried
        self.carried = carried + self.take(f"{name}.conv2.bias", after) + self.take(f"{name}.conv_sc.bias", after)
        name = f"blocks.{index}.1"
        if f"{name}.theta.weight" in self.left:
            maps = [self.folded(f"{name}.{kind}", after // 8, after, 1, 1) for kind in ("theta", "phi")]
            maps.append(self.folded(f"{name}.g", after // 2, after, 1, 1))
            maps.append(self.folded(f"{name}.o", after, after // 2, 1, 1))
            block.attention = frozen.FrozenAttention(maps, self.take(f"{name}.gamma"), self.carried)
        return block


class _Block(frozen.FrozenBlock):
    """Two convolutions and a convolution in the shortcut; the resolution doubles.

    The biases of the convolutions are not added: a norm follows each of them, whose mean is lowered by as much.
    """

    def __init__(self, weights: _Reader, name: str, before: int, after: int) -> None:
        super().__init__()
        self.first = frozen.FrozenConvolution(weights.folded(f"{name}.conv1", after, before, 3, 3), doubled=True)
        self.second = frozen.FrozenConvolution(weights.folded(f"{name}.conv2", after, after, 3, 3))
        self.shortcut = frozen.FrozenConvolution(weights.folded(f"{name}.conv_sc", after, before, 1, 1))
        self.widths = (before, after)
        self.upsample = True

    def residual(self, x: Tensor, affines: Sequence[frozen.Affine]) -> Tensor:
        residual = self.first(frozen.affine_relu(x, *affines[0]))
        residual = self.second(frozen.affine_relu(residual, *affines[1]))
        # A 1×1 convolution of repeated pixels is the repeated convolution, at a quarter of the cost.
        return residual.add_(F.interpolate(self.shortcut(x), scale_factor=2, mode="nearest"))


class BigGAN(frozen.FrozenBigGAN):
    """A frozen plain BigGAN; its sizes, which users of the repository set with fifteen flags, are read off the weights.

    z is not cut off at 2, as the generator was trained without; ``truncation`` is a factor of z, and changes nothing
    in the normalisation.

    Args:
        state: A generator's state dict, in the names that the repository writes.
        where: Where the weights come from, for messages.
        **identity: ``name``, ``digest``, ``class_names`` and ``class_synonyms`` of `ClassConditional`.

    Raises:
        UserError: If it is a state dict of something else; the message says what differs.
    """

    draw = staticmethod(normal)

    def __init__(self, state: Mapping[str, Tensor], *, where: str = "the state dict", **identity: Any) -> None:
        reader = _Reader(state, where)
        count, channels, last = len(reader.widths) - 1, reader.widths[0], reader.widths[-1]
        blocks = [reader.block(index) for index in range(count)]
        reader.statistics("output_layer.0", last)
        weight, bias = reader.folded("output_layer.2", 3, last, 3, 3), reader.take("output_layer.2.bias", 3)
        # The repository's first layer gives channel, height, width; ours height, width, channel.
        order = torch.arange(channels * reader.bottom_width**2).view(channels, -1).mT.flatten()
        first = reader.folded("linear", len(order), reader.chunk)[order]
        tensors = {
            "embeddings": reader.take("shared.weight", reader.num_classes, reader.shared),
            "first_weight": F.pad(first, (0, reader.dim_z - reader.chunk + reader.shared)),
            "first_bias": reader.take("linear.bias", len(order))[order],
            "scales": torch.cat(reader.norms["gain"]),
            "shifts": torch.cat(reader.norms["bias"]),
            "means": torch.cat(reader.norms["stored_mean"])[None] - torch.cat([*reader.added, reader.carried]),
            "variances": torch.cat(reader.norms["stored_var"])[None],
            "last_affine": torch.stack([reader.take(f"output_layer.0.{kind}", last) for kind in ("gain", "bias")]),
        }
        if surplus := sorted(reader.left):
            shape = tuple(reader.left[surplus[0]].shape)
            reader.fail(f"{len(surplus)} are not of this architecture, such as {surplus[0]} {shape}")
        super().__init__(
            blocks, frozen.FrozenConvolution(weight, bias), dim_z=reader.dim_z, bottom_width=reader.bottom_width,
            resolution=reader.bottom_width * 2**count, eps=_EPS, tensors=tensors, **identity,
        )  # fmt: skip
