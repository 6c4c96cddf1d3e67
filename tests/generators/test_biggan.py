"""Plain BigGAN: its architecture is read off the weights, and its images are those of a version from the paper."""

from __future__ import annotations

import biggan_models
import naive_biggan
import pytest
import torch

from directions.errors import UserError
from directions.generators.base import Generator
from directions.generators.biggan import Architecture, BigGAN
from directions.generators.registry import load_generator

CASES = {
    "plain": {},
    "no attention": {"attention": ()},
    "attention twice, at the end too": {"attention": (0, 2)},
    "one z for the first layer only": {"hierarchical": False, "chunk": 7},
    "other sizes": {"widths": (8, 8, 16), "attention": (), "chunk": 2, "shared": 3, "num_classes": 2},
    "bottom of two pixels": {"widths": (8, 8), "attention": (), "bottom_width": 2},
}


def draw(generator: BigGAN, n: int = 3) -> torch.Tensor:
    return torch.randn(n, generator.dim_z, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def chunks(z: torch.Tensor, state: dict[str, torch.Tensor]) -> list[torch.Tensor]:
    return list(z.split(state["linear.weight"].shape[1]))


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_biggan_equals_the_textbook(case):
    """Images agree to float64 rounding, with other classes in one batch."""
    state = naive_biggan.random_state(**case)
    generator = BigGAN(state, name="test", digest="")
    z, y = draw(generator), [1, 0, 1]
    expected = torch.stack(
        [naive_biggan.textbook_image(state, chunks(row, state), k) for row, k in zip(z, y, strict=True)]
    )
    assert expected.std() > 0.05
    torch.testing.assert_close(generator(z, y), expected, rtol=0, atol=1e-12)


def test_biggan_has_the_gradient_of_the_textbook():
    """With respect to z."""
    state = naive_biggan.random_state()
    generator = BigGAN(state, name="test", digest="")
    z = draw(generator, 1).requires_grad_()
    (expected,) = torch.autograd.grad(naive_biggan.textbook_image(state, chunks(z[0], state), 2).square().sum(), z)
    (got,) = torch.autograd.grad(generator(z, 2).square().sum(), z)
    torch.testing.assert_close(got, expected, rtol=1e-9, atol=1e-9)


def test_architecture_is_read_off_the_state_dict():
    """|z|, classes, layers, resolution; the generator fits the protocol and is frozen. The paper's sizes are right."""
    generator = BigGAN(naive_biggan.random_state(), name="test", digest="")
    assert isinstance(generator, Generator)
    assert (generator.dim_z, generator.num_classes, generator.num_layers, generator.resolution) == (12, 4, 4, 32)
    assert generator.architecture.attention == (1,)
    assert not list(generator.parameters())
    assert not generator.training
    sizes = Architecture(
        widths=(1536, 1536, 768, 384, 192, 96), attention=(3,), bottom_width=4, chunk=20, hierarchical=True, shared=128,
        num_classes=1000,
    )  # fmt: skip
    assert (sizes.dim_z, sizes.resolution, sizes.blocks) == (120, 128, 5)
    assert sizes.shapes()["blocks.3.0.bn1.gain.weight"] == (384, 148)


@pytest.mark.parametrize(
    "rename",
    [
        lambda name: name.replace("stored_mean", "bn.running_mean").replace("stored_var", "bn.running_var"),
        lambda name: name.replace("stored_", "bn.stored_"),
    ],
    ids=["cross-replica norm", "the repository's own norm"],
)
def test_other_spellings_are_understood(rename, tmp_path):
    """All kinds of batch norm that the repository has, and what DataParallel adds."""
    state = naive_biggan.random_state()
    expected = BigGAN(state, name="test", digest="")
    torch.save({rename(name): tensor for name, tensor in state.items()}, tmp_path / "G_ema.pth")
    generator = load_generator(str(tmp_path / "G_ema.pth")).double()
    torch.testing.assert_close(generator(draw(expected)), expected(draw(expected)), rtol=0, atol=1e-12)


def test_truncation_scales_latents_and_nothing_else():
    """z is normal, not cut off; the images do not depend on the truncation given."""
    generator = BigGAN(naive_biggan.random_state(), name="test", digest="")
    z = generator.sample_z(5000, seed=0)
    assert z.abs().max() > 3
    assert z.std().item() == pytest.approx(1, abs=0.02)
    torch.testing.assert_close(generator.sample_z(5000, seed=0, truncation=0.5), z / 2)
    torch.testing.assert_close(generator(z[:2].double(), truncation=0.5), generator(z[:2].double()))
    with pytest.raises(UserError, match="truncation must be"):
        generator.sample_z(1, truncation=0)
    with pytest.raises(UserError, match="n must be at least 1"):
        generator.sample_z(0)


def without(*names: str):
    return lambda state: [state.pop(name) for name in list(state) if name.startswith(names)]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without("linear"), r"is no plain BigGAN's generator: it has no linear.weight .* G_ema.pth"),
        (without("shared"), "only generators with a shared class embedding"),
        (without("blocks.1.0.conv2.bias"), "of 32 pixels: 1 tensors are missing, such as blocks.1.0.conv2.bias"),
        (without("blocks.0.0.bn1"), "is no whole generator .*blocks.0.0.bn1.gain.weight"),
        (
            lambda s: s.update({"shared.weight": torch.tensor(1.0)}),
            r"shared.weight must have 2 dimensions, got shape \(\)",
        ),
        (
            lambda s: s.update({"linear.weight": torch.zeros(4)}),
            r"linear.weight must have 2 dimensions, got shape \(4,\)",
        ),
        (
            lambda s: s.update({"linear.u0": torch.zeros(1, 7)}),
            r"linear.u0: \(1, 256\) is needed, got \(1, 7\)",
        ),
        (lambda s: s.update({"blocks.0.0.conv2.sv0": torch.zeros(2)}), r"conv2.sv0: \(1,\) is needed, got \(2,\)"),
        (
            lambda s: s.update({"other.u0": torch.zeros(1, 2)}),
            r"1 are not of this architecture, such as other.u0 \(1, 2\)",
        ),
        (without("blocks.1.1.o"), "1 tensors are missing, such as blocks.1.1.o.weight"),
        (lambda s: s.update(extra=torch.zeros(2)), r"1 are not of this architecture, such as extra \(2,\)"),
        (
            lambda s: s.update({"output_layer.2.weight": torch.zeros(1, 8, 3, 3)}),
            r"output_layer.2.weight: \(3, 8, 3, 3\) is needed, got \(1, 8, 3, 3\)",
        ),
    ],
)
def test_other_architecture_is_refused(change, message):
    """It is said what differs."""
    state = naive_biggan.random_state()
    change(state)
    with pytest.raises(UserError, match=message):
        BigGAN(state, name="test", digest="")


