"""Generators that users bring: found, wrapped, tried out, and refused with what to change."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from closed import ClosedFormGenerator
from torch import nn

from directions.direction_file import Directions
from directions.direction_file.combine import merge
from directions.discovery import discover
from directions.errors import UserError
from directions.generators.base import Generator
from directions.generators.registry import list_generators, load_generator
from directions.settings.discover import DiscoverConfig

ROOT = Path(__file__).parents[2]


class Images(nn.Module):
    """Linear, then what a test makes of it; with a class, as indices or as one-hot rows."""

    def __init__(
        self, finish=torch.tanh, *, dim_z=5, channels=3, classes=0, one_hot=False, spatial=False, **attributes
    ):
        super().__init__()
        self.finish, self.channels, self.one_hot, self.spatial = finish, channels, one_hot, spatial
        self.embed = nn.Embedding(classes, 4) if classes and not one_hot else None
        beside = classes if one_hot else 4 * bool(classes)
        self.linear = nn.ConvTranspose2d(dim_z + beside, channels, 4) if spatial else nn.Linear(dim_z + beside, 48)
        vars(self).update(attributes)

    def forward(self, z, *y):
        if self.embed is not None or self.one_hot:
            (y,) = y
            y = y if self.embed is None else self.embed(y)
            z = torch.cat([z, y[..., None, None] if self.spatial else y], 1)
        return self.finish(self.linear(z).view(len(z), self.channels, 4, -1))


class Told(nn.Module):
    """No layers to read |z| off; what a test makes of z."""

    def __init__(self, finish, dim_z=6):
        super().__init__()
        self.forward, self.dim_z = finish, dim_z


class Bare:
    """No module, and what the protocol asks for."""

    name, dim_z, num_classes, resolution, num_layers, digest, class_names = "bare", 2, 0, 2, 1, "", None
    device = torch.device("cpu")

    def __init__(self, finish=lambda z: z[:, :1, None, None].expand(-1, 3, 2, 2).tanh(), **changes):
        vars(self).update(finish=finish, **changes)

    def __call__(self, z, y=0, *, truncation=1.0):
        return self.finish(z)

    def sample_z(self, n, *, seed=None, truncation=1.0):
        return torch.arange(2.0 * n).view(n, 2) / 9

    def sample_z_from(self, n, rng, truncation=1.0):
        return torch.randn(n, 2, generator=rng)

    def class_indices(self, y, n): ...


@dataclasses.dataclass
class Output:
    sample: torch.Tensor


def pixels(z):
    return z[:, :3, None, None].expand(-1, -1, 2, 2).tanh()


MODULE = """
import sys
from torch import nn
from closed import ClosedFormGenerator
def images(): return nn.Sequential(nn.Linear(5, 48), nn.Dropout(), nn.Unflatten(1, (3, 4, 4)), nn.Tanh()).train()
made = images()
def ready(): return ClosedFormGenerator(dim_z=4, resolution=8)
def with_weights(weights=None): return nn.Sequential(nn.Linear(int(weights), 48), *images()[2:])
def exits(): sys.exit(3)
def a_class(): return nn.Linear
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A user's modules in the folder that they are in."""
    (tmp_path / "mine.py").write_text(MODULE)
    (tmp_path / "broken.py").write_text("import mine\nraise RuntimeError('at import')")
    (tmp_path / "needs.py").write_text("import not_installed")
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    for name in ("mine", "broken", "needs"):
        sys.modules.pop(name, None)


LAYERS = nn.Sequential(nn.Linear(5, 48), nn.Tanh(), nn.Unflatten(1, (3, 4, 4)))


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
@pytest.mark.parametrize(
    ("module", "dim_z", "resolution"),
    [
        (LAYERS, 5, 4),
        (lambda: torch.jit.script(LAYERS), 5, 4),
        (Images(channels=1, finish=lambda x: x[:, :, :4, :4].tanh()), 5, 4),
        (Images(spatial=True, dim_z=7), 7, 4),
        (Told(lambda z: pixels(z.mul_(2))), 6, 2),
        (Told(lambda z: {"images": pixels(z), "small": pixels(z)[..., :1, :1], "mask": pixels(z)[:, :1]}), 6, 2),
        (Told(lambda z: {"out": (Output(pixels(z)), None)}), 6, 2),
    ],
    ids=["read off", "scripted", "grey", "one pixel", "in place", "dict", "nested"],
)
def test_module_is_wrapped(module, dim_z, resolution):
    """|z| is read off or given, the images are found; the module is frozen, and its z stays the caller's."""
    generator = load_generator(module)
    assert isinstance(generator, Generator)
    assert (generator.dim_z, generator.resolution, generator.num_classes) == (dim_z, resolution, 0)
    z = generator.sample_z(3, seed=0).requires_grad_()
    before = z.detach().clone()
    assert generator(z).shape == (3, 3, resolution, resolution)
    assert torch.equal(generator(z), generator(z, None, truncation=0.5))
    assert torch.equal(z.detach(), before)
    generator(z).sum().backward()
    assert z.grad.abs().sum() > 0
    assert not any(parameter.requires_grad for parameter in generator.parameters())
    assert not any(part.training for part in generator.modules())
    torch.testing.assert_close(generator.sample_z(3, seed=0, truncation=0.5), before / 2)


