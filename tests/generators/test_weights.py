"""Weights are found, fetched, read in every format without running anything, and told apart."""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from unittest.mock import Mock

import biggan_models
import naive_biggan
import numpy as np
import pytest
import safetensors.torch
import torch
from fakes import Evil
from file_server import serve
from pytorch_pretrained_biggan import BigGAN, BigGANConfig
from torch import nn

from directions import load_weights
from directions.direction_file.format import has_digest
from directions.errors import UserError
from directions.generators.registry import list_generators, load_generator
from directions.generators.weights import PUBLISHED, Published, find, obtain, read_state_dict, shapes

NAME = "biggan-deep-128"
LAYERS = [[False, 16, 16], [True, 16, 8], [True, 8, 4], [True, 4, 2], [True, 2, 1], [True, 1, 1]]
STATE = {"a.weight": torch.arange(6.0).reshape(2, 3), "b": torch.tensor(1.5)}
DEEP = [name for name in PUBLISHED if "deep" in name]


@pytest.fixture(scope="module")
def model():
    """A BigGAN-deep of 128 pixels that is small."""
    return biggan_models.random_model(channel_width=8, output_dim=128, layers=LAYERS, num_classes=2).float()


@pytest.fixture(scope="module")
def weights(model, tmp_path_factory) -> bytes:
    """Its file, as ``torch.save`` writes it."""
    path = tmp_path_factory.mktemp("weights") / "file"
    torch.save(model.state_dict(), path)
    return path.read_bytes()


@pytest.fixture
def home(tmp_path: Path, monkeypatch) -> Path:
    """A home without weights, where no download is allowed."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("XDG_CACHE_HOME", "HF_HOME", "HF_HUB_CACHE", "PYTORCH_PRETRAINED_BIGGAN_CACHE", "DIRECTIONS_CACHE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DIRECTIONS_OFFLINE", "1")
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setattr("pooch.core.time.sleep", lambda _: None)  # between attempts
    return tmp_path


@pytest.fixture
def publish(model, monkeypatch):
    """Publish the small model in place of the large one, with changes, at another address."""
    monkeypatch.setattr(Published, "config", model.config.to_dict())

    def published(address="http://127.0.0.1:1/weights", **changes) -> Published:
        monkeypatch.setattr(Published, "url", address)
        entry = dataclasses.replace(PUBLISHED[NAME], **({"least": 1000, "hub_sha256": None} | changes))
        monkeypatch.setitem(PUBLISHED, NAME, entry)
        return entry

    return published


@pytest.fixture
def online(monkeypatch):
    """Downloads are allowed; the Hub's client is not installed."""
    monkeypatch.delenv("DIRECTIONS_OFFLINE")
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)


