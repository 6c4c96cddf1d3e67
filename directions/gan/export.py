"""Turn a trained generator into the files that ``load_generator`` reads.

Last stop of the training flow. Training normalises by batch; a finished generator normalises by fixed statistics, one
row for each truncation 0, 0.02, …, 1, which are measured here.
"""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from pytorch_pretrained_biggan import BigGAN
from pytorch_pretrained_biggan.model import BigGANBatchNorm
from safetensors.torch import save
from torch import Tensor
from torch.nn import functional as F

from directions.atomic import write_bytes, write_text
from directions.generators.base import truncated_normal
from directions.generators.weights import CONFIG, WEIGHTS
from directions.sampling import derived_rng

POWER_ITERATIONS = 100


@torch.no_grad()
def settle_spectral_norm(model: BigGAN) -> None:
    """Iterate every layer's singular vectors to convergence: averaged weights have others than the live ones.

    Args:
        model: Changed in place.
    """
    for module in model.modules():
        if hasattr(module, "weight_orig"):
            matrix = module.weight_orig.flatten(1)
            u, v = module.weight_u, module.weight_v
            for _ in range(POWER_ITERATIONS):
                v.copy_(F.normalize(matrix.mT @ u, dim=0))
                u.copy_(F.normalize(matrix @ v, dim=0))


@torch.no_grad()
def measure_statistics(
    model: BigGAN, *, samples: int = 1024, batch_size: int = 128, seed: int = 0
) -> Iterator[tuple[float, BigGAN]]:
    """Fill every batch norm's rows of running statistics, truncation by truncation.

    A layer's statistics are taken while the layers before it normalise by their own batch, as in training; mean and
    variance are pooled over all batches.

    Args:
        model: Its norms use batch statistics in training mode; changed in place and left in evaluation mode.
        samples: Images a truncation, a multiple of ``batch_size``.
        batch_size: Images that are normalised together.
        seed: Seed of z.

    Yields:
        The truncation that was measured, and the model.
    """
    norms = [module for module in model.modules() if isinstance(module, BigGANBatchNorm)]
    num_classes, dim_z = model.config.num_classes, model.config.z_dim
    model.train()
    _freeze_power_iteration(model)
    for row in range(model.config.n_stats):
        truncation = row / (model.config.n_stats - 1)
        sums = {norm: torch.zeros(2, norm.num_features, dtype=torch.float64) for norm in norms}
        hooks = [norm.register_forward_pre_hook(_accumulate(sums[norm])) for norm in norms]
        rng = derived_rng(seed, row, "statistics")
        # At truncation 0 there is one z: every class once is all there is to see.
        batches = samples // batch_size if row else 1
        for _ in range(batches):
            if row:
                z = truncated_normal(batch_size, dim_z, rng, truncation)
            else:
                z = torch.zeros(batch_size, dim_z)
            y = torch.arange(batch_size) % num_classes
            model(z, F.one_hot(y, num_classes).float(), 1.0)
        for hook in hooks:
            hook.remove()
        for norm in norms:
            mean, square = sums[norm] / batches
            norm.running_means[row] = mean
            norm.running_vars[row] = square - mean**2
        yield truncation, model
    model.eval()


def _accumulate(total: Tensor) -> Callable[[Any, tuple[Any, ...]], None]:
    def hook(module: Any, inputs: tuple[Any, ...]) -> None:
        x = inputs[0].double()
        total[0] += x.mean(dim=(0, 2, 3))
        total[1] += x.square().mean(dim=(0, 2, 3))

    return hook


def _freeze_power_iteration(model: BigGAN) -> None:
    """Keep the settled singular vectors: a layer under spectral norm iterates in training mode."""
    for module in model.modules():
        if hasattr(module, "weight_orig"):
            module.eval()


def write_weights(model: BigGAN, path: Path) -> str:
    """Write weights.safetensors, whole or not at all.

    Args:
        model: With measured statistics.
        path: The file.

    Returns:
        Its SHA-256.
    """
    state = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in model.state_dict().items()}
    data = save(state)
    write_bytes(path, data)
    return hashlib.sha256(data).hexdigest()


def write_generator(model: BigGAN, folder: Path, class_names: tuple[str, ...]) -> str:
    """Write weights.safetensors and config.json.

    Args:
        model: With measured statistics.
        folder: Exists.
        class_names: A name for each class.

    Returns:
        SHA-256 of the weights.
    """
    digest = write_weights(model, folder / WEIGHTS)
    config = {**model.config.to_dict(), "class_names": list(class_names), "sha256": digest}
    write_text(folder / CONFIG, json.dumps(config, indent=2, sort_keys=True) + "\n")
    return digest


def finished_copy(average: BigGAN) -> BigGAN:
    """Copy an averaged generator and settle its spectral norms; statistics are still to be measured.

    Args:
        average: The trainer's running average; left as it is.

    Returns:
        The copy, in float32.
    """
    model = copy.deepcopy(average).float()
    settle_spectral_norm(model)
    return model
