"""Fixed statistics make evaluation mode agree with what training mode showed."""

from __future__ import annotations

import biggan_models
import pytest
import torch
from pytorch_pretrained_biggan.model import BigGANBatchNorm

from directions.gan.export import finished_copy, measure_statistics, settle_spectral_norm
from directions.generators.base import truncated_normal


def test_settled_spectral_norm_is_the_largest_singular_value() -> None:
    """Every layer's weight has norm 1 afterwards."""
    model = biggan_models.random_model()
    settle_spectral_norm(model)
    layer = model.generator.layers[0].conv_1
    sigma = layer.weight_u @ layer.weight_orig.flatten(1) @ layer.weight_v
    assert sigma.item() == pytest.approx(torch.linalg.svdvals(layer.weight_orig.flatten(1))[0].item(), rel=1e-4)


def test_measured_statistics_reproduce_the_batch() -> None:
    """Normalising a large batch by the measured row gives what its own statistics gave, at either truncation."""
    model = finished_copy(biggan_models.random_model())
    for _ in measure_statistics(model, samples=256, batch_size=128):
        pass
    for truncation in (0.5, 1.0):
        z = truncated_normal(256, 12, torch.Generator().manual_seed(1), truncation)
        y = torch.eye(3)[torch.arange(256) % 3]
        model.eval()
        with torch.no_grad():
            fixed = model(z, y, truncation)
            for module in model.modules():
                if isinstance(module, BigGANBatchNorm):
                    module.training = True
            batch = model(z, y, truncation)
        assert (fixed - batch).square().mean() < 0.01 * batch.var()


def test_row_of_truncation_zero_sees_every_class_once() -> None:
    """z is 0 there: each norm's mean is that over the classes."""
    model = finished_copy(biggan_models.random_model())
    next(measure_statistics(model, samples=128, batch_size=126))
    expected = torch.zeros(3, 24)
    expected[:, 12:] = model.embeddings.weight.T
    first = model.generator.gen_z(expected).view(3, 4, 4, -1).mean(dim=(0, 1, 2))
    torch.testing.assert_close(model.generator.layers[0].bn_0.running_means[0], first, rtol=1e-4, atol=1e-4)