def put(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def place(kind: str, home: Path, published, weights: bytes) -> Path:
    """Put the file where other programs, or the user, would have it."""
    if kind == "own":
        return put(home / ".cache/directions" / NAME / "pytorch_model.bin", weights)
    if kind == "package":
        name = f"{hashlib.sha256(published.url.encode()).hexdigest()}.{hashlib.sha256(b'etag').hexdigest()}"
        put(home / ".pytorch_pretrained_biggan" / f"{name}.json", b'{"url": "", "etag": ""}')
        return put(home / ".pytorch_pretrained_biggan" / name, weights)
    folder = home / ".cache/huggingface/hub/models--osanseviero--BigGAN-deep-128"
    blob = put(folder / "blobs" / hashlib.sha256(weights).hexdigest(), weights)
    link = folder / "snapshots/abc/pytorch_model.bin"
    link.parent.mkdir(parents=True)
    link.symlink_to(blob)
    return link


def status(name=NAME):
    return next(status for status in list_generators() if status.name == name)


@pytest.mark.parametrize(("name", "millions"), list(zip(DEEP, (50.4, 55.9, 56.2), strict=True)))
def test_published_architecture_has_the_published_number_of_parameters(name, millions):
    """And its tensors take the bytes that a file must have."""
    with torch.device("meta"):
        model = BigGAN(BigGANConfig.from_dict(PUBLISHED[name].config))
    assert sum(p.numel() for p in model.parameters()) / 1e6 == pytest.approx(millions, abs=0.05)
    assert 4 * sum(tensor.numel() for tensor in model.state_dict().values()) == PUBLISHED[name].least


def test_weights_are_found_in_order_and_loaded(home, publish, weights, model):
    """The package's own folder, the other package's cache, the Hub's; with the images of the model that was written."""
    published, digest = publish(), hashlib.sha256(weights).hexdigest()
    path = place("package", home, published, weights)
    path.with_name(path.name + ".json").unlink()  # the package writes the record last: the file was cut off
    assert find(published) == (None, [])
    for kind in ("hub", "package", "own"):
        path = place(kind, home, published, weights)
        assert find(published) == (path, [])
        assert str(path) in status().detail
    generator = load_generator(NAME)
    assert (generator.name, generator.source, generator.file_digest) == (NAME, NAME, digest)
    assert has_digest(generator, digest)
    assert not has_digest(generator, "0" * 64)
    z = generator.sample_z(2, seed=0)
    torch.testing.assert_close(generator(z, 1), model(z, torch.eye(2)[[1, 1]], 1.0), rtol=0, atol=1e-4)
    assert (status().state, status().detail) == ("ready", f"sha256 {digest}, {path}")  # recorded when first used
    torch.save({name: 2 * tensor for name, tensor in model.state_dict().items()}, path)
    with pytest.raises(UserError, match=r"is damaged .* its record has .* remove pytorch_model.bin.json beside it"):
        load_generator(NAME)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"\n<html><body>Sign in</body></html>" * 100, "is a web page"),
        (b"\x1f\x8b" + bytes(20), "is compressed"),
        (b"PK\x03\x04garbage", "is too small: it has 11 bytes"),
    ],
)
def test_damaged_file_is_listed_with_what_is_wrong(content, message, home, publish, weights):
    """Loading says the same; a whole file elsewhere is taken instead."""
    path = place("own", home, publish(), content)
    assert status().state == "damaged"
    assert f"{path} {message}" in status().detail
    with pytest.raises(UserError, match=message):
        load_generator(NAME)
    other = place("hub", home, PUBLISHED[NAME], weights)
    assert find(PUBLISHED[NAME])[0] == other


@pytest.mark.parametrize("name", PUBLISHED)
def test_missing_weights_are_explained(name, home):
    """Which file, from where, to where; without a try to reach the network when that is switched off."""
    message = f"weights of {name} are missing.*" + ("switched off by" if name in DEEP else "G_ema.pth .*138k")
    with pytest.raises(UserError, match=message) as error:
        load_generator(name)
    assert str(home / ".cache/directions" / name) in str(error.value)
    assert name not in DEEP or PUBLISHED[name].url in str(error.value)
    assert (status(name).state, status(name).num_classes, status(name).dim_z) == (
        "missing", 1000, 128 if name in DEEP else 120
    )  # fmt: skip


def test_download_is_checked_kept_and_recorded(home, publish, weights, online, capsys):
    """With progress; the second time nothing is fetched. A connection that is cut off is tried again."""
    with serve(weights) as (url, behaviour):
        behaviour.cut_after = 1000
        with pytest.raises(UserError, match="cannot be reached"):
            obtain(publish(address=url))
        assert behaviour.requests == 3
        behaviour.cut_after = None
        load_generator(publish(address=url, sha256=hashlib.sha256(weights).hexdigest()).name)
        load_generator(NAME)
        assert behaviour.requests == 4
    assert "%" in capsys.readouterr().err
    path = home / ".cache/directions" / NAME / "pytorch_model.bin"
    assert {file.name for file in path.parent.iterdir()} == {path.name, f"{path.name}.json"}
    assert json.loads(path.with_name(path.name + ".json").read_text())["sha256"] == hashlib.sha256(weights).hexdigest()


def test_download_that_is_not_the_file_is_refused(home, publish, weights, online):
    """With the reason, what to do by hand, and nothing left behind."""
    for behave, changes, message in (
        ({"status": 404}, {}, "answers 404 Client Error: "),
        ({"content": b"<!DOCTYPE html>" * 100}, {}, r"is a web page \(HTML.*It was deleted"),
        ({"content": b"\x80" * 1500}, {"least": 2000}, "is too small: it has 1,500 bytes"),
        ({}, {"sha256": "1" * 64}, "is not the published file: .*1111"),
    ):
        with serve(weights) as (url, behaviour):
            vars(behaviour).update(behave)
            with pytest.raises(UserError, match=rf"{message}.* put it here as"):
                obtain(publish(address=url, **changes))
        assert not list((home / ".cache/directions" / NAME).iterdir())


