"""The frozen BigGAN-deep is the package's function, and refuses what it cannot use."""

from __future__ import annotations

import biggan_models
import pytest
import torch
from pytorch_pretrained_biggan.model import BigGANBatchNorm

from directions.generators.base import Generator
from directions.generators.biggan_deep import BigGANDeep
from directions.generators.frozen import truncation_statistics

CONFIGS = {"plain": {}, "attention": {"attention_layer_position": 3}, "two classes": {"num_classes": 2, "z_dim": 5}}
WRONG_ROWS = (0.14, 0.28, 0.56, 0.58, 0.94)


def frozen(model: torch.nn.Module) -> BigGANDeep:
    """The model as the package of directions runs it."""
    return BigGANDeep(model, name="test", digest="", class_names=("cube", "sphere", "cylinder"))


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
@pytest.mark.parametrize("truncation", [0.1, 0.7, 1.0])
def test_frozen_form_is_the_package_function(config: dict, truncation: float) -> None:
    """Images and gradients agree with the package's own to float64 rounding, classes mixed in a batch."""
    model = biggan_models.random_model(**config)
    rng = torch.Generator().manual_seed(1)
    z = torch.randn(5, model.config.z_dim, generator=rng, dtype=torch.float64, requires_grad=True)
    y = torch.tensor([0, 1, 1, 0, 1])
    expected = model(z, torch.eye(model.config.num_classes, dtype=torch.float64)[y], truncation)
    got = BigGANDeep(model, name="test", digest="")(z, y, truncation=truncation)
    assert expected.std() > 0.05
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-12)
    gradients = [torch.autograd.grad(images.square().sum(), z)[0] for images in (got, expected)]
    torch.testing.assert_close(*gradients, rtol=1e-9, atol=1e-9)


def test_results_do_not_depend_on_earlier_calls() -> None:
    """What is kept for a class or truncation is not used for another, nor after a change of precision."""
    model = biggan_models.random_model()
    generator = frozen(model)
    z = torch.randn(2, 12, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    first = generator(z, 0, truncation=0.5)
    generator(z, [1, 2], truncation=1.0)
    generator.float()
    generator.double()
    torch.testing.assert_close(generator(z, 0, truncation=0.5), first, rtol=0, atol=1e-5)


def test_generator_is_frozen_and_fits_the_protocol() -> None:
    """No weight takes a gradient, the sizes are read off the model."""
    generator = frozen(biggan_models.random_model())
    assert isinstance(generator, Generator)
    assert not list(generator.parameters())
    assert not generator.training
    assert (generator.dim_z, generator.num_classes, generator.resolution, generator.num_layers) == (12, 3, 16, 7)


def test_rows_are_the_package_s_wherever_it_is_right() -> None:
    """On all 50 rows but five, against its own batch norm; between rows it swaps the two weights, and we do not."""
    norm = BigGANBatchNorm(1, n_stats=51, eps=0.0, conditional=False).double()
    norm.running_means.copy_(torch.arange(51.0)[:, None])
    torch.nn.init.ones_(norm.weight)
    torch.nn.init.zeros_(norm.bias)

    def package_mean(truncation: float) -> float:
        with torch.no_grad():
            return -float(norm(torch.zeros(1, 1, 1, 1, dtype=torch.float64), truncation))

    truncations = [round(row * 0.02, 2) for row in range(1, 51)]
    ours = [float(truncation_statistics(norm.running_means, norm.running_vars, t)[0]) for t in truncations]
    assert ours == pytest.approx(list(range(1, 51)))
    differing = [t for t, mean in zip(truncations, ours, strict=True) if abs(package_mean(t) - mean) > 1e-6]
    assert differing == list(WRONG_ROWS)
    assert package_mean(0.505) == pytest.approx(25.75)
    assert float(truncation_statistics(norm.running_means, norm.running_vars, 0.505)[0]) == pytest.approx(25.25)