NAMES = [f"kind {i}" for i in range(7)]


@pytest.mark.parametrize(
    ("settings", "names"),
    [
        ({}, None),
        ({"num_classes": 7, "class_names": NAMES}, tuple(NAMES)),
        ({"one_hot": True, "dim_z": 6, "z_dim": 6}, None),
        ({"one_hot": True, "num_classes": 7, "class_names": NAMES[:2]}, None),
        ({"one_hot": True, "spatial": True, "n_classes": 7}, None),
    ],
    ids=["embedding", "attributes", "one-hot, |z| known", "one-hot, classes known", "one-hot, one pixel"],
)
def test_module_with_classes_is_wrapped(settings, names):
    """How they are given, and how many there are, is tried out; names come from the module."""
    module = Images(classes=7, **settings)
    generator = load_generator(module)
    assert (generator.num_classes, generator.class_names) == (7, names)
    z = generator.sample_z(2, seed=0)
    rows = torch.eye(7)[[6, 2]] if module.one_hot else torch.tensor([6, 2])
    expected = module(z[..., None, None] if module.spatial else z, rows)
    torch.testing.assert_close(generator(z, [6, NAMES[2] if names else 2]), expected)
    with pytest.raises(UserError, match=r"A class must be from 0 to 6.*, got 7"):
        generator(z, 7)


class Style(Images):
    """As StyleGAN is called: a class argument without classes, and noise that can be held."""

    def forward(self, z, c, truncation_psi=1.0, noise_mode="random"):
        return super().forward(z + (torch.randn_like(z) if noise_mode == "random" else 0))


class Noisy(Images):
    def forward(self, z, noise):
        return super().forward(z + noise[:, :5])


class Conditional(Images):
    """As in PyTorch-GAN: z is called noise, and labels are embedded in its width."""

    def forward(self, noise, labels):
        return self.finish(self.linear(noise * self.embed(labels).repeat(1, 2)[:, :5]).view(-1, 3, 4, 4))


@pytest.mark.parametrize("module", [Style(z_dim=5, c_dim=0), Noisy(), Noisy(noise_dim=9)], ids=["mode", "z", "width"])
def test_noise_is_held(module):
    """The same for every sample and call."""
    generator = load_generator(module)
    z = generator.sample_z(2, seed=0)
    assert generator.num_classes == 0
    torch.testing.assert_close(generator(z)[1:], generator(z[1:]))


def test_z_may_be_called_noise_and_a_size_that_changes_later_is_refused():
    """The first argument is z; counts may be NumPy's, and names the values of a dictionary."""
    module = Conditional(classes=3, num_classes=np.int64(3), class_names={0: "a", 1: "b", 2: "c"})
    module.linear = nn.Linear(5, 48)
    generator = load_generator(module)
    assert (generator.dim_z, generator.num_classes, generator.class_names) == (5, 3, ("a", "b", "c"))
    module.finish = lambda x: x[..., :2, :2].tanh()
    with pytest.raises(UserError, match=r"shape \(2, 3, 4, 4\) for 2 latents .* got .*\(2, 3, 2, 2\)"):
        generator(generator.sample_z(2), 0)


def test_images_in_the_unit_range_are_mapped_and_overshoot_is_clamped():
    """Recognised, also where they overshoot a little, and said in one line."""
    torch.manual_seed(0)
    module = Images(lambda x: 1.05 * torch.sigmoid(9 * x) - 0.02)
    with pytest.warns(UserWarning, match=r"^The images of Images are in \[0, 1\] and are mapped to \[-1, 1\]\.$"):
        generator = load_generator(module)
    z = generator.sample_z(3, seed=0)
    torch.testing.assert_close(generator(z), (2 * module(z) - 1).clamp(-1, 1))


def under_autocast(x):
    with torch.autocast("cpu", torch.bfloat16):
        return 0 * nn.Linear(4, 4).requires_grad_(False)(x).float() + x.float().tanh()


