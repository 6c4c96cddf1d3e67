"""Generators that users bring: found, wrapped, tried out, and refused with what to change."""

from __future__ import annotations

import importlib.metadata
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from directions.cli import main
from directions.config import DiscoverConfig
from directions.discovery.loop import discover
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


class Gradientless(Images):
    @torch.no_grad()
    def forward(self, z):
        return super().forward(z)


class ThroughNumPy(Told):
    def forward(self, z):
        return super().forward(torch.from_numpy(z.numpy()))


class InPlace(Images):
    def forward(self, z):
        z *= 2
        return super().forward(z)


class Remembering(Images):
    def get_extra_state(self): return {"version": 3}
    def set_extra_state(self, state): ...


class Bare:
    name, dim_z, num_classes, resolution, num_layers, digest, class_names = "bare", 2, 0, 2, 1, "", None
    device = torch.device("cpu")

    def __call__(self, z, y=0, *, truncation=1.0): return z[:, :1, None, None].expand(-1, 3, 2, 2).tanh()
    def sample_z(self, n, *, seed=None, truncation=1.0): return torch.arange(2.0 * n).view(n, 2) / 9
    def sample_z_from(self, n, rng, truncation=1.0): return torch.randn(n, 2, generator=rng)
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


class BareInPlace(Bare):
    def __call__(self, z, y=0, *, truncation=1.0): return super().__call__(z.mul_(2))


class BareDraws(Bare):
    def sample_z_from(self, n, rng, truncation=1.0): ...


