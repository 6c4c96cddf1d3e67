"""A plain BigGAN written sample by sample from the paper (Brock et al. 2019, appendix B), and random weights for it.

Each block gets the class embedding and its own chunk of z; conditional batch norm scales by one plus a linear map of
them; the shortcut is upsampled and then convolved; attention pools its keys and values.
"""

from __future__ import annotations

import itertools

import torch
from torch import Tensor
from torch.nn import functional as F


def random_state(
    widths=(16, 16, 8, 8), *, attention=(1,), chunk=3, shared=5, num_classes=4, hierarchical=True, bottom_width=4
) -> dict[str, Tensor]:
    """Weights in the names that ajbrock/BigGAN-PyTorch writes, in float64."""
    rng = torch.Generator().manual_seed(0)
    state: dict[str, Tensor] = {}

    def normal(*shape):
        return torch.randn(shape, generator=rng, dtype=torch.float64)

    def layer(name, *shape, bias=True):
        state[f"{name}.weight"] = normal(*shape)
        if bias:
            state[f"{name}.bias"] = 0.1 * normal(shape[0])
        state[f"{name}.u0"] = normal(1, shape[0])
        state[f"{name}.sv0"] = normal(1)  # a log: must not matter

    def statistics(name, channels):
        state[f"{name}.stored_mean"] = 0.1 * normal(channels)
        state[f"{name}.stored_var"] = normal(channels).square() + 0.5

    state["shared.weight"] = normal(num_classes, shared)
    layer("linear", widths[0] * bottom_width**2, chunk)
    condition = shared + (chunk if hierarchical else 0)
    for i, (before, after) in enumerate(itertools.pairwise(widths)):
        layer(f"blocks.{i}.0.conv1", after, before, 3, 3)
        layer(f"blocks.{i}.0.conv2", after, after, 3, 3)
        layer(f"blocks.{i}.0.conv_sc", after, before, 1, 1)
        for norm, channels in (("bn1", before), ("bn2", after)):
            for part in ("gain", "bias"):
                layer(f"blocks.{i}.0.{norm}.{part}", channels, condition, bias=False)
            statistics(f"blocks.{i}.0.{norm}", channels)
        if i in attention:
            sizes = {"theta": (after // 8, after), "phi": (after // 8, after), "g": (after // 2, after)}
            for part, size in (sizes | {"o": (after, after // 2)}).items():
                layer(f"blocks.{i}.1.{part}", *size, 1, 1, bias=False)
            state[f"blocks.{i}.1.gamma"] = torch.tensor(0.7, dtype=torch.float64)
    state["output_layer.0.gain"] = normal(widths[-1])
    state["output_layer.0.bias"] = normal(widths[-1])
    statistics("output_layer.0", widths[-1])
    layer("output_layer.2", 3, widths[-1], 3, 3)
    return state


def textbook_image(state: dict[str, Tensor], zs: list[Tensor], y: int) -> Tensor:
    """One image, (3, height, width), from what each layer sees of z, and the class."""
    blocks = len({name.split(".")[1] for name in state if name.startswith("blocks.")})

    def weight(name):
        matrix = state[f"{name}.weight"]
        if f"{name}.u0" not in state:
            return matrix
        flat = matrix.reshape(len(matrix), -1)
        v = flat.T @ state[f"{name}.u0"][0]
        v = v / v.norm()
        u = flat @ v
        u = u / u.norm()
        return matrix / (u @ flat @ v)

    def norm(x, name, gain, bias):
        mean, variance = state[f"{name}.stored_mean"], state[f"{name}.stored_var"]
        mean, deviation, gain, bias = (t[:, None, None] for t in (mean, (variance + 1e-5).sqrt(), gain, bias))
        return (x - mean) / deviation * gain + bias

    def conv(x, name):
        kernel = weight(name)
        return F.conv2d(x[None], kernel, state.get(f"{name}.bias"), padding=kernel.shape[-1] // 2)[0]

    def double(x):
        return x.repeat_interleave(2, dim=1).repeat_interleave(2, dim=2)

    embedded = state["shared.weight"][y]
    x = (weight("linear") @ zs[0] + state["linear.bias"]).reshape(len(state["blocks.0.0.bn1.stored_mean"]), -1)
    side = int(x.shape[1] ** 0.5)
    x = x.reshape(len(x), side, side)
    for i in range(blocks):
        name = f"blocks.{i}.0"
        condition = embedded
        if state[f"{name}.bn1.gain.weight"].shape[1] > len(embedded):
            condition = torch.cat([embedded, zs[1 + i]])
        h = x
        for step in ("1", "2"):
            gain = 1 + weight(f"{name}.bn{step}.gain") @ condition
            h = norm(h, f"{name}.bn{step}", gain, weight(f"{name}.bn{step}.bias") @ condition).clamp(min=0)
            h = conv(double(h) if step == "1" else h, f"{name}.conv{step}")
        x = h + conv(double(x), f"{name}.conv_sc")
        if f"blocks.{i}.1.gamma" in state:
            x = attend(x, f"blocks.{i}.1", weight, state)
    x = norm(x, "output_layer.0", state["output_layer.0.gain"], state["output_layer.0.bias"]).clamp(min=0)
    return conv(x, "output_layer.2").tanh()


def attend(x: Tensor, name: str, weight, state) -> Tensor:
    """Each place gathers from all places of the pooled map, by similarity."""
    channels, height, width = x.shape

    def project(part):
        kernel = weight(f"{name}.{part}")[:, :, 0, 0]
        return (kernel @ x.reshape(channels, -1)).reshape(-1, height, width)

    def pooled(features):
        cells = features.reshape(len(features), height // 2, 2, width // 2, 2)
        return cells.amax(dim=(2, 4)).reshape(len(features), -1)

    queries, keys, values = project("theta").reshape(-1, height * width), pooled(project("phi")), pooled(project("g"))
    gathered = torch.stack([values @ torch.softmax(keys.T @ query, dim=0) for query in queries.T])
    out = weight(f"{name}.o")[:, :, 0, 0] @ gathered.T
    return state[f"{name}.gamma"] * out.reshape(channels, height, width) + x
