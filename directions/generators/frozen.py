"""The frozen form that BigGAN-deep and plain BigGAN share: one function of z, folded, with fast backward passes."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from directions.generators.base import ClassConditional, Labels, LayerRange, Layers, check_truncation
from directions.generators.base import compiled as compile_function

# z enters through a first linear layer and through the scales and shifts of conditional batch norms; here the rows of
# all those layers are one matrix, so that a single product gives every scale and shift of the network. Spectral norm is
# divided out, the statistics of a truncation are fixed, and what the class contributes is computed once for a class.
#
# Torch keeps the input of each convolution for a gradient of its weights, and both sides of each rectifier; here a norm
# keeps its input and a convolution keeps nothing, which halves what is held for the backward pass. The values and
# gradients are those of the plain operations, which are used where these will not do: inside ``torch.func`` transforms
# and autocast.

_CLASSES_KEPT = 64
_CHUNK = 2**19
"""Elements that several operations in a row work on, so that they find them in a core's cache."""
_QUERIES = 256
"""Rows of the attention's matrix that are made at once."""

Affine = tuple[Tensor, Tensor]
"""Scale and shift of one batch norm, (batch, channels, 1, 1) each."""


def affine_relu(x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """Scale and shift each channel of each sample, and rectify.

    Args:
        x: (batch, channels, height, width).
        scale: (batch or 1, channels, 1, 1).
        shift: As ``scale``.

    Returns:
        ``max(0, x · scale + shift)``, of the shape of ``x``.
    """
    if torch.compiler.is_compiling() or _is_special(x):
        return torch.relu(torch.addcmul(shift, x, scale))
    return _AffineRelu.apply(x, scale, shift)


def _is_special(x: Tensor) -> bool:
    """Tell whether only plain operations will do: torch.func looks into them, autocast changes their types."""
    kind = x.device.type
    if torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind):
        return True
    return not torch.compiler.is_compiling() and torch._C._are_functorch_transforms_active()


