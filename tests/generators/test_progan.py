"""ProGAN's generator against naive versions written from the paper, and as a generator that loads from a run folder."""

from __future__ import annotations

import json

import pytest
import torch
from torch.nn import functional as F

from directions.errors import UserError
from directions.generators.progan import EqualisedConv, EqualisedLinear, ProGANNetwork, pixel_norm, write_progan
from directions.generators.registry import load_generator
from directions.sampling import derived_rng

CHANNELS = (6, 5, 4)


def network(channels=CHANNELS, dim_z=3, dtype=torch.float64):
    """A small network with weights of its own."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        return ProGANNetwork(dim_z, channels).to(dtype)


def latents(n=2, dim_z=3, dtype=torch.float64):
    return torch.randn(n, dim_z, generator=derived_rng(0, purpose="test"), dtype=dtype)


def naive_convolution(x, layer, gain=2**0.5):
    """With weights scaled by gain over the root of the fan-in."""
    weight = layer.weight * gain / layer.weight[0].numel() ** 0.5
    return F.conv2d(x, weight, layer.bias, padding=layer.weight.shape[2] // 2)


def naive_norm(x):
    return x / (x.square().mean(dim=1, keepdim=True) + 1e-8).sqrt()


@torch.no_grad()
def naive_images(net, z, level, alpha):
    """The generator as the paper describes it, block by block."""
    x = naive_norm(z)
    dense = net.blocks[0].dense
    x = x @ (dense.weight.T * (2**0.5 / 4) / dense.weight.shape[1] ** 0.5) + dense.bias
    x = naive_norm(F.leaky_relu(x.view(len(z), -1, 4, 4), 0.2))
    x = naive_norm(F.leaky_relu(naive_convolution(x, net.blocks[0].conv), 0.2))
    features = [x]
    for block in net.blocks[1 : level + 1]:
        x = x.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
        for layer in (block.conv_0, block.conv_1):
            x = naive_norm(F.leaky_relu(naive_convolution(x, layer), 0.2))
        features.append(x)
    image = naive_convolution(x, net.to_rgb[level], gain=1.0)
    if level and alpha < 1:
        old = naive_convolution(features[-2], net.to_rgb[level - 1], gain=1.0)
        image = alpha * image + (1 - alpha) * old.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
    return image


@pytest.mark.parametrize(("level", "alpha"), [(0, 1.0), (2, 1.0), (2, 0.3), (1, 0.0)])
def test_network_equals_the_naive_one(level, alpha):
    """At every level, faded in and not."""
    net = network()
    for parameter in net.parameters():
        parameter.data.copy_(torch.randn(parameter.shape, generator=derived_rng(len(parameter)), dtype=parameter.dtype))
    images = net(latents(), level, alpha).detach()
    torch.testing.assert_close(images, naive_images(net, latents(), level, alpha))
    torch.testing.assert_close(images, net(7 * latents(), level, alpha).detach())  # the length of z does not matter


def test_equalised_layers_scale_weights_of_variance_one():
    """So that outputs have the variance of the inputs."""
    dense = EqualisedLinear(512, 1024, gain=1.0)
    assert EqualisedConv(64, 256, 3).weight.std().item() == pytest.approx(1, abs=0.02)
    assert dense.weight.std().item() == pytest.approx(1, abs=0.02)
    assert dense(torch.randn(64, 512, generator=derived_rng(0))).var().item() == pytest.approx(1, rel=0.1)


@pytest.mark.filterwarnings("ignore:.*torch.jit.script:DeprecationWarning")  # from torch, when vmap meets a Function
def test_pixel_norm_has_the_derivatives_of_its_formula():
    """Backwards, twice backwards, forwards, and through vmap; zeros stay zeros."""
    x = torch.randn(2, 3, 2, 2, generator=derived_rng(0), dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(pixel_norm, x, check_forward_ad=True)
    assert torch.autograd.gradgradcheck(pixel_norm, x)
    for jacobian in (torch.func.jacfwd, torch.func.jacrev):
        torch.testing.assert_close(jacobian(pixel_norm)(x.detach()), torch.func.jacrev(naive_norm)(x.detach()))
    zero = torch.zeros(1, 3, requires_grad=True)
    assert pixel_norm(zero).eq(0).all()
    pixel_norm(zero).sum().backward()
    assert zero.grad.isfinite().all()


def test_activations_are_those_behind_the_image():
    """Two a level, normalised; later levels are left out; the image is the network's."""
    net = network()
    every = net.activations(latents(), range(6), image=True)
    assert [tuple(t.shape[1:]) for t in every] == [
        *[(6, 4, 4)] * 2, *[(5, 8, 8)] * 2, *[(4, 16, 16)] * 2, (3, 16, 16)
    ]  # fmt: skip
    for tensor in every[:-1]:
        torch.testing.assert_close(tensor.square().mean(dim=1), torch.ones_like(tensor[:, 0]), rtol=0, atol=1e-4)
    torch.testing.assert_close(every[-1], net(latents()))
    some = net.activations(latents(), (1, 2, 5), level=1)
    assert len(some) == 2
    torch.testing.assert_close(some, [every[1], every[2]])
    assert net.activations(latents(), (), level=1) == []


@pytest.fixture
def folder(tmp_path):
    """A folder as a training run leaves it."""
    write_progan(network(dtype=torch.float32), tmp_path / "weights.safetensors", level=2, alpha=1.0, kimg=1.5)
    config = {"arch": "progan", "dim_z": 3, "channels": list(CHANNELS), "resolution": 16, "training": {}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    return tmp_path


def test_generator_loads_from_its_folder(folder):
    """With the protocol of every generator; images are the network's, cut off at ±1."""
    generator = load_generator(str(folder))
    assert (generator.dim_z, generator.num_classes, generator.resolution, generator.num_layers) == (3, 0, 16, 1)
    z = generator.sample_z(4, seed=0)
    assert generator.sample_z(20000, seed=1).std().item() == pytest.approx(1, abs=0.02)
    images = generator(z)
    assert not images.requires_grad
    torch.testing.assert_close(images, network(dtype=torch.float32)(z).clamp(-1, 1))
    behind = generator.after_norm()
    torch.testing.assert_close(behind.sample_z(4, seed=0), pixel_norm(z))
    torch.testing.assert_close(behind(behind.sample_z(4, seed=0)), images, rtol=0, atol=1e-3)


def test_generator_of_an_unfinished_growth_is_enlarged(folder):
    """Its images have the last resolution whatever it has grown to."""
    net = network(dtype=torch.float32)
    write_progan(net, folder / "weights.safetensors", level=1, alpha=0.25, kimg=0.5)
    generator = load_generator(str(folder))
    z = generator.sample_z(2, seed=0)
    enlarged = net(z, 1, 0.25).clamp(-1, 1).repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
    torch.testing.assert_close(generator(z), enlarged)


def test_wrong_configuration_is_refused(folder):
    """With the file that is wrong."""
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"channels": [6, 5]}))
    with pytest.raises(UserError, match=r"weights.safetensors does not fit .*config.json: .* are not of this"):
        load_generator(str(folder))
    (folder / "config.json").write_text(json.dumps(config | {"channels": None}))
    with pytest.raises(UserError, match=r"config.json is no ProGAN configuration: it must have dim_z, and channels"):
        load_generator(str(folder))
