"""Plain BigGAN: its architecture is read off the weights, and its images are those of a version from the paper."""

from __future__ import annotations

import naive_biggan
import pytest
import torch

from directions.errors import UserError
from directions.generators.biggan import BigGAN
from directions.generators.registry import load_generator

CASES = {
    "plain": {},
    "attention twice, at the end too": {"attention": (0, 2)},
    "one z for the first layer only": {"hierarchical": False, "chunk": 7},
    "bottom of two pixels": {"widths": (8, 16), "attention": (), "bottom_width": 2, "chunk": 2, "shared": 3},
}


def draw(generator: BigGAN, n: int = 3) -> torch.Tensor:
    return torch.randn(n, generator.dim_z, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_biggan_equals_the_textbook(case):
    """Images and gradients agree to float64 rounding, with other classes in one batch."""
    state = naive_biggan.random_state(**case)
    generator = BigGAN(state, name="test", digest="")
    z, y = draw(generator).requires_grad_(), [1, 0, 1]
    zs = [row.split(state["linear.weight"].shape[1]) for row in z]
    expected = torch.stack([naive_biggan.textbook_image(state, chunks, k) for chunks, k in zip(zs, y, strict=True)])
    got = generator(z, y)
    assert expected.std() > 0.05
    assert expected.shape[2] == generator.resolution
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-12)
    gradients = [torch.autograd.grad(images.square().sum(), z)[0] for images in (got, expected)]
    torch.testing.assert_close(*gradients, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("spelling", ["bn.running_", "bn.stored_"])
def test_other_spellings_are_understood(spelling, tmp_path):
    """All kinds of batch norm that the repository has."""
    state = naive_biggan.random_state()
    expected = BigGAN(state, name="test", digest="")
    torch.save({name.replace("stored_", spelling): tensor for name, tensor in state.items()}, tmp_path / "G_ema.pth")
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


def without(*names: str):
    return lambda state: [state.pop(name) for name in list(state) if name.startswith(names)]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without("shared"), "only generators with a shared class embedding"),
        (without("blocks.1.0.conv2.bias"), "is no whole generator of a plain BigGAN: blocks.1.0.conv2.bias is missing"),
        (lambda s: s.update({"linear.u0": torch.zeros(1, 7)}), r"linear.u0: \(1, 256\) is needed, got \(1, 7\)"),
        (lambda s: s.update(extra=torch.zeros(2)), r"1 are not of this architecture, such as extra \(2,\)"),
    ],
)
def test_other_architecture_is_refused(change, message, tmp_path):
    """It is said what differs, and in which file."""
    state = naive_biggan.random_state()
    change(state)
    torch.save(state, tmp_path / "G_ema.pth")
    with pytest.raises(UserError, match=rf"G_ema.pth .*{message}"):
        load_generator(str(tmp_path / "G_ema.pth"))


def test_biggan_128_is_loaded_by_name(tmp_path, monkeypatch):
    """From the folder, the file, or the package's folder of weights; of another resolution it is refused."""
    state = naive_biggan.random_state(widths=(8, 8, 8, 8, 8, 8), num_classes=1000)
    monkeypatch.setenv("DIRECTIONS_CACHE", str(tmp_path / "cache"))
    (tmp_path / "cache/biggan-128").mkdir(parents=True)
    for path in (tmp_path / "G_ema.pth", tmp_path / "cache/biggan-128/G_ema.pth"):
        torch.save(state, path)
    digests = set()
    for weights in (str(tmp_path), str(tmp_path / "G_ema.pth"), None):
        generator = load_generator("biggan-128", weights=weights)
        assert (generator.name, generator.dim_z, generator.resolution) == ("biggan-128", 18, 128)
        digests.add(generator.digest)
    assert len(digests) == 1
    assert generator.class_indices("golden retriever", 1).tolist() == [207]
    torch.save(naive_biggan.random_state(), tmp_path / "G_ema.pth")
    with pytest.raises(UserError, match="makes images of 32 pixels, biggan-128 has 128"):
        load_generator("biggan-128", weights=str(tmp_path))
    assert load_generator(str(tmp_path / "G_ema.pth")).resolution == 32