class _AffineRelu(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
        ctx.save_for_backward(x, scale, shift)
        return torch.addcmul(shift, x, scale).relu_()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        x, scale, shift = ctx.saved_tensors
        needs_x, needs_scale, needs_shift = ctx.needs_input_grad
        in_rows = x.device.type == "cpu" and x.is_contiguous(memory_format=torch.channels_last)
        if in_rows and not torch.is_grad_enabled() and len(scale) == len(x):
            return _affine_relu_backward(x, scale, shift, grad, needs_x, needs_affine=needs_scale or needs_shift)
        grad = grad * (torch.addcmul(shift, x, scale) > 0)
        return (
            grad * scale if needs_x else None,
            (grad * x).sum_to_size(scale.shape) if needs_scale else None,
            grad.sum_to_size(shift.shape) if needs_shift else None,
        )


def _affine_relu_backward(
    x: Tensor, scale: Tensor, shift: Tensor, grad: Tensor, needs_x: bool, *, needs_affine: bool
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """The same, a few samples or rows (pixels) at a time, which stay in the cache from one operation to the next."""
    batch, channels = x.shape[:2]
    grad = grad.contiguous(memory_format=torch.channels_last)
    x_rows, grad_rows = (tensor.permute(0, 2, 3, 1).reshape(batch, -1, channels) for tensor in (x, grad))
    scale_rows, shift_rows = scale.view(batch, 1, channels), shift.view(batch, 1, channels)
    pixels = x_rows.shape[1]
    rows = min(pixels, max(1, _CHUNK // channels))
    samples = max(1, _CHUNK // (channels * pixels))
    grad_x = torch.empty_like(grad_rows) if needs_x else None
    grad_scale, grad_shift = x.new_zeros(2, batch, channels)
    for first in range(0, batch, samples):
        those = slice(first, first + samples)
        a, b = scale_rows[those], shift_rows[those]
        for start in range(0, pixels, rows):
            part = slice(start, start + rows)
            values = x_rows[those, part]
            kept = torch.ops.aten.threshold_backward(grad_rows[those, part], torch.addcmul(b, values, a), 0)
            if grad_x is not None:
                torch.mul(kept, a, out=grad_x[those, part])
            if needs_affine:
                grad_shift[those] += kept.sum(1)
                grad_scale[those] += kept.mul_(values).sum(1)
    if grad_x is not None:
        grad_x = grad_x.view(batch, *x.shape[2:], channels).permute(0, 3, 1, 2)
    if not needs_affine:
        return grad_x, None, None
    return grad_x, grad_scale[..., None, None], grad_shift[..., None, None]


class FrozenConvolution(nn.Module):
    """A convolution whose weight is a buffer: nothing in a frozen generator has a gradient of its own.

    Args:
        weight: (out, in, size, size), as the layer uses it; the size is odd, and 3 where pixels are doubled. Copied.
        bias: (out,) or ``None``; copied.
        doubled: Whether each pixel is repeated in a 2×2 square first, which is computed without the repeated image.
    """

    weight: Tensor
    bias: Tensor | None

    def __init__(self, weight: Tensor, bias: Tensor | None = None, *, doubled: bool = False) -> None:
        super().__init__()
        self.doubled = doubled
        weight = _doubling_weight(weight.detach()) if doubled else weight.detach()
        self.register_buffer("weight", weight.clone(memory_format=torch.channels_last))
        self.register_buffer("bias", None if bias is None else bias.detach().clone())

    def forward(self, x: Tensor) -> Tensor:
        """Convolve (batch, in, height, width), keeping height and width or doubling them."""
        convolve = _convolve if _is_special(x) else _Convolution.apply
        return convolve(x, self.weight, self.bias, self.doubled)


def _doubling_weight(weight: Tensor) -> Tensor:
    """The weight (in, out, 4, 4) of a transposed convolution that does what (out, in, 3, 3) does to repeated pixels."""
    # Of the nine products for a pixel, several meet the same repeated pixel: summing their weights first leaves four.
    # Tap t is met by taps 2 - t and 3 - t of the original, where there are such.
    for dim in (2, 3):
        first, middle, last = weight.unbind(dim)
        weight = torch.stack((last, middle + last, first + middle, first), dim)
    return weight.transpose(0, 1)


def _convolve(x: Tensor, weight: Tensor, bias: Tensor | None, doubled: bool) -> Tensor:
    if doubled:
        return F.conv_transpose2d(x, weight, bias, stride=2, padding=1)
    return F.conv2d(x, weight, bias, padding=weight.shape[-1] // 2)


class _Convolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, doubled: bool) -> Tensor:
        ctx.save_for_backward(weight)
        ctx.doubled = doubled
        return _convolve(x, weight, bias, doubled)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None]:
        (weight,) = ctx.saved_tensors
        if ctx.doubled:
            return F.conv2d(grad, weight, stride=2, padding=1), None, None, None
        return F.conv_transpose2d(grad, weight, padding=weight.shape[-1] // 2), None, None, None


def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Attention with one head and without a scale: ``softmax(query · keyᵀ) · value``.

    Args:
        query: (batch, places, width).
        key: (batch, other places, width).
        value: (batch, other places, other width).

    Returns:
        (batch, places, other width).
    """
    on_cpu = query.device.type in ("cpu", "meta")  # tensors without values tell how much a CPU would hold
    if on_cpu and not torch.compiler.is_compiling() and not _is_special(query):
        return _Attention.apply(query, key, value)
    # With a dimension of heads, the fused kernels of GPUs apply.
    return F.scaled_dot_product_attention(query[:, None], key[:, None], value[:, None], scale=1.0)[:, 0]


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


class _Attention(torch.autograd.Function):
    """Attention on a CPU, a few rows of the matrix at a time; the matrix is made anew for the backward pass."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        ctx.save_for_backward(query, key, value)
        out = value.new_empty(*query.shape[:2], value.shape[2])
        weights = query.new_empty(min(_QUERIES, query.shape[1]), key.shape[1])
        for q, k, v, gathered in zip(query, key, value, out, strict=True):
            for rows, target in zip(q.split(_QUERIES), gathered.split(_QUERIES), strict=True):
                part = weights[: len(rows)]
                torch.mm(rows, k.mT, out=part)
                torch.softmax(part, dim=1, out=part)
                torch.mm(part, v, out=target)
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        query, key, value = ctx.saved_tensors
        if torch.is_grad_enabled():  # somebody wants the derivative of this one
            all_weights = torch.softmax(query @ key.mT, dim=2)
            all_changes = grad @ value.mT
            inner = all_weights * (all_changes - (all_changes * all_weights).sum(dim=2, keepdim=True))
            return inner @ key, inner.mT @ query, all_weights.mT @ grad
        grads = torch.empty_like(query), torch.zeros_like(key), torch.zeros_like(value)
        weights, changes = query.new_empty(2, min(_QUERIES, query.shape[1]), key.shape[1])
        for q, k, v, g, grad_q, grad_k, grad_v in zip(query, key, value, grad, *grads, strict=True):
            for rows, change, target in zip(q.split(_QUERIES), g.split(_QUERIES), grad_q.split(_QUERIES), strict=True):
                part, other = weights[: len(rows)], changes[: len(rows)]
                torch.mm(rows, k.mT, out=part)
                torch.softmax(part, dim=1, out=part)
                grad_v.addmm_(part.mT, change)
                torch.mm(change, v.mT, out=other)
                torch.ops.aten._softmax_backward_data.out(other, part, 1, part.dtype, grad_input=other)
                torch.mm(other, k, out=target)
                grad_k.addmm_(other.mT, rows)
        return grads


class FrozenBlock(nn.Module):
    """A residual block; the scales and shifts of its norms come from outside, computed for all blocks at once.

    Attributes:
        widths: Channels of each of its norms, in the order of use.
        upsample: Whether it doubles height and width.
        attention: What follows it.
    """

    widths: tuple[int, ...]
    upsample: bool

    def __init__(self) -> None:
        super().__init__()
        self.attention: nn.Module = nn.Identity()

    def residual(self, x: Tensor, affines: Sequence[Affine]) -> Tensor:
        """Apply the block itself."""
        raise NotImplementedError

    def forward(self, x: Tensor, affines: Sequence[Affine]) -> Tensor:
        """Apply the block, and the attention after it."""
        images: Tensor = self.attention(self.residual(x, affines))
        return images


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


class _Fixed(NamedTuple):
    """What a call computes before z: the class parts, a row a sample, and the statistics."""

    first: Tensor
    scales: Tensor
    shifts: Tensor
    rate: Tensor
    mean: Tensor


class FrozenBigGAN(ClassConditional):
    """A frozen BigGAN.

    Layers are the places where z enters: layer 0 is the first linear one, layer i is the i-th block. How z and the
    class enter is linear, given as matrices whose columns are z and then the class embedding.

    Args:
        blocks: With the attention between them.
        to_rgb: The last convolution, to three channels.
        dim_z: Number of columns for z.
        bottom_width: Height and width, in pixels, of what the first layer gives.
        eps: Added to the variances.
        tensors: ``embeddings``, (classes, width of the embedding); ``first_weight``, (pixels · channels, columns), rows
            in the order height, width, channel; ``first_bias``, (pixels · channels,); ``scales`` and ``shifts``,
            (channels of all conditional norms, columns), 1 is added to what the scales give; ``means`` and
            ``variances``, (rows, channels of all norms, the last one included), a row for each truncation or one for
            all; ``last_affine``, (2, channels of the last norm), gain and bias.
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
        self, blocks: Sequence[FrozenBlock], to_rgb: FrozenConvolution, *, dim_z: int, bottom_width: int, eps: float,
        tensors: Mapping[str, Tensor], **identity: Any,
    ) -> None:  # fmt: skip
        classes = len(tensors["embeddings"])
        super().__init__(dim_z=dim_z, num_classes=classes, num_layers=1 + len(blocks), **identity)
        self.bottom_width, self.eps = bottom_width, eps
        self.layers, self.to_rgb = nn.ModuleList(blocks), to_rgb
        self._widths = [block.widths for block in blocks]
        self._starts = [sum(map(sum, self._widths[:block])) for block in range(len(blocks) + 1)]
        for label, tensor in tensors.items():
            self.register_buffer(label, tensor.detach().clone())
        self._class_parts: dict[tuple[int, ...], tuple[Tensor, ...]] = {}
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
        return self._finish(self._start(z, fixed), self._affines(z, fixed, 0, len(self.layers)), 0, fixed)

    @property
    def layer_sizes(self) -> tuple[int, ...]:
        """Height and width, in pixels, of what each layer gives."""
        sizes = [self.bottom_width]
        for block in self.layers:
            sizes.append(sizes[-1] * (2 if block.upsample else 1))
        return tuple(sizes)

    def components(self, layers: LayerRange) -> tuple[int, int]:
        """Find the components of z that some layers see.

        Args:
            layers: The layers.

        Returns:
            The first, and one past the last; both 0 if they see none. BigGAN-deep's layers see all of z, plain BigGAN's
            a chunk each.
        """
        rows = slice(self._starts[max(layers.start, 1) - 1], self._starts[layers.stop - 1])
        weights = [self.scales[rows], self.shifts[rows]]
        if layers.start == 0:
            weights.append(self.first_weight)
        positions = torch.cat(weights)[:, : self.dim_z].any(dim=0).nonzero()[:, 0].tolist()
        return (positions[0], positions[-1] + 1) if positions else (0, 0)

    def prefix(
        self, z: Tensor, y: Labels | None = 0, *, layers: Layers, truncation: float = 1.0
    ) -> Callable[[Tensor], Tensor]:
        """Compute what lies before some layers, so that only they and what follows is computed for each edit.

        Args:
            z: (batch, dim_z), which the layers outside the range see.
            y: Classes; one for all, or one for each.
            layers: The layers that are to see another z, in any form: ``"0:4"``, ``"fine"``, ``directions.layers``.
            truncation: As for a call.

        Returns:
            A map from edited latents, (m · batch, dim_z), whose row r is an edit of sample r % batch, to as many
            images.

        Raises:
            UserError: If the generator has no such layers.
        """
        self.check_z(z)
        layers = LayerRange.of(layers, self.num_layers)
        fixed, batch = self._fix(y, len(z), truncation), len(z)
        z = z.to(self.scales)
        first, stop = max(layers.start, 1) - 1, layers.stop - 1
        x = self._run(self._start(z, fixed), self._affines(z, fixed, 0, first), 0) if layers.start > 0 else None
        after = self._affines(z, fixed, stop, len(self.layers))

        def images(edits: Tensor) -> Tensor:
            self.check_z(edits)
            times = len(edits) // batch
            edits = edits.to(self.scales)
            class_parts = {part: getattr(fixed, part).repeat(times, 1) for part in ("first", "scales", "shifts")}
            repeated = fixed._replace(**class_parts)
            if x is None:
                inputs = self._start(edits, repeated)
            else:
                inputs = x.repeat(times, 1, 1, 1).contiguous(memory_format=torch.channels_last)
            affines = self._affines(edits, repeated, first, stop)
            affines += [[(a.repeat(times, 1, 1, 1), b.repeat(times, 1, 1, 1)) for a, b in norms] for norms in after]
            return self._finish(inputs, affines, first, fixed)

        return images

    def _fix(self, y: Labels | None, batch: int, truncation: float) -> _Fixed:
        """The class parts of every sample, and the statistics of a truncation."""
        check_truncation(truncation)
        classes, rows = self.class_indices(y, batch).unique(return_inverse=True)
        key = tuple(classes.tolist())
        # What is kept is needed where gradients are taken, so it is never made in inference mode.
        if key not in self._class_parts:
            if len(self._class_parts) >= _CLASSES_KEPT:
                self._class_parts.clear()
            weights = ((self.first_weight, self.first_bias), (self.scales, None), (self.shifts, None))
            with self._in_full(), torch.inference_mode(False):
                embedded = self.embeddings[classes]
                self._class_parts[key] = tuple(F.linear(embedded, w[:, self.dim_z :], bias) for w, bias in weights)
        if truncation not in self._statistics:
            with torch.inference_mode(False):
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
        pairs = zip(*(part[..., None, None].split(widths, dim=1) for part in (scale, shift)), strict=True)
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
        return body(x, [*affines, [(scale[None, :, None, None], shift[None, :, None, None])]], block)

    def _body(self, x: Tensor, affines: Sequence[Sequence[Affine]], block: int) -> Tensor:
        """The blocks from one on, and the last norm and convolution: nothing but tensors, so that it can compile."""
        *others, [(scale, shift)] = affines
        x = self._run(x, others, block)
        with self._in_full():  # a small layer, whose rounding would be seen at once
            x = affine_relu(x.to(scale), scale, shift)
            images: Tensor = self.to_rgb(x).tanh()
        return images

    def _run(self, x: Tensor, affines: Sequence[Sequence[Affine]], block: int) -> Tensor:
        """Apply as many blocks as there are affines, from ``block`` on."""
        for layer, its_affines in zip(self.layers[block:], affines, strict=False):
            if self._recompute and torch.is_grad_enabled():
                x = checkpoint(layer, x, its_affines, use_reentrant=False, preserve_rng_state=False)
            else:
                x = layer(x, its_affines)
        return x

    def _in_full(self) -> contextlib.AbstractContextManager[object]:
        """Within the block, no autocast: where z enters, and where the image comes out, digits count."""
        kind = self.scales.device.type
        if not torch.amp.is_autocast_available(kind):
            return contextlib.nullcontext()
        return torch.autocast(kind, enabled=False)
