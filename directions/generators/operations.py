"""What a frozen generator computes, with backward passes that know that no weight learns."""

# Torch keeps the input of each convolution for a gradient of its weights, and both sides of each rectifier; here a norm
# keeps its input and a convolution keeps nothing, which halves what is held for the backward pass. The values and
# gradients are those of the plain operations, which are used where these will not do: inside ``torch.func`` transforms
# and autocast.
from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

_CHUNK = 2**19
"""Elements that several operations in a row work on, so that they find them in a core's cache."""
_QUERIES = 256
"""Rows of the attention's matrix that are made at once."""


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
    result: Tensor = _AffineRelu.apply(x, scale, shift)
    return result


def convolve(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Convolve, keeping height and width.

    Args:
        x: (batch, in, height, width).
        weight: (out, in, size, size), which takes no gradient; the size is odd.
        bias: (out,) or ``None``, which takes no gradient.

    Returns:
        (batch, out, height, width).
    """
    if _is_special(x):
        return F.conv2d(x, weight, bias, padding=weight.shape[-1] // 2)
    result: Tensor = _Convolution.apply(x, weight, bias)
    return result


def convolve_doubled(x: Tensor, weight: Tensor) -> Tensor:
    """Repeat each pixel in a 2×2 square and convolve, without making the repeated image.

    Args:
        x: (batch, in, height, width).
        weight: (in, out, 4, 4), from `doubling_weight`, which takes no gradient.

    Returns:
        (batch, out, 2 height, 2 width).
    """
    if _is_special(x):
        return F.conv_transpose2d(x, weight, stride=2, padding=1)
    result: Tensor = _ConvolutionDoubled.apply(x, weight)
    return result


def doubling_weight(weight: Tensor) -> Tensor:
    """Turn the weight of a convolution of repeated pixels into one for `convolve_doubled`.

    Of the nine products for a pixel, several meet the same repeated pixel: summing their weights first leaves four.

    Args:
        weight: (out, in, 3, 3).

    Returns:
        (in, out, 4, 4), the weight of a transposed convolution with stride 2 and padding 1.
    """
    # Tap t is met by taps 2 - t and 3 - t of the original, where there are such.
    for dim in (2, 3):
        first, middle, last = weight.unbind(dim)
        weight = torch.stack((last, middle + last, first + middle, first), dim)
    return weight.transpose(0, 1)


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
        gathered: Tensor = _Attention.apply(query, key, value)
        return gathered
    # With a dimension of heads, the fused kernels of GPUs apply.
    return F.scaled_dot_product_attention(query[:, None], key[:, None], value[:, None], scale=1.0)[:, 0]


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


class _Convolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(weight)
        return F.conv2d(x, weight, bias, padding=weight.shape[-1] // 2)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        (weight,) = ctx.saved_tensors
        return F.conv_transpose2d(grad, weight, padding=weight.shape[-1] // 2), None, None


class _ConvolutionDoubled(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(weight)
        return F.conv_transpose2d(x, weight, stride=2, padding=1)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        (weight,) = ctx.saved_tensors
        return F.conv2d(grad, weight, stride=2, padding=1), None


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
