"""ProGAN's discriminator, its losses and its penalty, against closed forms and naive versions."""

from __future__ import annotations

import pytest
import torch
from naive import textbook_variances
from torch.nn import functional as F

from directions.gan.progan import GrowingGAN, minibatch_stddev
from directions.penalty import rademacher
from directions.sampling import derived_rng
from directions.settings.train import Stage, TrainConfig

CHANNELS = (6, 5, 4)


def gan(**settings):
    config = TrainConfig(data="none", resolution=16, channels=CHANNELS, dim_z=3, **settings)
    made = GrowingGAN(config, torch.device("cpu"))
    made.generator.double()
    made.discriminator.double()
    return made


def images(n=4, size=16, seed=0):
    return torch.randn(n, 3, size, size, generator=derived_rng(seed), dtype=torch.float64)


def test_minibatch_stddev_equals_the_naive_one():
    """A channel with one number for each group of four."""
    x = torch.randn(8, 3, 4, 4, generator=derived_rng(0), dtype=torch.float64)
    out = minibatch_stddev(x)
    torch.testing.assert_close(out[:, :3], x)
    for start in (0, 4):
        group = x[start : start + 4]
        deviations = ((group - group.mean(0)) ** 2).sum(0) / 4
        expected = (deviations + 1e-8).sqrt().mean()
        torch.testing.assert_close(out[start : start + 4, 3], expected.expand(4, 4, 4))
    assert minibatch_stddev(x[:2]).shape == (2, 4, 4, 4)  # a small batch is one group
    assert minibatch_stddev(x[:1].repeat(4, 1, 1, 1))[:, 3].max() < 2e-4  # collapse is seen


@pytest.mark.parametrize(("size", "group"), [(2, 2), (3, 3), (4, 4), (6, 3), (8, 4), (16, 4)])
def test_minibatch_stddev_keeps_parts_apart(size, group):
    """Groups are as large as a part allows, up to four; a part's channel does not know the other part."""
    x = torch.randn(2 * size, 3, 4, 4, generator=derived_rng(0), dtype=torch.float64)
    both = minibatch_stddev(x, parts=2)
    assert torch.equal(both, torch.cat([minibatch_stddev(part) for part in x.chunk(2)]))
    assert both[:, 3, 0, 0].unique().numel() == 2 * size // group


@pytest.mark.parametrize(("level", "alpha"), [(0, 1.0), (2, 1.0), (2, 0.25)])
def test_discriminator_equals_the_naive_one(level, alpha):
    """From the image down to 4 pixels, with the new block faded in."""
    net = gan(infogan=2).discriminator
    x = images(size=4 * 2**level)

    def layer(name, module, x, gain=2**0.5):
        weight = module.weight * gain / module.weight[0].numel() ** 0.5
        if weight.ndim == 2:
            return F.linear(x, weight, module.bias)
        return F.conv2d(x, weight, module.bias, padding="same")

    act = lambda x: torch.where(x > 0, x, 0.2 * x)  # noqa: E731 - a formula
    half = lambda x: (x[..., ::2, ::2] + x[..., 1::2, ::2] + x[..., ::2, 1::2] + x[..., 1::2, 1::2]) / 4  # noqa: E731
    h = act(layer("rgb", net.from_rgb[level], x))
    for number in range(level, 0, -1):
        block = net.blocks[number - 1]
        h = half(act(layer("conv_1", block.conv_1, act(layer("conv_0", block.conv_0, h)))))
        if number == level:
            h = alpha * h + (1 - alpha) * act(layer("rgb", net.from_rgb[level - 1], half(x)))
    torch.testing.assert_close(net.features(x, level, alpha), h)
    scores = act(layer("conv", net.conv, minibatch_stddev(h))).flatten(1)
    scores = layer("dense_1", net.dense_1, act(layer("dense_0", net.dense_0, scores)), 1.0)[:, 0]
    torch.testing.assert_close(net(x, level, alpha), scores)
    head = net.latent_head
    read = act(layer("dense_0", head.dense_0, act(layer("conv", head.conv, h)).flatten(1)))
    torch.testing.assert_close(head(h), layer("dense_1", head.dense_1, read, 1.0))


@pytest.mark.parametrize(("level", "alpha"), [(2, 1.0), (1, 1.0), (2, 0.3)])
@pytest.mark.parametrize(
    ("layers", "reduction"), [("paper", "max"), ("1,4", "max"), ("image", "max"), ("image", "mean")]
)
def test_penalty_equals_the_textbook(layers, reduction, level, alpha):
    """2k + 1 evaluations, the largest of each layer over everything, added up; a new block counts by its weight."""
    made = gan(penalty="hessian", penalty_layers=layers, penalty_reduction=reduction, num_probes=3)
    z = torch.randn(2, 3, generator=derived_rng(0), dtype=torch.float64)
    probes = rademacher((3, 2, 3), derived_rng(1), dtype=torch.float64)
    got = made.penalty(z, probes, Stage(level, alpha, 2))
    if layers == "image":
        variances = textbook_variances(lambda w: made.generator(w, level, alpha), z, probes, 0.1)
        torch.testing.assert_close(got, variances.max() if reduction == "max" else variances.mean())
        return
    expected = 0
    for layer in range(2 * level + 2) if layers == "paper" else (1, 4)[: 1 + (level == 2)]:
        of = lambda w, n=layer: made.generator.activations(w, (n,), level)[0]  # noqa: E731
        weight = alpha if layer // 2 == level else 1
        expected = expected + weight * textbook_variances(of, z, probes, 0.1).max()
    torch.testing.assert_close(got, expected)


