"""The frozen form that BigGAN-deep and plain BigGAN share: one function of z, with everything folded that is not."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from directions.errors import UserError
from directions.generators.base import ClassConditional, Labels, check_truncation
from directions.generators.base import compiled as compile_function
from directions.generators.layers import LayerRange, Layers
from directions.generators.operations import affine_relu, attend, convolve, convolve_doubled, doubling_weight

# z enters through a first linear layer and through the scales and shifts of conditional batch norms; here the rows of
# all those layers are one matrix, so that a single product gives every scale and shift of the network. Spectral norm is
# divided out, the statistics of a truncation are fixed, and what the class contributes is computed once for a class.

_CLASSES_KEPT = 64


Affine = tuple[Tensor, Tensor]
"""Scale and shift of one batch norm, (batch, channels, 1, 1) each."""


class FrozenConvolution(nn.Module):
    """A convolution whose weight is a buffer: nothing in a frozen generator has a gradient of its own.

    Args:
        weight: (out, in, size, size), as the layer uses it; copied.
        bias: (out,) or ``None``; copied.
    """

    weight: Tensor
    bias: Tensor | None

    def __init__(self, weight: Tensor, bias: Tensor | None = None) -> None:
        super().__init__()
        self.register_buffer("weight", weight.detach().clone(memory_format=torch.channels_last))
        self.register_buffer("bias", None if bias is None else bias.detach().clone())

    def forward(self, x: Tensor) -> Tensor:
        """Convolve, keeping height and width."""
        return convolve(x, self.weight, self.bias)


class FrozenDoubling(nn.Module):
    """A convolution of repeated pixels: height and width double.

    Args:
        weight: (out, in, 3, 3), as the layer uses it on the repeated pixels.
    """

    weight: Tensor

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        doubled = doubling_weight(weight.detach())
        self.register_buffer("weight", doubled.clone(memory_format=torch.channels_last))

    def forward(self, x: Tensor) -> Tensor:
        """Repeat each pixel in a 2×2 square and convolve."""
        return convolve_doubled(x, self.weight)


class FrozenAttention(nn.Module):
    """Self-attention over positions, which never holds the whole matrix.

    Args:
        weights: Of the 1×1 convolutions to query (out, in, 1, 1), key, value, and back to all channels.
        gamma: Weight of the attention's part, one number.
        carried: (channels,) what is to be added to the input given here to have the layer's own.
    """

    def __init__(self, weights: Iterable[Tensor], gamma: Tensor, carried: Tensor) -> None:
        super().__init__()
        query, key, value, out = weights
        self.widths = (len(query), len(key) + len(value))
        self.key_width = len(key)
        projections = torch.cat((query, key, value))
        self.projections = FrozenConvolution(projections, projections.flatten(1) @ carried)
        self.out = FrozenConvolution(gamma.detach().reshape(1, 1, 1, 1) * out)

    def forward(self, x: Tensor) -> Tensor:
        """Add what attention gathers; keys and values are pooled 2×2."""
        height, width = x.shape[2:]
        query, others = self.projections(x).split(self.widths, dim=1)
        key, value = F.max_pool2d(others, 2).flatten(2).mT.tensor_split((self.key_width,), dim=2)
        gathered = attend(query.flatten(2).mT, key, value)
        return self.out(gathered.unflatten(1, (height, width)).permute(0, 3, 1, 2)).add_(x)


class FrozenBlock(nn.Module):
    """A residual block; the scales and shifts of its norms come from outside, computed for all blocks at once.

    Attributes:
        widths: Channels of each of its norms, in the order of use.
        upsample: Whether it doubles height and width.
    """

    widths: tuple[int, ...]
    upsample: bool

    def forward(self, x: Tensor, affines: Sequence[Affine]) -> Tensor:
        """Apply the block."""
        raise NotImplementedError


def truncation_statistics(means: Tensor, variances: Tensor, truncation: float) -> Affine:
    """Mean and variance that batch norms use at a truncation.

    BigGAN-deep keeps statistics for truncations 0, 0.02, …, 1; between two rows they are interpolated. The package
    ``pytorch_pretrained_biggan`` picks the row by a division that is off at 0.14, 0.28, 0.56, 0.58 and 0.94, and swaps
    the two weights of the interpolation; on the other rows the two agree.

    Args:
        means: (rows, channels); a single row is for every truncation.
        variances: (rows, channels).
        truncation: In (0, 1].

    Returns:
        Mean and variance, (channels,) each.
    """
    position = truncation * (len(means) - 1)
    row = round(position)
    if abs(position - row) < 1e-6:
        return means[row], variances[row]
    row = int(position)
    share = position - row
    return torch.lerp(means[row], means[row + 1], share), torch.lerp(variances[row], variances[row + 1], share)


@dataclass(frozen=True, kw_only=True)
class Conditioning:
    """How z and the class enter: everything linear, as matrices whose columns are z and then the class embedding.

    Attributes:
        dim_z: Number of columns for z.
        embeddings: (classes, width of the embedding).
        first_weight: (pixels · channels, columns), rows in the order height, width, channel.
        first_bias: (pixels · channels,).
        scales: (channels of all conditional norms, columns); 1 is added to what they give.
        shifts: (channels of all conditional norms, columns).
        means: (rows, channels of all norms, the last one included); a row for each truncation, or one for all.
        variances: As ``means``.
        last_affine: (2, channels of the last norm), gain and bias.
        eps: Added to the variances.
    """

    dim_z: int
    embeddings: Tensor
    first_weight: Tensor
    first_bias: Tensor
    scales: Tensor
    shifts: Tensor
    means: Tensor
    variances: Tensor
    last_affine: Tensor
    eps: float


@dataclass(frozen=True)
class _Fixed:
    """What a call computes before z: the class parts, a row a sample, and the statistics."""

    first: Tensor
    scales: Tensor
    shifts: Tensor
    rate: Tensor
    mean: Tensor

    def repeat(self, times: int) -> _Fixed:
        first, scales, shifts = (part.repeat(times, 1) for part in (self.first, self.scales, self.shifts))
        return _Fixed(first, scales, shifts, self.rate, self.mean)


class FrozenBigGAN(ClassConditional):
    """A frozen BigGAN.

    Layers are the places where z enters: layer 0 is the first linear one, layer i is the i-th block.

    Args:
        layers: Blocks, and attention between them.
        to_rgb: The last convolution, to three channels.
        conditioning: How z and the class enter.
        bottom_width: Height and width, in pixels, of what the first layer gives.
        **identity: ``name``, ``digest``, ``resolution``, ``class_names`` and ``class_synonyms`` of `ClassConditional`.
    """

    embeddings: Tensor
    first_weight: Tensor
    first_bias: Tensor
    scales: Tensor
    shifts: Tensor
    means: Tensor
    variances: Tensor
    last_affine: Tensor

    def __init__(
        self,
        layers: Sequence[FrozenBlock | FrozenAttention],
        to_rgb: FrozenConvolution,
        conditioning: Conditioning,
        *,
        bottom_width: int,
        **identity: Any,
    ) -> None:
        positions = [position for position, layer in enumerate(layers) if isinstance(layer, FrozenBlock)]
        super().__init__(
            dim_z=conditioning.dim_z,
            num_classes=len(conditioning.embeddings),
            num_layers=1 + len(positions),
            **identity,
        )
        self.bottom_width, self.eps = bottom_width, conditioning.eps
        self.layers, self.to_rgb = nn.ModuleList(layers), to_rgb
        self._positions = positions
        self._widths = widths = [layer.widths for layer in layers if isinstance(layer, FrozenBlock)]
        self._starts = [sum(map(sum, widths[:block])) for block in range(len(widths) + 1)]
        for label, tensor in vars(conditioning).items():
            if isinstance(tensor, Tensor):
                self.register_buffer(label, tensor.detach().clone())
        self._class_parts: dict[tuple[int, ...], tuple[Tensor, Tensor, Tensor]] = {}
        self._statistics: dict[float, Affine] = {}
        self._recompute = False
        self._program: Callable[..., Tensor] | None = None
        self.eval().requires_grad_(False)

    def _apply(self, fn: object, recurse: bool = True) -> FrozenBigGAN:
        # What was computed from the weights follows them to another device or precision by being computed anew.
        self._class_parts.clear()
        self._statistics.clear()
        super()._apply(fn, recurse)
        return self

    def forward(self, z: Tensor, y: Labels | None = 0, *, truncation: float = 1.0) -> Tensor:
        """Generate images.

        Args:
            z: (batch, dim_z).
            y: Classes; one for all, or one for each.
            truncation: Row of batch statistics, in (0, 1]; z must have been drawn with the same.

        Returns:
            (batch, 3, resolution, resolution) in [-1, 1].
        """
        self.check_z(z)
        fixed = self._fix(y, len(z), truncation)
        z = z.to(self.scales)
        return self._finish(self._start(z, fixed), self._affines(z, fixed, 0, len(self._widths)), 0, fixed)

    @property
    def layer_sizes(self) -> tuple[int, ...]:
        """Height and width, in pixels, of what each layer gives."""
        sizes = [self.bottom_width]
        for position in self._positions:
            sizes.append(sizes[-1] * (2 if self.layers[position].upsample else 1))
        return tuple(sizes)

    def components(self, layers: LayerRange) -> tuple[int, int]:
        """Find the components of z that some layers see.

        Args:
            layers: The layers.

        Returns:
            The first, and one past the last; both 0 if they see none. BigGAN-deep's layers see all of z, plain BigGAN's
            a chunk each.
        """
        seen = torch.zeros(self.dim_z, dtype=torch.bool, device=self.scales.device)
        if layers.start == 0:
            seen |= self.first_weight[:, : self.dim_z].any(dim=0)
        rows = slice(self._starts[max(layers.start, 1) - 1], self._starts[layers.stop - 1])
        for weight in (self.scales, self.shifts):
            seen |= weight[rows, : self.dim_z].any(dim=0)
        positions = seen.nonzero()[:, 0].tolist()
        return (positions[0], positions[-1] + 1) if positions else (0, 0)

    def prefix(self, z: Tensor, y: Labels | None = 0, *, layers: Layers, truncation: float = 1.0) -> Prefix:
        """Compute what lies before some layers, so that only they and what follows is computed for each edit.

        Args:
            z: (batch, dim_z), which the layers outside the range see.
            y: Classes; one for all, or one for each.
            layers: The layers that are to see another z, in any form: ``"0:4"``, ``"fine"``, ``directions.layers``.
            truncation: As for a call.

        Returns:
            A map from edited latents to images.

        Raises:
            UserError: If the generator has no such layers.
        """
        self.check_z(z)
        layers = LayerRange.of(layers, self.num_layers)
        fixed = self._fix(y, len(z), truncation)
        z = z.to(self.scales)
        first_block, stop_block = max(layers.start, 1) - 1, layers.stop - 1
        x = None
        if layers.start > 0:
            x = self._run(self._start(z, fixed), self._affines(z, fixed, 0, first_block), 0)
        after = self._affines(z, fixed, stop_block, len(self._widths))
        return Prefix(self, fixed, x, first_block, stop_block, after)

    def _fix(self, y: Labels | None, batch: int, truncation: float) -> _Fixed:
        """The class parts of every sample, and the statistics of a truncation."""
        check_truncation(truncation)
        classes, rows = self.class_indices(y, batch).unique(return_inverse=True)
        key = tuple(classes.tolist())
        if key not in self._class_parts:
            if len(self._class_parts) >= _CLASSES_KEPT:
                self._class_parts.clear()
            embedded = self.embeddings[classes]
            with self._in_full(), torch.inference_mode(False):
                self._class_parts[key] = (
                    F.linear(embedded, self.first_weight[:, self.dim_z :], self.first_bias),
                    F.linear(embedded, self.scales[:, self.dim_z :]),
                    F.linear(embedded, self.shifts[:, self.dim_z :]),
                )
        if truncation not in self._statistics:
            with torch.inference_mode(False):  # kept, and needed where gradients are taken
                mean, variance = truncation_statistics(self.means, self.variances, truncation)
                self._statistics[truncation] = ((variance + self.eps).rsqrt(), mean)
        first, scales, shifts = (part[rows] for part in self._class_parts[key])
        return _Fixed(first, scales, shifts, *self._statistics[truncation])

    def _start(self, z: Tensor, fixed: _Fixed) -> Tensor:
        """What the first linear layer gives, (batch, channels, bottom_width, bottom_width)."""
        with self._in_full():
            first = torch.addmm(fixed.first, z, self.first_weight[:, : self.dim_z].mT)
        return first.view(len(z), self.bottom_width, self.bottom_width, -1).permute(0, 3, 1, 2)

    def _affines(self, z: Tensor, fixed: _Fixed, block: int, stop: int) -> list[list[Affine]]:
        """Scales and shifts of the norms of blocks ``block`` to ``stop`` - 1."""
        rows = slice(self._starts[block], self._starts[stop])
        if rows.start == rows.stop:
            return []
        with self._in_full():
            scale = torch.addmm(fixed.scales[:, rows], z, self.scales[rows, : self.dim_z].mT)
            shift = torch.addmm(fixed.shifts[:, rows], z, self.shifts[rows, : self.dim_z].mT)
        # x -> (x - mean)/std · (1 + scale) + shift, as one multiplication and one addition a channel.
        rate = fixed.rate[rows]
        scale = torch.addcmul(rate, scale, rate)
        shift = torch.addcmul(shift, scale, fixed.mean[rows], value=-1)
        widths = [width for norms in self._widths[block:stop] for width in norms]
        pairs = zip(
            scale[..., None, None].split(widths, dim=1), shift[..., None, None].split(widths, dim=1), strict=True
        )
        return [[next(pairs) for _ in norms] for norms in self._widths[block:stop]]

    def prepare_steps(self, *, compiled: bool, recompute: bool) -> None:
        """Say how passes with gradients are carried out from now on; the images are the same up to rounding.

        Args:
            compiled: Let torch.compile make one program of them, at the next call and at each new batch size.
            recompute: Keep for the backward pass what goes into each block only, and compute the rest again.
        """
        self._recompute = recompute
        self._program = compile_function(self._body, self.device) if compiled else None

    def _finish(self, x: Tensor, affines: Sequence[Sequence[Affine]], block: int, fixed: _Fixed) -> Tensor:
        """From what goes into a block, and the affines from there on, to images."""
        rows = slice(self._starts[-1], None)
        gain, bias = self.last_affine
        scale = gain * fixed.rate[rows]
        shift = bias - fixed.mean[rows] * scale
        body = self._body if self._program is None or not torch.is_grad_enabled() else self._program
        images: Tensor = body(x, [*affines, [(scale[None, :, None, None], shift[None, :, None, None])]], block)
        return images

    def _body(self, x: Tensor, affines: Sequence[Sequence[Affine]], block: int) -> Tensor:
        """The blocks from one on, and the last norm and convolution: nothing but tensors, so that it can compile."""
        *others, [(scale, shift)] = affines
        x = self._run(x, others, block)
        with self._in_full():  # a small layer, whose rounding would be seen at once
            x = affine_relu(x.to(scale), scale, shift)
            return self.to_rgb(x).tanh()

    def _run(self, x: Tensor, affines: Sequence[Sequence[Affine]], block: int) -> Tensor:
        """Apply as many blocks as there are affines, from ``block`` on, and the attention before each of them."""
        stop = block + len(affines)
        first = self._positions[block - 1] + 1 if block else 0
        last = self._positions[stop - 1] + 1 if stop else 0
        if stop == len(self._widths):
            last = len(self.layers)
        remaining = iter(affines)
        for layer in self.layers[first:last]:
            inputs = (x, next(remaining)) if isinstance(layer, FrozenBlock) else (x,)
            if self._recompute and torch.is_grad_enabled():
                x = checkpoint(layer, *inputs, use_reentrant=False, preserve_rng_state=False)
            else:
                x = layer(*inputs)
        return x

    def _in_full(self) -> contextlib.AbstractContextManager[object]:
        """Within the block, no autocast: where z enters, and where the image comes out, digits count."""
        kind = self.scales.device.type
        if not torch.amp.is_autocast_available(kind):
            return contextlib.nullcontext()
        return torch.autocast(kind, enabled=False)


@dataclass(frozen=True, eq=False)
class Prefix:
    """A generator whose first layers have been computed; made by `FrozenBigGAN.prefix`."""

    generator: FrozenBigGAN
    fixed: _Fixed
    x: Tensor | None
    first_block: int
    stop_block: int
    after: list[list[Affine]]

    def __call__(self, z: Tensor) -> Tensor:
        """Generate images with other latents in the layers of the range.

        Args:
            z: (m · batch, dim_z); row r is an edit of sample r % batch.

        Returns:
            (m · batch, 3, resolution, resolution) in [-1, 1].

        Raises:
            UserError: If there is no whole number of edits for each sample.
        """
        generator, batch = self.generator, len(self.fixed.first)
        generator.check_z(z)
        if len(z) % batch:
            raise UserError(f"z must have a whole number of rows for each of the {batch} samples, got {len(z)}.")
        times = len(z) // batch
        fixed = self.fixed.repeat(times)
        z = z.to(generator.scales)
        if self.x is None:
            x = generator._start(z, fixed)
        else:
            x = self.x.repeat(times, 1, 1, 1).contiguous(memory_format=torch.channels_last)
        edited = generator._affines(z, fixed, self.first_block, self.stop_block)
        after = [
            [(scale.repeat(times, 1, 1, 1), shift.repeat(times, 1, 1, 1)) for scale, shift in norms]
            for norms in self.after
        ]
        return generator._finish(x, [*edited, *after], self.first_block, fixed)