def test_closed_network_and_folder_that_cannot_be_written_are_said(home, publish, weights, online, monkeypatch):
    """With the cause."""
    with pytest.raises(UserError, match=r"cannot be reached: Connection refused\. Get .* put it here as"):
        obtain(publish())
    put(home / "file", b"")
    monkeypatch.setenv("DIRECTIONS_CACHE", str(home / "file"))
    with serve(weights) as (url, _), pytest.raises(UserError, match="set DIRECTIONS_CACHE to another folder"):
        obtain(publish(address=url))


def test_hub_is_asked_before_the_address(home, publish, weights, online, monkeypatch):
    """Through its own client; where it fails, or what it has is not the file, the address is tried."""

    def get(repository, file, **_):
        blob, link = put(home / "hub" / hashlib.sha256(weights).hexdigest(), weights), home / "hub" / file
        link.exists() or link.symlink_to(blob)
        return str(link)

    with serve(weights) as (url, _):
        client = Mock(hf_hub_download=get)
        monkeypatch.setitem(sys.modules, "huggingface_hub", client)
        assert obtain(publish(address=url)) == home / "hub/pytorch_model.bin"
        assert obtain(publish(address=url, hub_sha256="1" * 64)).parent.name == NAME
        with pytest.raises(UserError, match=r"is not the published file: its SHA-256 is .*, not 111"):
            obtain(publish(hub_sha256="1" * 64, name="other"))
        client.hf_hub_download = lambda *_, **__: {}["no such repository"]
        with pytest.raises(UserError, match="The Hub did not give the weights: 'no such repository'"):
            obtain(publish(name="other"))


def test_file_that_is_not_the_published_one_is_loaded_with_a_warning(home, publish, weights):
    """Only where the digest of every place is known, and not where the user names the file."""
    own = hashlib.sha256(weights).hexdigest()
    path = place("hub", home, publish(), weights)
    publish(sha256="1" * 64, hub_sha256="2" * 64)
    with pytest.warns(UserWarning, match=f"is not the published file: its SHA-256 is {own}, not {'1' * 64}"):
        load_generator(NAME)
    load_generator(NAME, weights=str(path))
    for known in ({"sha256": own, "hub_sha256": "2" * 64}, {"hub_sha256": "2" * 64}):
        publish(**known)
        load_generator(NAME)


def test_no_home_is_needed_for_what_is_here():
    """Of a user whom the system does not know, without HOME."""
    code = "import pwd\npwd.getpwuid = {}.__getitem__\nfrom directions import load_generator\nload_generator()"
    kept = {name: value for name, value in os.environ.items() if name != "HOME"}
    subprocess.run([sys.executable, "-c", code], env=kept, check=True)


def write(path: Path, kind: str, content: object = STATE) -> Path:
    if kind == "safetensors":
        safetensors.torch.save_file(content, path)
    else:
        torch.save(content, path, _use_new_zipfile_serialization=kind == "zip")
    return path


@pytest.mark.parametrize("kind", ["zip", "legacy", "safetensors"])
def test_state_dict_is_read_in_every_format_or_refused_where_cut(kind, tmp_path):
    """Values as they were written, whatever the file is called; wherever it was cut, it is refused."""
    state = read_state_dict(write(tmp_path / "file", kind), bool)
    assert shapes(state) == {"a.weight": (2, 3), "b": ()}
    torch.testing.assert_close(state, STATE)
    content = write(tmp_path / "file", kind, {"a": torch.zeros(1000)}).read_bytes()
    for share in (0.3, 0.6, 0.95):
        (tmp_path / "file").write_bytes(content[: int(len(content) * share)])
        with pytest.raises(UserError, match=r"half a file|damaged"):
            read_state_dict(tmp_path / "file", bool)


