"""Plain BigGAN, the paper's own generator, from the weights that ajbrock/BigGAN-PyTorch writes (``G_ema.pth``).

A generator of the flow's first stop. Nothing has to be said about the architecture: channels, blocks, classes, chunks
of z, resolution and attention are read off the names and shapes of the state dict, which is then compared strictly with
what such a generator must have. What runs is the folded form of ``frozen``.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from directions.errors import UserError
from directions.generators.base import check_truncation
from directions.generators.biggan_architecture import (
    SPECTRAL,
    Architecture,
    State,
    normal_names,
    read_architecture,
    spectral_difference,
)
from directions.generators.frozen import Conditioning, FrozenBigGAN
from directions.generators.frozen_layers import (
    Affine,
    FrozenAttention,
    FrozenBlock,
    FrozenConvolution,
    FrozenDoubling,
)
from directions.generators.frozen_operations import affine_relu
from directions.generators.state_dict import first_difference, shapes

_EPS = 1e-5
"""Added to the variances of the batch norms; the repository has no option that the published weights change."""


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


def _attention(state: State, name: str, carried: Tensor) -> FrozenAttention:
    projections = (_folded(state, f"{name}.{part}") for part in ("theta", "phi", "g", "o"))
    return FrozenAttention(projections, state[f"{name}.gamma"], carried)


class _Block(FrozenBlock):
    """Two convolutions and a convolution in the shortcut; the resolution doubles.

    The biases of the convolutions are not added: a norm follows each of them, whose mean is lowered by as much.
    """

    def __init__(self, state: State, name: str) -> None:
        super().__init__()
        self.first = FrozenDoubling(_folded(state, f"{name}.conv1"))
        self.second = FrozenConvolution(_folded(state, f"{name}.conv2"))
        self.shortcut = FrozenConvolution(_folded(state, f"{name}.conv_sc"))
        self.widths = (self.first.weight.shape[0], self.second.weight.shape[1])
        self.upsample = True

    def forward(self, x: Tensor, affines: Sequence[Affine]) -> Tensor:
        residual = self.first(affine_relu(x, *affines[0]))
        residual = self.second(affine_relu(residual, *affines[1]))
        # A 1×1 convolution of repeated pixels is the repeated convolution, at a quarter of the cost.
        return residual.add_(F.interpolate(self.shortcut(x), scale_factor=2, mode="nearest"))


def _layers(state: State, sizes: Architecture) -> tuple[list[FrozenBlock | FrozenAttention], Tensor]:
    """The layers, and what their biases would have added to the input of each norm, the last one included."""
    layers: list[FrozenBlock | FrozenAttention] = []
    carried = torch.zeros_like(state["blocks.0.0.bn1.stored_mean"])
    added = []
    for index in range(sizes.blocks):
        name = f"blocks.{index}.0"
        block = _Block(state, name)
        layers.append(block)
        added += [carried, state[f"{name}.conv1.bias"]]
        carried = (
            block.shortcut.weight.flatten(1) @ carried + state[f"{name}.conv2.bias"] + state[f"{name}.conv_sc.bias"]
        )
        if index in sizes.attention:
            layers.append(_attention(state, f"blocks.{index}.1", carried))
    return layers, torch.cat([*added, carried])


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
        state = normal_names(state)
        self.architecture = sizes = read_architecture(state, where)
        every = shapes(state)
        found = {tensor: shape for tensor, shape in every.items() if not SPECTRAL.search(tensor)}
        difference = first_difference(sizes.shapes(), found) or spectral_difference(every)
        if difference:
            raise UserError(
                f"{where} is no whole generator of a plain BigGAN of {sizes.resolution} pixels: {difference}."
            )
        layers, added = _layers(state, sizes)
        super().__init__(
            layers,
            FrozenConvolution(_folded(state, "output_layer.2"), state["output_layer.2.bias"]),
            _conditioning(state, sizes, added),
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


def _conditioning(state: State, sizes: Architecture, added: Tensor) -> Conditioning:
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
        means=torch.cat([state[f"{norm}.stored_mean"] for norm in every])[None] - added,
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
