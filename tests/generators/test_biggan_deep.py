"""The frozen BigGAN-deep is the package's function, and refuses what it cannot use."""

from __future__ import annotations

import biggan_models
import pytest
import torch
from pytorch_pretrained_biggan.model import BigGANBatchNorm

from directions.errors import UserError
from directions.generators.base import Generator
from directions.generators.biggan_deep import BigGANDeep
from directions.generators.frozen import truncation_statistics

CONFIGS = {"plain": {}, "attention": {"attention_layer_position": 3}, "two classes": {"num_classes": 2, "z_dim": 5}}
WRONG_ROWS = (0.14, 0.28, 0.56, 0.58, 0.94)


def frozen(model: torch.nn.Module) -> BigGANDeep:
    """The model as the package of directions runs it."""
    return BigGANDeep(model, name="test", digest="", class_names=("cube", "sphere", "cylinder"))


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
@pytest.mark.parametrize("truncation", [0.1, 0.3, 0.4, 0.5, 0.7, 1.0])
def test_frozen_form_is_the_package_function(config: dict, truncation: float) -> None:
    """Images agree with the package's own forward to float64 rounding, classes mixed in a batch."""
    model = biggan_models.random_model(**config)
    rng = torch.Generator().manual_seed(1)
    z = torch.randn(5, model.config.z_dim, generator=rng, dtype=torch.float64)
    y = torch.tensor([0, 1, 1, 0, 1])
    with torch.no_grad():
        expected = model(z, torch.eye(model.config.num_classes, dtype=torch.float64)[y], truncation)
    assert expected.std() > 0.05
    torch.testing.assert_close(frozen(model)(z, y, truncation=truncation), expected, rtol=0, atol=1e-12)


def test_frozen_form_has_the_package_gradient() -> None:
    """The gradient with respect to z agrees too."""
    model = biggan_models.random_model()
    z = torch.randn(3, 12, generator=torch.Generator().manual_seed(2), dtype=torch.float64, requires_grad=True)
    y = torch.tensor([2, 0, 1])
    (expected,) = torch.autograd.grad(model(z, torch.eye(3, dtype=torch.float64)[y], 1.0).square().sum(), z)
    (got,) = torch.autograd.grad(frozen(model)(z, y).square().sum(), z)
    torch.testing.assert_close(got, expected, rtol=1e-9, atol=1e-9)


def test_frozen_form_in_float32_is_close() -> None:
    """Single precision costs no more than rounding."""
    model = biggan_models.random_model()
    z = torch.randn(4, 12, generator=torch.Generator().manual_seed(3))
    generator = frozen(model)
    exact = generator(z.double(), 1)
    torch.testing.assert_close(generator.float()(z, 1).double(), exact, rtol=0, atol=1e-4)


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


@pytest.mark.parametrize(
    ("z", "y", "message"),
    [
        (torch.zeros(2, 11), 0, r"z must be \(batch, 12\)"),
        (torch.zeros(12), 0, r"z must be \(batch, 12\)"),
        (torch.zeros(2, 12, dtype=torch.int64), 0, "floating point"),
        (torch.zeros(2, 12), 3, r"from 0 to 2 \(cube, sphere, cylinder\), got 3"),
        (torch.zeros(2, 12), -1, "got -1"),
        (torch.zeros(2, 12), torch.tensor([0, 5]), "got 5"),
        (torch.zeros(2, 12), "sfere", "Did you mean 'sphere'"),
        (torch.zeros(2, 12), [0, 1, 2], "each of the 2 latents, got 3"),
        (torch.zeros(2, 12), 1.5, "must be an index or a name"),
        (torch.zeros(2, 12), torch.zeros(2), "class indices"),
    ],
)
def test_wrong_input_is_refused(z: torch.Tensor, y: object, message: str) -> None:
    """The message says what is allowed."""
    generator = frozen(biggan_models.random_model()).float()
    with pytest.raises(UserError, match=message):
        generator(z, y)


@pytest.mark.parametrize("truncation", [0.0, -0.5, 1.1, float("nan")])
def test_truncation_outside_its_range_is_refused(truncation: float) -> None:
    """In the forward and in drawing z."""
    generator = frozen(biggan_models.random_model()).float()
    with pytest.raises(UserError, match="truncation must be above 0 and at most 1"):
        generator(torch.zeros(1, 12), 0, truncation=truncation)
    with pytest.raises(UserError, match="truncation must be above 0 and at most 1"):
        generator.sample_z(1, truncation=truncation)


def test_sample_z_is_a_truncated_normal() -> None:
    """Entries stay within 2 and have the variance of a normal distribution cut off there."""
    generator = frozen(biggan_models.random_model())
    z = generator.sample_z(20_000, seed=0)
    assert z.abs().max() <= 2
    assert z.var().item() == pytest.approx(0.7737, abs=0.01)
    assert generator.sample_z(10, seed=0, truncation=0.5).abs().max() <= 1
    torch.testing.assert_close(generator.sample_z(3, seed=5), generator.sample_z(8, seed=5)[:3], rtol=0, atol=0)
    assert not torch.equal(generator.sample_z(3), generator.sample_z(3))
    # A golden value pins the draw: it is the same on every machine.
    golden = torch.tensor([1.6320494413, 0.5197010040, -0.0973328650])
    torch.testing.assert_close(generator.sample_z(1, seed=0)[0, :3], golden, rtol=0, atol=1e-6)