OTHER = {"a.weight": torch.zeros(9)}
WRAPPINGS = {
    "DataParallel": lambda state: {f"module.{name}": tensor for name, tensor in state.items()},
    "both": lambda state: {f"module._orig_mod.{name}": tensor for name, tensor in state.items()},
    "averaged": lambda state: {"n_averaged": torch.tensor(3), **WRAPPINGS["DataParallel"](state)},
    "checkpoint": lambda state: {"state_dict": dict(state), "epoch": 3, "rng": torch.zeros(3), "args": {"lr": 0.1}},
    "options": lambda state: {"g": dict(state), "args": argparse.Namespace(out=Path("x")), "fid": np.float64(3)},
    "two words": lambda state: {"state_dict": {f"net_g.model.{name}": tensor for name, tensor in state.items()}},
    "tuple": lambda state: (dict(state), OTHER),
    "moving average": lambda state: {"G": OTHER, "D": OTHER, "G_ema": WRAPPINGS["DataParallel"](state)},
    "tutorial": lambda state: {"netD_state_dict": OTHER, "netG_state_dict": dict(state), "optimizerG": {"state": {}}},
    "nested": lambda state: {"models": {"ema": dict(state), "discriminator": OTHER}, "latent_avg": torch.zeros(2)},
}


@pytest.mark.parametrize("wrapping", WRAPPINGS.values(), ids=WRAPPINGS)
def test_same_weights_are_the_same_generator_however_saved(wrapping, tmp_path):
    """One's own, a plain BigGAN and a BigGAN-deep: the tensors, or one digest of them."""
    trained = nn.Sequential(nn.Linear(5, 48), nn.BatchNorm1d(48))
    loaded = nn.Sequential(nn.Linear(5, 48), nn.BatchNorm1d(48))
    assert load_weights(loaded, write(tmp_path / "file", "zip", wrapping(trained.state_dict()))) is loaded
    torch.testing.assert_close(dict(loaded.state_dict()), dict(trained.state_dict()))
    deep = biggan_models.random_model().float()
    put(tmp_path / "deep/config.json", json.dumps(deep.config.to_dict()).encode())
    states = {"G_ema.pth": naive_biggan.random_state(), "deep/pytorch_model.bin": deep.state_dict()}
    for name, state in states.items():
        expected = load_generator(str(write(tmp_path / name, "zip", state)))
        assert load_generator(str(write(tmp_path / name, "zip", wrapping(state)))).digest == expected.digest


def test_weights_are_found_under_the_name_in_a_larger_model_or_refused(tmp_path):
    """What fits is taken; what does not is said with the first difference."""
    layer = nn.Linear(3, 2)
    state = {f"generator.{name}": tensor for name, tensor in layer.state_dict().items()} | {"critic.weight": OTHER}
    path = write(tmp_path / "file", "zip", {name: t for name, t in state.items() if isinstance(t, torch.Tensor)})
    assert torch.equal(load_weights(nn.DataParallel(nn.Linear(3, 2)), path).module.weight, layer.weight)
    with pytest.raises(UserError, match=r"file does not fit Linear: 2 tensors are missing, such as bias \(5,\)"):
        load_weights(nn.Linear(3, 5), path)


@pytest.mark.parametrize("kind", ["zip", "legacy"])
def test_code_is_refused_and_not_run(kind, tmp_path, capsys):
    """A whole model is code too; the error says what to save instead."""
    for content in (Evil(), {"a": STATE["b"], "model": torch.nn.Linear(2, 2)}):
        path = write(tmp_path / "file", kind, content)
        with pytest.raises(UserError, match=r"holds more than tensors: \S+\. .*never done.*state_dict"):
            read_state_dict(path, bool)
    assert "this was run" not in capsys.readouterr().out


def test_something_else_is_named(tmp_path):
    """What it is instead of a state dict."""
    with pytest.raises(UserError, match=r"neither of safetensors nor of torch\.save"):
        read_state_dict(put(tmp_path / "file", b"hello world"), bool)
    for content, message in ((torch.zeros(3), "but holds a Tensor"), ({"epoch": 3}, "but holds a dict of 'epoch'")):
        with pytest.raises(UserError, match=message):
            read_state_dict(write(tmp_path / "file", "zip", content), bool)