def test_half_precision_is_warned_of():
    """Also where autocast is within the module and its images are float32 again."""
    for module in (Images().bfloat16(), Images(nn.Sequential(nn.Identity(), Told(under_autocast)))):
        with pytest.warns(UserWarning, match="Images makes its images in bfloat16, which changes the penalty"):
            half = load_generator(module)
        assert half(half.sample_z(3, seed=0)).dtype == torch.float32


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")  # from torch.compile's own imports
def test_same_weights_in_a_wrapper_are_the_same_generator():
    """DataParallel, torch.compile, AveragedModel and both: one digest, and other weights have another."""
    module = Images()
    average = torch.optim.swa_utils.AveragedModel(module)
    digest = load_generator(module).digest
    for wrapped in (nn.DataParallel(module), torch.compile(module), average, nn.DataParallel(average)):
        assert load_generator(wrapped).digest == digest
    assert load_generator(Images()).digest != digest


def test_a_renamed_file_is_the_same_generator(folder):
    """Directions and runs of ``net_one.py`` are those of ``net_two.py`` then, and so are those of an older version."""
    for name in ("net_one", "net_two"):
        text = "import torch\nclass Net(torch.nn.Linear):\n    def forward(self, z):\n"
        text += "        return torch.tanh(super().forward(z)).view(-1, 3, 4, 4)\n"
        text += "def load():\n    torch.manual_seed(0)\n    return Net(5, 48)\n"
        (folder / f"{name}.py").write_text(text)
    one, two = load_generator("net_one:load"), load_generator("net_two:load")
    assert one.digest == two.digest != load_generator(Images()).digest
    assert one.former_digest != two.former_digest
    found = Directions.from_basis(np.eye(5, dtype=np.float32), one)
    found.require_fits(two)
    z, module = np.eye(5, dtype=np.float32), one.module
    pictures = Directions.from_basis(np.eye(5), module).images(module, z[::-1], 0, 1.0)
    assert torch.equal(pictures, found.images(one, z[::-1].copy(), 0, 1.0))
    header = found.header
    header["generator"]["digest"] = one.former_digest
    former = Directions(found.matrix, header)
    former.require_fits(one)
    assert len(merge({"former": former[:2], "now": found[2:]})) == 5


def test_numpy_and_its_scalars_are_taken():
    """Arrays in, arrays out, in any precision; seeds of any kind within the range."""
    for generator in (load_generator("builtin"), load_generator(Images(classes=3)), ClosedFormGenerator()):
        z = generator.sample_z(np.int64(2), seed=np.int64(0), truncation=np.float32(0.5))
        images = generator(z, [1, 2])
        for array in (z.numpy(), z.double().numpy()):
            again = generator(array, np.array([1, 2]))
            assert isinstance(again, np.ndarray)
            np.testing.assert_allclose(again, images.detach(), atol=1e-6)
        assert generator(z.numpy(), np.int64(0)).shape == images.shape
        z.numpy().setflags(write=False)
        for odd in (z.numpy()[::-1, ::-1], z.numpy().astype(">f4")):
            np.testing.assert_array_equal(generator(odd, 0), generator(np.array(odd, dtype=np.float32), 0))
        assert generator(z.tolist(), 0).shape == images.shape
    for odd in ([1.0] * 4, [["a"]], [[0.0], [0.0, 1.0]], np.zeros((2, 4), dtype=np.int64)):
        with pytest.raises(UserError, match="z must be"):
            generator(odd, 0)


def test_reference_names_a_function_of_a_module_or_file(folder, monkeypatch):
    """What it returns has the reference's name; its source finds it from any folder."""
    assert load_generator("mine:with_weights", weights="9").dim_z == 9
    assert load_generator("mine.py:made").dim_z == 5  # a module itself
    for reference in ("mine:ready", "mine.py:ready", f"{folder}/mine.py:ready"):
        generator = load_generator(reference)
        assert (generator.name, generator.source) == (reference, f"{folder}/mine.py:ready")
        assert generator.num_classes == 3
    digest = [load_generator(name).digest for name in ("mine:ready", f"{folder}/mine.py:ready")]
    assert digest[0] == digest[1]
    function = sys.modules["mine"].images
    assert load_generator(function).source == f"{folder}/mine.py:images"
    monkeypatch.chdir(ROOT)
    assert load_generator(generator.source).name == generator.source
    assert load_generator("builtin").source == "builtin"


def test_objects_are_taken():
    """A Generator keeps its name; one that need not be a module stays where it is."""
    made = ClosedFormGenerator()
    assert load_generator(made) is made
    assert load_generator(lambda: made).name.endswith("<lambda>")
    assert load_generator(Bare()).device == torch.device("cpu")
    with pytest.raises(UserError, match="a name, a torch module, a Generator, or a function that returns one, got 3"):
        load_generator(3)
    with pytest.raises(UserError, match="weights are read by a function, got x with a Images"):
        load_generator(Images(), weights="x")


