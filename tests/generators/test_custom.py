"""Generators that users bring: found, wrapped, tried out, and refused with what to change."""

from __future__ import annotations

import importlib.metadata
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from directions.errors import UserError
from directions.generators.base import Generator
from directions.generators.registry import list_generators, load_generator

ROOT = Path(__file__).parents[2]
MODULE = '''
import torch
from torch import nn

from directions.generators.closed_form import ClosedFormGenerator


class Images(nn.Module):
    """Linear, then images."""

    def __init__(self, dim_z=5, channels=3, make=torch.tanh):
        super().__init__()
        self.channels, self.make = channels, make
        self.linear = nn.Linear(dim_z, channels * 16)

    def forward(self, z):
        return self.make(self.linear(z)).view(-1, self.channels, 4, 4)


class Pixel(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.ConvTranspose2d(7, 3, 4)

    def forward(self, z):
        return self.layer(z).tanh()


class Told(nn.Module):
    dim_z = 6

    def forward(self, z):
        return z[:, :3, None, None].expand(-1, -1, 2, 2).tanh()


class Untold(nn.Module):
    def forward(self, z):
        return z[:, :3, None, None].expand(-1, -1, 2, 2).tanh()


class Changing(Told):
    def forward(self, z):
        return torch.zeros(len(z), 3, len(z), len(z))


class Later(Told):
    size = 2

    def forward(self, z):
        return torch.zeros(len(z), 3, self.size, self.size)


class Wide(Told):
    def forward(self, z):
        return torch.zeros(len(z), 3, 2, 4)


class Several(Told):
    def forward(self, z):
        return z, z


class Failing(Told):
    def forward(self, z):
        if z.any():
            raise RuntimeError("no luck")
        return torch.zeros(len(z), 3, 2, 2)


class Batchwise(Told):
    def forward(self, z):
        return super().forward(z - z.mean(dim=0))


class Noisy(Told):
    def forward(self, z):
        return super().forward(z + torch.randn_like(z))


class Bare:
    name, dim_z, num_classes, resolution, num_layers, digest, class_names = "bare", 2, 0, 2, 1, "", None
    device = torch.device("cpu")

    def __call__(self, z, y=0, *, truncation=1.0): return z[:, :1, None, None].expand(-1, 3, 2, 2).tanh()
    def sample_z(self, n, *, seed=None, truncation=1.0): return torch.arange(2.0 * n).view(n, 2) / 9
    def sample_z_from(self, n, rng, truncation=1.0): ...
    def class_indices(self, y, n): ...


class BareWide(Bare):
    def __call__(self, z, y=0, *, truncation=1.0): return torch.zeros(len(z), 3, 4, 4)


class BareBright(Bare):
    def __call__(self, z, y=0, *, truncation=1.0): return torch.full((len(z), 3, 2, 2), 255.0)


class BareNoisy(Bare):
    def __call__(self, z, y=0, *, truncation=1.0): return torch.rand(len(z), 3, 2, 2)


class BareBatchwise(Bare):
    def __call__(self, z, y=0, *, truncation=1.0): return super().__call__(z - z.mean(0))


class BareFailing(Bare):
    def __call__(self, z, y=0, *, truncation=1.0): return {}["key"]


class BareLatents(Bare):
    def sample_z(self, n, *, seed=None, truncation=1.0): return torch.zeros(n, 3)


class BareNothing(Bare):
    def __call__(self, z, y=0, *, truncation=1.0): ...


def bare(): return Bare()
def bare_wide(): return BareWide()
def bare_bright(): return BareBright()
def bare_noisy(): return BareNoisy()
def bare_batchwise(): return BareBatchwise()
def bare_failing(): return BareFailing()
def bare_latents(): return BareLatents()
def bare_nothing(): return BareNothing()
def images(): return Images()
def grey(): return Images(channels=1)
def pixel(): return Pixel()
def told(): return Told()
def ready(): return ClosedFormGenerator(dim_z=4, resolution=8)
def with_weights(weights=None): return Images(dim_z=int(weights or 2))
def dropout(): return nn.Sequential(nn.Linear(4, 48), nn.Dropout(), nn.Unflatten(1, (3, 4, 4)), nn.Tanh()).train()
def untold(): return Untold()
def changing(): return Changing()
def later(): return Later()
def wide(): return Wide()
def several(): return Several()
def failing(): return Failing()
def batchwise(): return Batchwise()
def noisy(): return Noisy()
def unscaled(): return Images(make=lambda x: x + 3)
def infinite(): return Images(make=lambda x: x / 0)
def nothing(): return None
def a_class(): return Images
def raises(): return {}["key"]
value = 3
'''


