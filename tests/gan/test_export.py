"""Fixed statistics make evaluation mode agree with what training mode showed."""

from __future__ import annotations

import biggan_models
import pytest
import torch
from pytorch_pretrained_biggan.model import BigGANBatchNorm

from directions.gan.export import finished_copy, measure_statistics, settle_spectral_norm
from directions.generators.base import truncated_normal
from directions.sampling import derived_rng


def test_settled_spectral_norm_is_the_largest_singular_value() -> None:
    """Every layer's weight has norm 1 afterwards."""
    model = biggan_models.random_model()
    settle_spectral_norm(model)
    layer = model.generator.layers[0].conv_1
    sigma = layer.weight_u @ layer.weight_orig.flatten(1) @ layer.weight_v
    assert sigma.item() == pytest.approx(torch.linalg.svdvals(layer.weight_orig.flatten(1))[0].item(), rel=1e-4)


@pytest.mark.parametrize("row", [1, 5])
def test_measured_statistics_are_those_of_the_batch(row: int) -> None:
    """With a single batch, normalising by the measured row is normalising by the batch itself."""
    model = finished_copy(biggan_models.random_model(n_stats=6))
    for _ in measure_statistics(model, samples=96, batch_size=96):
        pass
    z = truncated_normal(96, 12, derived_rng(0, row, "statistics"), row / 5)
    y = torch.eye(3)[torch.arange(96) % 3]
    with torch.no_grad():
        fixed = model(z, y, row / 5)
        for module in model.modules():
            if isinstance(module, BigGANBatchNorm):
                module.training = True
        batch = model(z, y, 1.0)
    assert batch.std() > 0.05
    torch.testing.assert_close(fixed, batch, rtol=0, atol=2e-3)


def test_row_of_truncation_zero_sees_every_class_once() -> None:
    """z is 0 there: each norm's mean is that over the classes."""
    model = finished_copy(biggan_models.random_model())
    next(measure_statistics(model, samples=128, batch_size=126))
    expected = torch.zeros(3, 24)
    expected[:, 12:] = model.embeddings.weight.T
    first = model.generator.gen_z(expected).view(3, 4, 4, -1).mean(dim=(0, 1, 2))
    torch.testing.assert_close(model.generator.layers[0].bn_0.running_means[0], first, rtol=1e-4, atol=1e-4)