def latents(n=4, seed=0):
    return torch.randn(n, 3, generator=derived_rng(seed), dtype=torch.float64)


FULL = Stage(2, 1.0, 4)


@pytest.mark.parametrize("size", [2, 3, 8])
@pytest.mark.parametrize("loss", ["wgan-gp", "nonsaturating"])
def test_losses_equal_the_textbook(loss, size):
    """Each half of a batch of both has the scores that it has alone; slope 1 between them, or R1 at the real ones."""
    made, real, z = gan(loss=loss), images(size), latents(size)
    fake = made.generator(z).detach()
    mix = torch.rand(size, generator=derived_rng(1), dtype=torch.float64)
    real_score, fake_score = made.discriminator(real), made.discriminator(fake)
    wgan = loss == "wgan-gp"
    terms = made.discriminator_terms(real, z, FULL, mix=mix if wgan else None, r1=not wgan)
    of_generator = made.generator_terms(z, FULL)["loss"]
    assert terms["score_real"].item() == pytest.approx(real_score.mean().item(), rel=1e-5)
    assert terms["score_fake"].item() == pytest.approx(fake_score.mean().item(), rel=1e-5)
    mix = mix.view(-1, 1, 1, 1)
    at = ((1 - mix) * real + mix * fake if wgan else real.clone()).requires_grad_()
    (slope,) = torch.autograd.grad(made.discriminator(at).sum(), at, create_graph=True)
    norms = slope.flatten(1).norm(dim=1)
    if wgan:
        penalty = ((norms - 1) ** 2).mean()
        adversarial = fake_score.mean() - real_score.mean() + 0.001 * (real_score**2).mean()
        wanted = -fake_score.mean()
    else:
        penalty = (norms**2).mean() / 2
        adversarial = torch.log1p(torch.exp(-real_score)).mean() + torch.log1p(torch.exp(fake_score)).mean()
        wanted = torch.log1p(torch.exp(-fake_score)).mean()
    torch.testing.assert_close(terms["gradient_penalty"], penalty, rtol=1e-5, atol=1e-7)
    weight, both = made.discriminator.conv.weight, (terms["gradient_penalty"], penalty)
    reached = [torch.autograd.grad(term, weight, retain_graph=True)[0] for term in both]
    torch.testing.assert_close(*reached, rtol=1e-4, atol=1e-7)
    torch.testing.assert_close(terms["loss"], adversarial + 10 * penalty, rtol=1e-5, atol=1e-6, check_dtype=False)
    torch.testing.assert_close(of_generator, wanted, rtol=1e-5, atol=1e-6, check_dtype=False)
    spread = fake.std(dim=0).mean() / real.std(dim=0).mean()
    torch.testing.assert_close(terms["diversity"], spread, rtol=1e-5, atol=0, check_dtype=False)


def test_latent_head_learns_from_both_losses():
    """The error is added to both, reaches the head in the one and the generator in the other."""
    plain, with_head = gan(), gan(infogan=2, infogan_weight=3.0)
    with_head.generator.load_state_dict(plain.generator.state_dict())
    with_head.discriminator.load_state_dict(plain.discriminator.state_dict(), strict=False)
    of_d, alone = (made.discriminator_terms(images(), latents(), FULL) for made in (with_head, plain))
    of_g, g_alone = (made.generator_terms(latents(), FULL)["loss"] for made in (with_head, plain))
    torch.testing.assert_close(of_d["loss"], alone["loss"] + 3 * of_d["infogan"])
    assert of_g > g_alone
    of_d["loss"].backward()
    assert with_head.discriminator.latent_head.conv.weight.grad.abs().sum() > 0
    features = with_head.discriminator.features(with_head.generator(latents()))
    read = with_head.discriminator.latent_head(features)
    torch.testing.assert_close(of_d["infogan"], ((read - latents()[:, :2]) ** 2).mean(), check_dtype=False)


def test_r1_counts_for_the_steps_it_leaves_out():
    """Every third step it is three times as much."""
    often, rarely = gan(loss="nonsaturating"), gan(loss="nonsaturating", r1_every=3)
    expected, got = (made.discriminator_terms(images(), latents(), FULL, r1=True) for made in (often, rarely))
    torch.testing.assert_close(got["loss"], expected["loss"] + 20 * expected["gradient_penalty"])
    assert "gradient_penalty" not in rarely.discriminator_terms(images(), latents(), FULL)