class BareLazy(Bare, nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.LazyLinear(3)


def bare_with(**attributes):
    made = Bare()
    for name, value in attributes.items(): setattr(made, name, value)
    return made


def bare(): return Bare()
def bare_in_place(): return BareInPlace()
def bare_draws(): return BareDraws()
def bare_lazy(): return BareLazy()
def bare_device(): return bare_with(device="cpu")
def bare_classes(): return bare_with(num_classes=None)
def bare_digest(): return bare_with(digest=None)
def bare_nameless(): return bare_with(name="")
def bare_width(): return bare_with(dim_z=2.0)
def bare_layers(): return bare_with(num_layers=0)
def bare_names(): return bare_with(num_classes=2, class_names=("one",))
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
def gradientless(): return Gradientless()
def through_numpy(): return ThroughNumPy()
def in_place(): return InPlace()
def remembering(): return Remembering()
def lazy(): return nn.Sequential(nn.LazyLinear(48), nn.Unflatten(1, (3, 4, 4)), nn.Tanh())
def meta(): return Images().to("meta")
def exits():
    import sys
    sys.exit(3)
def a_class(): return Images
def raises(): return {}["key"]
value = 3
'''


@pytest.fixture(autouse=True)
def module(tmp_path, monkeypatch):
    """A user's module in the folder that they are in."""
    (tmp_path / "mine.py").write_text(MODULE)
    (tmp_path / "broken.py").write_text("import mine\nraise RuntimeError('at import')")
    (tmp_path / "ends.py").write_text("raise SystemExit('usage: …')")
    (tmp_path / "needs.py").write_text("import not_installed")
    monkeypatch.chdir(tmp_path)
    yield
    for name in ("mine", "broken", "needs", "ends"):
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


def test_module_may_change_its_z():
    """It gets a copy: what the caller has stays as it is, and the images are the same each time."""
    generator = load_generator("mine:in_place")
    z = generator.sample_z(2, seed=0)
    before = z.clone()
    assert torch.equal(generator(z), generator(z))
    assert torch.equal(z, before)


def test_digest_passes_over_what_is_no_tensor():
    """A module may keep anything in its extra state."""
    assert len(load_generator("mine:remembering").digest) == 64


class Scripted(nn.Module):
    def __init__(self):
        super().__init__()
        self.dim_z = 5
        self.linear = nn.Linear(5, 48)

    def forward(self, z):
        return self.linear(z).tanh().view(-1, 3, 4, 4)


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
@pytest.mark.parametrize("frozen", [False, True])
def test_scripted_module_is_wrapped(frozen, monkeypatch):
    """With the gradient of z only; its digest tells weights apart, also where they are part of the program."""
    digests = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        made = torch.jit.script(Scripted().eval())
        if frozen:
            made = torch.jit.freeze(made, preserved_attrs=["dim_z"])
        monkeypatch.setitem(sys.modules, "scripts", SimpleNamespace(make=lambda made=made: made))
        generator = load_generator("scripts:make")
        z = torch.ones(2, 5, requires_grad=True)
        generator(z).sum().backward()
        assert z.grad.abs().sum() > 0
        assert not any(parameter.requires_grad for parameter in generator.parameters())
        digests.append(generator.digest)
    assert digests[0] == digests[1] != digests[2]


@pytest.mark.parametrize("function", ["gradientless", "through_numpy"])
@pytest.mark.parametrize("method", [{"method": "adam"}, {}, {"method": "joint", "measurement": "gradients"}])
def test_module_without_gradients_is_refused_where_they_are_needed(function, method):
    """Before the first step."""
    generator = load_generator(f"mine:{function}")
    with pytest.raises(UserError, match=r"gives no gradients, which this method needs: .* --measurement differences"):
        discover(generator, DiscoverConfig(**method))


@pytest.mark.parametrize("function", ["gradientless", "through_numpy"])
def test_module_without_gradients_is_measured_by_differences(function):
    """Which needs none."""
    config = DiscoverConfig(method="joint", measurement="differences", base_points=1, held_out=2, starts=1)
    *_, last = discover(load_generator(f"mine:{function}"), config)
    assert last.joint is not None


def test_command_refuses_a_module_without_gradients_and_leaves_no_folder(tmp_path, capsys):
    """Exit status 2; the same for a function that ends the program."""
    assert main(["discover", "--generator", "mine:gradientless"]) == 2
    assert "Error: Generator 'mine:gradientless' gives no gradients" in capsys.readouterr().err
    assert main(["discover", "--generator", "mine:exits"]) == 2
    assert "Error: mine:exits raised SystemExit: 3" in capsys.readouterr().err
    assert not (tmp_path / "outputs").exists()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("mine:image", r"mine has no 'image'\. Did you mean 'images'"),
        ("not_there:function", r"there is no module 'not_there'\. It is looked for in"),
        ("mine.sub:function", r"there is no module 'mine"),
        ("needs:function", r"there is no module 'not_installed'\. needs needs it"),
        ("broken:function", r"importing broken raised RuntimeError: at import\. \(.*broken.py, line 2\)"),
        ("ends:function", r"importing ends raised SystemExit: usage: …\. \(.*ends.py, line 1\)"),
        ("mine:exits", r"mine:exits raised SystemExit: 3\. \(.*mine.py, line \d+\)"),
        ("mine:lazy", r"weights that are not made yet, such as 0\.weight: .* Call the module once"),
        ("mine:meta", r"weights without values, such as linear\.weight: they are on the device 'meta'"),
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
        ("mine:bare_draws", r"sample_z_from\(2, rng\) of bare must give floats of shape \(2, 2\), got a NoneType"),
        ("mine:bare_in_place", "bare changes the z that it is given, .* Let it work on a copy"),
        ("mine:bare_lazy", "weights that are not made yet, such as layer.weight"),
        ("mine:bare_device", r"device of the generator Bare must be a torch.device, .* got 'cpu' \(a str\)"),
        ("mine:bare_classes", r"num_classes of the generator Bare must be a whole number, 0 .* got None"),
        ("mine:bare_digest", "digest of the generator Bare must be text, .* got None"),
        ("mine:bare_nameless", "name of the generator Bare must be text that is not empty, .* got ''"),
        ("mine:bare_width", "dim_z of the generator Bare must be a whole number, at least 1, got 2.0"),
        ("mine:bare_layers", "num_layers of the generator Bare must be a whole number, at least 1, got 0"),
        (
            "mine:bare_names",
            r"class_names of the generator Bare must be .* a name for each of 2 .*got \('one',\)",
        ),
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
