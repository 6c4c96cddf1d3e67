"""The frozen form at the three published sizes, and what it holds for the backward pass."""

from __future__ import annotations

import functools

import biggan_models
import naive_biggan
import pytest
import torch
from biggan_models import held_bytes
from naive import normal
from torch.nn import functional as F

from directions.generators.biggan import BigGAN
from directions.generators.biggan_deep import BigGANDeep
from directions.generators.frozen import FrozenConvolution, affine_relu, attend
from directions.generators.weights import PUBLISHED

DOUBLE = torch.float64


@functools.cache
def published(name: str):
    """The package's model with the blocks of a published size, four channels where that has 128; and the frozen one."""
    sizes = {**PUBLISHED[name].config, "channel_width": 4, "z_dim": 12, "num_classes": 3}
    model = biggan_models.random_model(samples=1, **sizes).requires_grad_(False)
    return model, BigGANDeep(model, name=name, digest="")


@pytest.mark.parametrize("name", [name for name in PUBLISHED if "deep" in name])
def test_frozen_form_of_each_size_is_the_package_function(name):
    """Images and gradients, to rounding in float64."""
    model, generator = published(name)
    z, y = normal(2, 12).requires_grad_(), torch.tensor([2, 0])
    expected = model(z, torch.eye(3, dtype=DOUBLE)[y], 0.4)
    direction = normal(*expected.shape, seed=1)
    (expected_gradient,) = torch.autograd.grad(expected, z, direction)
    assert expected.shape[2] == PUBLISHED[name].resolution
    assert expected.std() > 0.05
    images = generator(z, y, truncation=0.4)
    (gradient,) = torch.autograd.grad(images, z, direction)
    torch.testing.assert_close(images, expected, rtol=0, atol=1e-10)
    assert (gradient - expected_gradient).norm() < 1e-9 * expected_gradient.norm()


@pytest.mark.parametrize("kind", ["deep", "plain"])
def test_all_features_are_channels_last(kind):
    """The layout in which convolutions are fast, from the first layer to the image."""
    if kind == "deep":
        generator = BigGANDeep(biggan_models.random_model(attention_layer_position=3), name="deep", digest="")
    else:
        generator = BigGAN(naive_biggan.random_state(), name="plain", digest="")
    outputs = []
    for module in generator.modules():
        if not list(module.children()):
            module.register_forward_hook(lambda module, inputs, output: outputs.append(output))
    generator(normal(2, generator.dim_z), 0)
    assert len(outputs) > 8
    assert all(output.is_contiguous(memory_format=torch.channels_last) for output in outputs if output.ndim == 4)


def test_frozen_form_holds_at_most_45_percent_of_the_package_form():
    """For the backward pass, at the same batch, weights included in neither."""
    model, generator = published("biggan-deep-128")
    z, one_hot = normal(8, 12).requires_grad_(), torch.eye(3, dtype=DOUBLE)[[0] * 8]
    assert not any(parameter.requires_grad for parameter in model.parameters())
    assert held_bytes(lambda: generator(z, 0)) < 0.45 * held_bytes(lambda: model(z, one_hot, 1.0))


@pytest.mark.parametrize("chunk", [2**19, 21])
@pytest.mark.parametrize(("last", "rows"), [(True, 3), (False, 3), (True, 1)])
def test_affine_relu_has_the_values_and_gradients_of_the_plain_operations(last, rows, chunk, monkeypatch):
    """In every layout, also with affines that do not belong to one sample, however sums are cut; and twice."""
    monkeypatch.setattr("directions.generators.frozen._CHUNK", chunk)
    x, scale, shift = normal(3, 5, 4, 3), normal(rows, 5, 1, 1, seed=1), normal(rows, 5, 1, 1, seed=2)
    x = x.contiguous(memory_format=torch.channels_last) if last else x
    inputs, g = [tensor.requires_grad_() for tensor in (x, scale, shift)], normal(3, 5, 4, 3, seed=3)
    expected, got = torch.relu(x * scale + shift), affine_relu(*inputs)
    torch.testing.assert_close(got, expected)
    torch.testing.assert_close(torch.autograd.grad(got, inputs, g), torch.autograd.grad(expected, inputs, g))
    if chunk > 21:  # second derivatives go another way, which knows no chunks
        assert torch.autograd.gradgradcheck(affine_relu, inputs)


def test_convolutions_have_the_gradients_of_the_plain_ones():
    """Of one image, of one that is first doubled, and their second derivatives."""
    x, weight, bias = normal(2, 3, 3, 2).requires_grad_(), normal(4, 3, 3, 3, seed=1), normal(4, seed=3)
    for doubled, image in ((False, x), (True, F.interpolate(x, scale_factor=2, mode="nearest"))):
        convolve, expected = FrozenConvolution(weight, bias, doubled=doubled), F.conv2d(image, weight, bias, padding=1)
        torch.testing.assert_close(convolve(x), expected)
        g = normal(*expected.shape, seed=2)
        torch.testing.assert_close(torch.autograd.grad(convolve(x), x, g), torch.autograd.grad(expected, x, g))
        assert torch.autograd.gradgradcheck(lambda x, convolve=convolve: convolve(x) ** 2, x)


def test_attention_has_the_values_and_gradients_of_the_plain_one(monkeypatch):
    """With more places than are looked at together, and second derivatives."""
    monkeypatch.setattr("directions.generators.frozen._QUERIES", 4)
    inputs = [normal(2, n, width, seed=n).requires_grad_() for n, width in ((10, 3), (6, 3), (6, 5))]
    query, key, value = inputs
    got, expected = attend(*inputs), torch.softmax(query @ key.mT, dim=2) @ value
    torch.testing.assert_close(got, expected)
    g = normal(2, 10, 5, seed=9)
    torch.testing.assert_close(torch.autograd.grad(got, inputs, g), torch.autograd.grad(expected, inputs, g))
    assert torch.autograd.gradgradcheck(attend, inputs)


def test_function_transforms_see_through_the_frozen_form():
    """torch.func differentiates it, twice and over a batch."""
    generator = BigGANDeep(biggan_models.random_model(attention_layer_position=3), name="deep", digest="")
    z = normal(1, 12)

    def f(z):
        return generator(z, 0)[0, :, 4:6, 4:6].sum()

    leaf = z.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(f(leaf), leaf, create_graph=True)
    torch.testing.assert_close(torch.func.grad(f)(z), gradient.detach())
    rows = [torch.autograd.grad(gradient[0, i], leaf, retain_graph=True)[0][0] for i in range(12)]
    hessian = torch.func.jacrev(torch.func.jacrev(f))(z)[0, :, 0]
    torch.testing.assert_close(hessian, torch.stack(rows))


def test_frozen_form_in_single_precision_and_under_autocast_is_close():
    """Single precision costs no more than rounding; the places where z enters stay in it when precision is reduced."""
    generator = BigGANDeep(biggan_models.random_model(attention_layer_position=3), name="deep", digest="")
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
