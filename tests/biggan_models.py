"""BigGAN-deep models of the package's class with random weights that behave as trained ones do."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import torch
from pytorch_pretrained_biggan import BigGAN, BigGANConfig
from pytorch_pretrained_biggan.model import BigGANBatchNorm, SelfAttn
from safetensors.torch import save
from torch import Tensor

TINY = {
    "output_dim": 16, "z_dim": 12, "class_embed_dim": 12, "channel_width": 8, "num_classes": 3,
    "layers": [[False, 16, 16], [True, 16, 8], [False, 8, 8], [True, 8, 4], [False, 4, 2], [False, 2, 1]],
    "attention_layer_position": -1, "eps": 1e-4, "n_stats": 51,
}  # fmt: skip


def write_generator(model: BigGAN, folder: Path, class_names: tuple[str, ...]) -> None:
    """The folder that the export script would write of a model."""
    data = save({name: tensor.contiguous().clone() for name, tensor in model.state_dict().items()})
    (folder / "weights.safetensors").write_bytes(data)
    config = {**model.config.to_dict(), "class_names": list(class_names), "sha256": hashlib.sha256(data).hexdigest()}
    (folder / "config.json").write_text(json.dumps(config))


def random_model(seed: int = 0, samples: int = 6, **config: object) -> BigGAN:
    """A tiny model in float64: settled spectral norms, statistics that differ from row to row, attention that acts."""
    torch.manual_seed(seed)
    model = BigGAN(BigGANConfig.from_dict({**TINY, **config})).double()
    torch.nn.init.normal_(model.embeddings.weight)
    for module in model.modules():
        if hasattr(module, "weight_orig"):
            torch.nn.init.orthogonal_(module.weight_orig)
        if isinstance(module, SelfAttn):
            torch.nn.init.constant_(module.gamma, 0.7)
        if isinstance(module, BigGANBatchNorm):
            module.running_means.normal_(std=0.1)
            module.running_vars.uniform_(0.5, 1.5)
            if not module.conditional:
                torch.nn.init.normal_(module.weight)
                torch.nn.init.normal_(module.bias)
    model.train()
    classes = torch.eye(model.config.num_classes, dtype=torch.float64)
    with torch.no_grad():  # spectral norm keeps its last weight, which must not hold a graph if models are to be copied
        for _ in range(3):  # its power iteration runs in training mode
            z = torch.randn(samples, model.config.z_dim, dtype=torch.float64)
            model(z, classes[torch.arange(samples) % len(classes)], 1.0)
    return model.eval()


def image_of_layers(model: BigGAN, zs: list[Tensor], y: int, truncation: float) -> Tensor:
    """One image by the package's own layers, each given its own z."""
    inner, embedded = model.generator, model.embeddings.weight[:, y]
    conditions = iter([torch.cat([z.double(), embedded])[None] for z in zs])
    x = inner.gen_z(next(conditions)).view(1, 4, 4, -1).permute(0, 3, 1, 2)
    for layer in inner.layers:
        x = layer(x, next(conditions), truncation) if hasattr(layer, "bn_0") else layer(x)
    return inner.conv_to_rgb(inner.relu(inner.bn(x, truncation)))[0, :3].tanh()


def edited_images(model: BigGAN, edits: Tensor, z: Tensor, y: list[int], layers: range, truncation: float) -> Tensor:
    """Image r by the package's own layers: those in ``layers`` see edit r, the others the z that it is an edit of."""
    images = []
    for r, edit in enumerate(edits):
        zs = [edit if i in layers else z[r % len(z)] for i in range(len(model.generator.layers) + 1)]
        images.append(image_of_layers(model, zs, y[r % len(z)], truncation))
    return torch.stack(images)


def held_bytes(action: Callable[[], Tensor]) -> int:
    """Bytes that a computation keeps for its backward pass, each storage counted once; weights not counted."""
    storages: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storages[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        kept = action()
    assert kept.requires_grad
    return sum(storages.values())