@pytest.mark.parametrize(
    ("name", "value"), [("shared.weight", torch.tensor(1.0)), ("linear.u0", torch.zeros(1, 7))], ids=["0-d", "u0"]
)
def test_damaged_state_dict_is_refused_where_it_is_loaded(name, value, tmp_path):
    """With the path of the file."""
    torch.save(naive_biggan.random_state() | {name: value}, tmp_path / "G_ema.pth")
    with pytest.raises(UserError, match=rf"G_ema.pth is no whole generator .*{name}(:| must)"):
        load_generator(str(tmp_path / "G_ema.pth"))


def test_weights_of_a_biggan_deep_are_recognised(tmp_path):
    """With the names to load them by; and the other way round."""
    torch.save(biggan_models.random_model().state_dict(), tmp_path / "G_ema.pth")
    with pytest.raises(UserError, match="looks like a BigGAN-deep: load it as biggan-deep-128"):
        load_generator("biggan-128", weights=str(tmp_path))
    torch.save(naive_biggan.random_state(), tmp_path / "pytorch_model.bin")
    with pytest.raises(UserError, match=r"does not fit the architecture of biggan-deep-128: .* tensors are missing"):
        load_generator("biggan-deep-128", weights=str(tmp_path / "pytorch_model.bin"))


def test_biggan_128_is_loaded_by_name(tmp_path, monkeypatch):
    """From the folder given, the file given, or the package's folder of weights."""
    state = naive_biggan.random_state(widths=(8, 8, 8, 8, 8, 8), num_classes=1000)
    torch.save(state, tmp_path / "G_ema.pth")
    monkeypatch.setenv("DIRECTIONS_CACHE", str(tmp_path / "cache"))
    (tmp_path / "cache/biggan-128").mkdir(parents=True)
    torch.save(state, tmp_path / "cache/biggan-128/G_ema.pth")
    images = []
    for weights in (str(tmp_path), str(tmp_path / "G_ema.pth"), None):
        generator = load_generator("biggan-128", weights=weights)
        assert (generator.name, generator.dim_z, generator.resolution) == ("biggan-128", 18, 128)
        images.append(generator(generator.sample_z(1, seed=0), "golden retriever"))
    assert torch.equal(images[0], images[1])
    assert torch.equal(images[0], images[2])
    torch.testing.assert_close(images[0], generator(generator.sample_z(1, seed=0), 207))


def test_biggan_128_of_another_resolution_is_refused(tmp_path):
    """The name says 128 pixels; by their path any weights load."""
    torch.save(naive_biggan.random_state(), tmp_path / "G_ema.pth")
    with pytest.raises(UserError, match="makes images of 32 pixels, biggan-128 has 128"):
        load_generator("biggan-128", weights=str(tmp_path))
    assert load_generator(str(tmp_path / "G_ema.pth")).resolution == 32
