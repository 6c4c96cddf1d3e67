"""The frozen BigGAN-deep is the function of its package, at the published sizes; and what it holds for gradients."""

from __future__ import annotations

import functools

import biggan_models
import pytest
import torch
from biggan_models import held_bytes
from naive import normal
from pytorch_pretrained_biggan.model import BigGANBatchNorm

from directions.generators.biggan_deep import BigGANDeep
from directions.generators.frozen import truncation_statistics
from directions.generators.weights import PUBLISHED

DOUBLE = torch.float64


@functools.cache
def published(name: str):
    """The package's model with the blocks of a published size, four channels where that has 128; and the frozen one."""
    sizes = {**PUBLISHED[name].config, "channel_width": 4, "z_dim": 12, "num_classes": 3}
    model = biggan_models.random_model(samples=1, **sizes).requires_grad_(False)
    return model, BigGANDeep(model, name=name, digest="")


def tiny(**config: object):
    """A model of six blocks, and the frozen one."""
    model = biggan_models.random_model(**config)
    return model, BigGANDeep(model, name="tiny", digest="")


CASES = {name: functools.partial(published, name) for name in PUBLISHED if "deep" in name}
CASES |= {"tiny": tiny, "odd": functools.partial(tiny, num_classes=2, z_dim=5, attention_layer_position=3)}


@pytest.mark.parametrize(("case", "truncation"), [*((case, 0.4) for case in CASES), ("tiny", 1.0)])
def test_frozen_form_is_the_package_function(case, truncation, monkeypatch):
    """Images and gradients, to rounding in float64, classes mixed in a batch; at each published size, however cut."""
    if case == "odd":  # sums and the attention's matrix in small parts, as large images need them
        monkeypatch.setattr("directions.generators.frozen._CHUNK", 21)
        monkeypatch.setattr("directions.generators.frozen._QUERIES", 7)
    model, generator = CASES[case]()
    z, y = normal(3, model.config.z_dim).requires_grad_(), torch.tensor([0, 1, 0])
    expected = model(z, torch.eye(model.config.num_classes, dtype=DOUBLE)[y], truncation)
    direction = normal(*expected.shape, seed=1)
    (expected_gradient,) = torch.autograd.grad(expected, z, direction)
    assert expected.shape[2] == generator.resolution == model.config.output_dim
    assert expected.std() > 0.05
    images = generator(z, y, truncation=truncation)
    (gradient,) = torch.autograd.grad(images, z, direction)
    torch.testing.assert_close(images, expected, rtol=0, atol=1e-10)
    assert (gradient - expected_gradient).norm() < 1e-9 * expected_gradient.norm()
    assert not list(generator.parameters())


def test_frozen_form_holds_at_most_45_percent_of_the_package_form():
    """For the backward pass, at the same batch, weights included in neither."""
    model, generator = published("biggan-deep-128")
    z, one_hot = normal(8, 12).requires_grad_(), torch.eye(3, dtype=DOUBLE)[[0] * 8]
    assert not any(parameter.requires_grad for parameter in model.parameters())
    assert held_bytes(lambda: generator(z, 0)) < 0.45 * held_bytes(lambda: model(z, one_hot, 1.0))


def test_second_derivatives_are_the_package_s():
    """By differentiating twice, and through torch.func, which sees into the frozen form; with attention."""
    model, generator = tiny(attention_layer_position=3)
    z, one_hot = normal(1, 12), torch.eye(3, dtype=DOUBLE)[[0]]

    def corner(images):
        return images[0, :, 4:6, 4:6].sum()

    expected = torch.autograd.functional.hessian(lambda z: corner(model(z, one_hot, 1.0)), z)
    torch.testing.assert_close(torch.autograd.functional.hessian(lambda z: corner(generator(z, 0)), z), expected)
    torch.testing.assert_close(torch.func.jacrev(torch.func.jacrev(lambda z: corner(generator(z, 0))))(z), expected)


def test_frozen_form_in_single_precision_and_under_autocast_is_close():
    """Single precision costs no more than rounding; the places where z enters stay in it when precision is reduced."""
    generator = tiny(attention_layer_position=3)[1]
    z = normal(2, 12).requires_grad_()
    double = generator(z, 0)
    single = generator.float()(z.float(), 0)
    with torch.autocast("cpu", torch.bfloat16):
        half = generator(z.float(), 0)
    exact = torch.autograd.grad(double.square().sum(), z)[0]
    for images, error, gradient_error in ((single, 1e-4, 1e-2), (half, 0.05, 0.2)):
        assert 0 < (images.double() - double).abs().mean() < error
        gradient = torch.autograd.grad(images.double().square().sum(), z)[0]
        assert (gradient - exact).norm() < gradient_error * exact.norm()


def test_results_do_not_depend_on_earlier_calls():
    """What is kept for a class or truncation is not used for another, nor after a change of precision."""
    (_, generator), z = tiny(), normal(2, 12)
    first = generator(z, 0, truncation=0.5)
    generator(z, [1, 2], truncation=1.0)
    generator.float()
    generator.double()
    torch.testing.assert_close(generator(z, 0, truncation=0.5), first, rtol=0, atol=1e-5)


def test_rows_are_the_package_s_wherever_it_is_right():
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
    assert differing == [0.14, 0.28, 0.56, 0.58, 0.94]
    assert package_mean(0.505) == pytest.approx(25.75)
    assert float(truncation_statistics(norm.running_means, norm.running_vars, 0.505)[0]) == pytest.approx(25.25)