@pytest.fixture(autouse=True)
def module(tmp_path, monkeypatch):
    """A user's module in the folder that they are in."""
    (tmp_path / "mine.py").write_text(MODULE)
    (tmp_path / "broken.py").write_text("import mine\nraise RuntimeError('at import')")
    (tmp_path / "needs.py").write_text("import not_installed")
    monkeypatch.chdir(tmp_path)
    yield
    for name in ("mine", "broken", "needs"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize(
    ("function", "dim_z", "resolution"),
    [("images", 5, 4), ("grey", 5, 4), ("pixel", 7, 4), ("told", 6, 2), ("with_weights", 2, 4), ("dropout", 4, 4)],
)
def test_module_is_wrapped(function, dim_z, resolution):
    """|z| is read off or given; the images have three channels; the module is frozen and evaluates."""
    generator = load_generator(f"mine:{function}")
    assert isinstance(generator, Generator)
    assert (generator.dim_z, generator.resolution, generator.num_classes) == (dim_z, resolution, 0)
    z = generator.sample_z(3, seed=0)
    assert generator(z).shape == (3, 3, resolution, resolution)
    assert torch.equal(generator(z), generator(z, None, truncation=0.5))
    assert not any(parameter.requires_grad for parameter in generator.parameters())
    assert not any(part.training for part in generator.modules())
    torch.testing.assert_close(generator.sample_z(3, seed=0, truncation=0.5), z / 2)


def test_generator_that_cannot_move_stays_where_it_is():
    """A Generator need not be a module."""
    generator = load_generator("mine:bare")
    assert generator.device == torch.device("cpu")


def test_gradient_reaches_z():
    """Though nothing else has one."""
    z = torch.zeros(1, 5, requires_grad=True)
    load_generator("mine:images")(z).sum().backward()
    assert z.grad.abs().sum() > 0


def test_generator_is_taken_as_it_is():
    """A function may return what fulfils the protocol."""
    assert load_generator("mine:ready").num_classes == 3


def test_weights_are_handed_on():
    """To a function that takes them; to another it is an error."""
    assert load_generator("mine:with_weights", weights="9").dim_z == 9
    with pytest.raises(UserError, match="mine:images takes no weights, got 9"):
        load_generator("mine:images", weights="9")


def test_digest_tells_weights_apart():
    """The same function gives the same digest only for the same weights."""
    torch.manual_seed(0)
    first = load_generator("mine:images").digest
    torch.manual_seed(0)
    assert load_generator("mine:images").digest == first
    assert load_generator("mine:images").digest != first


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("mine:image", r"mine has no 'image'\. Did you mean 'images'"),
        ("not_there:function", r"there is no module 'not_there'\. It is looked for in"),
        ("mine.sub:function", r"there is no module 'mine"),
        ("needs:function", r"there is no module 'not_installed'\. needs needs it"),
        ("broken:function", r"importing broken raised RuntimeError: at import\. \(.*broken.py, line 2\)"),
        ("mine:value", "must be a function that returns the generator, got a int"),
        ("mine:raises", r"mine:raises raised KeyError: 'key'\. \(.*mine.py, line \d+\)"),
        ("mine:nothing", "must return a torch module .* got a NoneType"),
        ("mine:a_class", "got a type. Name a function that makes the module"),
        ("mine:untold", r"\|z\| tried: none that could be read .* Give the module an attribute dim_z"),
        ("mine:unscaled", r"images in \[-1, 1\], got values from \d.* End it with tanh"),
        ("mine:infinite", "gives NaN or infinity"),
        ("mine:noisy", "gives other images each time for the same z .* draws noise of its own"),
        ("mine:batchwise", "another image for the same z when it comes with other latents"),
        ("mine:changing", r"8 images of 8 × 8 pixels for 8 latents, and 1 images of 1 × 1 pixels for 1"),
        ("mine:wide", r"square images, .* got shape \(8, 3, 2, 4\)"),
        ("mine:several", "must give a tensor of images, got a tuple"),
        ("mine:failing", r"raised RuntimeError for z of shape \(8, 6\): no luck"),
        (
            "mine:bare_wide",
            r"images of shape \(2, 3, 2, 2\) for 2 latents .* got torch.float32 of shape \(2, 3, 4, 4\)",
        ),
        ("mine:bare_bright", r"bare must give images in \[-1, 1\], got values from 255 to 255"),
        ("mine:bare_noisy", "bare gives other images each time for the same z .* draws noise of its own"),
        ("mine:bare_batchwise", "bare gives another image for the same z when it comes with other latents"),
        ("mine:bare_failing", r"bare, called with z of shape \(2, 2\), raised KeyError: 'key'"),
        ("mine:bare_latents", r"sample_z\(2\) of bare must give floats of shape \(2, 2\), got .* \(2, 3\)"),
        ("mine:bare_nothing", "bare must give a tensor of images, got a NoneType"),
    ],
)
def test_what_does_not_do_is_refused(name, message):
    """Before anything is made of it."""
    with pytest.raises(UserError, match=message):
        load_generator(name)


def test_size_that_changes_later_is_refused():
    """At the call."""
    generator = load_generator("mine:later")
    generator.module.size = 4
    with pytest.raises(UserError, match="2 images of 4 × 4 pixels now, and 2 × 2 pixels before"):
        generator(generator.sample_z(2))


def test_wrong_z_is_refused():
    """With its width."""
    with pytest.raises(UserError, match=r"z must be \(batch, 5\)"):
        load_generator("mine:images")(torch.zeros(1, 4))


def test_entry_points_are_listed_and_loaded(monkeypatch):
    """By their own names; not imported for the list."""
    points = [importlib.metadata.EntryPoint("my-gan", "mine:images", "directions.generators")]
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: points)
    (status,) = [status for status in list_generators() if status.name == "my-gan"]
    assert (status.state, status.detail) == ("installed", "mine:images, tried out when it is loaded")
    assert "mine" not in sys.modules
    assert load_generator("my-gan").name == "my-gan"
    with pytest.raises(UserError, match="Did you mean 'my-gan'"):
        load_generator("mygan")


def test_example_dcgan_is_loaded(monkeypatch, tmp_path):
    """The worked example of the documentation: with and without weights."""
    monkeypatch.chdir(ROOT)
    generator = load_generator("examples.dcgan:load")
    assert (generator.dim_z, generator.resolution) == (100, 64)
    trained = sys.modules["examples.dcgan"].DCGAN(dim_z=16, width=4)
    torch.save(trained.state_dict(), tmp_path / "generator.pt")
    loaded = load_generator("examples.dcgan:load", weights=str(tmp_path / "generator.pt"))
    z = loaded.sample_z(2, seed=0)
    torch.testing.assert_close(loaded(z), trained.eval()(z[..., None, None]))
    assert isinstance(trained, nn.Module)