def test_module_without_gradients_is_refused_where_they_are_needed():
    """Before the first step; measured by differences it does."""
    generator = load_generator(Told(lambda z: pixels(torch.from_numpy(z.numpy()))))
    for method in ({"method": "adam"}, {}, {"method": "joint", "measurement": "gradients"}):
        with pytest.raises(UserError, match=r"gives no gradients, which this method needs: .* --measurement diff"):
            discover(generator, DiscoverConfig(**method))
    config = DiscoverConfig(method="joint", measurement="differences", base_points=1, held_out=2, starts=1)
    *_, last = discover(load_generator(Images(lambda x: x.detach().tanh())), config)
    assert last.joint is not None


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("mine.py", "mine.py is a Python file: name its function, such as mine.py:load"),
        ("mine:image", r"mine has no 'image'\. Did you mean 'images'"),
        ("mine:images", "mine:images takes no weights, got 9"),
        ("not_there:function", r"there is no module 'not_there'\. It is looked for in"),
        ("not_there.py:function", r"there is no file not_there\.py\. It is looked for from"),
        ("needs:function", r"importing needs raised ModuleNotFoundError: No module named 'not_installed'"),
        ("broken:function", r"importing broken raised RuntimeError: at import\. \(.*broken.py, line 2\)"),
        ("mine:exits", r"mine:exits raised SystemExit: 3\. \(.*mine.py, line \d+\)"),
        ("mine:a_class", "got a type. Name a function that makes the module"),
    ],
)
def test_reference_that_does_not_do_is_refused(name, message, folder):
    """With the place in the user's code."""
    with pytest.raises(UserError, match=message):
        load_generator(name, weights="9" if "takes" in message else None)


CHANGING = Told(lambda z: torch.zeros(len(z), 3, len(z), len(z)))


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (Told(pixels, dim_z=None), r"\|z\| tried: none that could be read .* Give the module an attribute dim_z"),
        (Images(classes=7, one_hot=True), "could not be called with z .* num_classes if it has classes"),
        (Images(classes=30, num_classes=31), r"one try raised IndexError: .* \(with class 30\)"),
        (Images(lambda x: 127 * (1 + x.tanh())), r"such as images / 127\.5 - 1"),
        (Images(lambda x: x / 0), "gives NaN or infinity"),
        (Told(lambda z: pixels(z + torch.randn_like(z))), "gives other images each time .* draws noise of its own"),
        (Told(lambda z: pixels(z - z.mean(0))), "another image for the same z when it comes with other latents"),
        (CHANGING, r"shape \(1, 3, 8, 8\) for 1 latents .*: the size of an image must not change"),
        (Told(lambda z: (pixels(z), pixels(z))), r"floats, got a tuple of \[0\] torch.float32 \(8, 3, 2, 2\), \[1\]"),
        (Told(lambda z: pixels(z) if not z.any() else {}["key"]), r"called with z of shape \(8, 6\), raised KeyError"),
        (Bare(lambda z: Bare().finish(z.mul_(2))), "bare changes the z that it is given. Let it work on a copy"),
        (Bare(sample_z=lambda n, **_: torch.zeros(n, 3)), r"sample_z\(8\) of bare must give floats .* got .* \(8, 3\)"),
        (nn.Sequential(nn.LazyLinear(12), nn.Unflatten(1, (3, 2, 2))), "has lazy layers, .* Call the module"),
        (Bare(num_layers=None), "Of the generator Bare, num_layers must be a whole number, at least 1, got None"),
        (Bare(num_classes=2, class_names=("one",)), r"class_names of bare must be .* for each of 2 .*\('one',\)"),
    ],
)
def test_what_does_not_do_is_refused(made, message):
    """Before anything is made of it, with what to change; never to put a tanh on a trained network."""
    with pytest.raises(UserError, match=message) as error:
        load_generator(made)
    assert "tanh" not in str(error.value)


def test_entry_points_are_listed_and_loaded(monkeypatch, folder):
    """By their own names; not imported for the list."""
    points = [importlib.metadata.EntryPoint("my-gan", "mine:images", "directions.generators")]
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: points)
    (status,) = [status for status in list_generators() if status.name == "my-gan"]
    assert (status.state, status.detail) == ("installed", "mine:images, tried out when it is loaded")
    assert "mine" not in sys.modules
    assert (load_generator("my-gan").name, load_generator("my-gan").source) == ("my-gan", "my-gan")
    with pytest.raises(UserError, match="Did you mean 'my-gan'"):
        load_generator("mygan")


def test_example_dcgan_is_loaded(monkeypatch, tmp_path):
    """The worked example of the documentation."""
    monkeypatch.chdir(ROOT)
    assert load_generator("examples.dcgan:load").resolution == 64
    trained = sys.modules["examples.dcgan"].DCGAN(dim_z=16, width=4)
    torch.save(trained.state_dict(), tmp_path / "generator.pt")
    loaded = load_generator("examples.dcgan:load", weights=str(tmp_path / "generator.pt"))
    z = loaded.sample_z(2, seed=0)
    torch.testing.assert_close(loaded(z), trained.eval()(z[..., None, None]))
