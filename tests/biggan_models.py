"""BigGAN-deep models of the package's class with random weights that behave as trained ones do."""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from pytorch_pretrained_biggan import BigGAN
from pytorch_pretrained_biggan.model import BigGANBatchNorm, SelfAttn

sys.path.append(str(Path(__file__).parents[1] / "scripts" / "builtin"))
from networks import build_generator

TINY = {
    "output_dim": 16,
    "channel_width": 8,
    "layers": [[False, 16, 16], [True, 16, 8], [False, 8, 8], [True, 8, 4], [False, 4, 2], [False, 2, 1]],
}


def random_model(seed: int = 0, samples: int = 6, **config: object) -> BigGAN:
    """A tiny model in float64: settled spectral norms, statistics that differ from row to row, attention that acts."""
    torch.manual_seed(seed)
    model = build_generator({**TINY, **config}).double()
    for module in model.modules():
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
