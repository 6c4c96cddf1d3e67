"""Published weights are found wherever they may be, in the stated order, and asked for when they are nowhere."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import subprocess
import sys
import time
import types
from pathlib import Path

import biggan_models
import pytest
import torch
from file_server import serve
from pytorch_pretrained_biggan import BigGAN, BigGANConfig

from directions.errors import UserError
from directions.generators.download import Expected
from directions.generators.published import PUBLISHED, Published
from directions.generators.registry import list_generators, load_generator
from directions.generators.sources import find, obtain

NAME = "biggan-deep-128"
LAYERS = [[False, 16, 16], [True, 16, 8], [True, 8, 4], [True, 4, 2], [True, 2, 1], [True, 1, 1]]


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
    return tmp_path


@pytest.fixture
def published(model, monkeypatch):
    """The published model, as small as the one of the tests."""
    small = Small(
        **{field.name: getattr(PUBLISHED[NAME], field.name) for field in dataclasses.fields(PUBLISHED[NAME])}
        | {"least": 1000, "hub_sha256": None, "expected": Expected(least=1000)},
        small=tuple(sorted(model.config.to_dict().items(), key=str)),
    )
    monkeypatch.setitem(PUBLISHED, NAME, small)
    return small


@dataclasses.dataclass(frozen=True, kw_only=True)
class Small(Published):
    """A published model with another configuration."""

    small: tuple

    @property
    def config(self):
        return dict(self.small)


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


@pytest.mark.parametrize(
    ("name", "millions"), [("biggan-deep-128", 50.4), ("biggan-deep-256", 55.9), ("biggan-deep-512", 56.2)]
)
def test_published_architecture_has_the_published_number_of_parameters(name, millions):
    """And its tensors take the bytes that a file must have."""
    model = BigGAN(BigGANConfig.from_dict(PUBLISHED[name].config))
    assert sum(p.numel() for p in model.parameters()) / 1e6 == pytest.approx(millions, abs=0.05)
    assert 4 * sum(tensor.numel() for tensor in model.state_dict().values()) == PUBLISHED[name].least
    assert 4 * 2 ** sum(up for up, _, _ in PUBLISHED[name].layers) == PUBLISHED[name].resolution


@pytest.mark.parametrize("kind", ["own", "package", "hub"])
def test_weights_are_found_and_loaded(kind, home, published, weights, model):
    """In each of the places; the images are those of the model that was written."""
    path = place(kind, home, published, weights)
    found, faults = find(published)
    assert found is not None
    assert (found.path, faults) == (path, [])
    generator = load_generator(NAME)
    assert (generator.name, generator.resolution, generator.dim_z) == (NAME, 128, 12)
    assert generator.digest == hashlib.sha256(weights).hexdigest()
    z = generator.sample_z(2, seed=0)
    torch.testing.assert_close(generator(z, 1), model(z, torch.eye(2)[[1, 1]], 1.0), rtol=0, atol=1e-4)
    (status,) = [status for status in list_generators() if status.name == NAME]
    assert status.state == "ready"
    assert str(path) in status.detail


def test_places_are_tried_in_order(home, published, weights):
    """The package's own folder, the other package's cache, the Hub's."""
    for kind in ("hub", "package", "own"):
        path = place(kind, home, published, weights)
        assert find(published)[0].path == path


def test_file_put_there_by_hand_is_recorded_when_first_used(home, published, weights):
    """From then on its digest is listed, and damage is noticed."""
    path = place("own", home, published, weights)
    load_generator(NAME)
    (status,) = [status for status in list_generators() if status.name == NAME]
    assert status.detail == f"sha256 {hashlib.sha256(weights).hexdigest()}, {path}"
    path.write_bytes(weights[:500] + b"X" + weights[501:])
    with pytest.raises(UserError, match="its record has"):
        load_generator(NAME)


def test_recorded_digest_of_the_hub_is_listed(home, published, weights):
    """The Hub names a file by its digest, so none has to be computed."""
    place("hub", home, published, weights)
    (status,) = [status for status in list_generators() if status.name == NAME]
    assert status.detail.startswith(f"sha256 {hashlib.sha256(weights).hexdigest()}")


def test_file_of_the_package_cache_without_record_is_not_used(home, published, weights):
    """The package writes the record last: without it the file was cut off."""
    place("package", home, published, weights).with_suffix(f".{hashlib.sha256(b'etag').hexdigest()}.json").unlink()
    assert find(published) == (None, [])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"<html><body>Sign in</body></html>" * 100, "is a web page"),
        (b"version https://git-lfs.github.com/spec/v1\n" * 50, "is a Git LFS pointer"),
        (b"\x80\x02" + bytes(100), "is too small: it has 102 bytes, the tensors alone take 1,000"),
        (lambda weights: weights[: len(weights) // 2], "is half a file: it has"),
    ],
)
def test_damaged_file_is_listed_with_what_is_wrong(content, message, home, published, weights):
    """And loading says the same, with what to do."""
    path = place("own", home, published, content if isinstance(content, bytes) else content(weights))
    (status,) = [status for status in list_generators() if status.name == NAME]
    assert status.state == "damaged"
    assert f"{path} {message}" in status.detail
    with pytest.raises(UserError, match=message):
        load_generator(NAME)


def test_damaged_file_gives_way_to_a_whole_one_elsewhere(home, published, weights):
    """Half a file in one place does not hide a whole one in another."""
    place("own", home, published, weights[:1000])
    path = place("package", home, published, weights)
    assert find(published)[0].path == path


@pytest.mark.parametrize("name", PUBLISHED)
def test_missing_weights_are_explained_at_once(name, home):
    """Which file, from where, to where; without a try to reach the network when that is switched off."""
    start = time.perf_counter()
    with pytest.raises(UserError, match=f"weights of {name} are missing.*switched off by") as error:
        load_generator(name)
    assert time.perf_counter() - start < 1
    assert str(home / ".cache/directions" / name / "pytorch_model.bin") in str(error.value)
    assert PUBLISHED[name].url in str(error.value)
    (status,) = [status for status in list_generators() if status.name == name]
    assert (status.state, status.num_classes, status.dim_z) == ("missing", 1000, 128)
    assert "Downloaded on first use" in status.detail


def test_closed_network_is_said_with_what_to_do(home, published, monkeypatch):
    """The reason of each source, then which file to put where."""
    monkeypatch.delenv("DIRECTIONS_OFFLINE")
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with serve(b"") as (url, _):
        pass  # nobody listens there any more
    with pytest.raises(UserError, match=r"cannot be reached: Connection refused.* put it here as"):
        obtain(dataclasses.replace(published, url=url))


def test_download_from_the_address_is_kept_and_recorded(home, published, weights, monkeypatch):
    """The second time nothing is fetched; a change of the file is noticed."""
    monkeypatch.delenv("DIRECTIONS_OFFLINE")
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with serve(weights) as (url, behaviour):
        monkeypatch.setitem(PUBLISHED, NAME, dataclasses.replace(published, url=url))
        load_generator(NAME)
        load_generator(NAME)
        assert len(behaviour.seen) == 1
    path = home / ".cache/directions" / NAME / "pytorch_model.bin"
    assert json.loads(path.with_name(path.name + ".json").read_text())["sha256"] == hashlib.sha256(weights).hexdigest()
    path.write_bytes(weights[:500] + b"X" + weights[501:])
    with pytest.raises(UserError, match=r"is damaged .* its record has .* remove pytorch_model.bin.json beside it"):
        load_generator(NAME)


@pytest.fixture
def hub_address():
    """A server that answers, with an error; nothing is asked of it but whether it is there."""
    with serve(b"") as (url, behaviour):
        behaviour.status = 404
        yield url


def fake_hub(monkeypatch, get, address):
    constants = types.SimpleNamespace(ENDPOINT=address)
    client = types.SimpleNamespace(hf_hub_download=get, constants=constants)
    monkeypatch.setitem(sys.modules, "huggingface_hub", client)
    monkeypatch.delenv("DIRECTIONS_OFFLINE")


def test_hub_is_asked_before_the_address(home, published, weights, model, monkeypatch, hub_address):
    """Through its own client, for the weights and the configuration."""
    asked = []

    def get(repository, file, **_):
        asked.append((repository, file))
        content = weights if file.endswith(".bin") else json.dumps(model.config.to_dict()).encode()
        return str(put(home / "hub" / file, content))

    fake_hub(monkeypatch, get, hub_address)
    assert obtain(published).path == home / "hub/pytorch_model.bin"
    assert asked == [("osanseviero/BigGAN-deep-128", name) for name in ("pytorch_model.bin", "config.json")]


def test_hub_that_fails_gives_way_to_the_address(home, published, weights, monkeypatch, hub_address):
    """Whatever its client raises."""

    def get(*_, **__):
        raise RuntimeError("no such repository\nmore")

    fake_hub(monkeypatch, get, hub_address)
    with serve(weights) as (url, _):
        assert obtain(dataclasses.replace(published, url=url)).path.parent.name == NAME
    (home / ".cache/directions" / NAME / "pytorch_model.bin").unlink()
    with (
        serve(b"<html>" * 200) as (url, _),
        pytest.raises(UserError, match=r"no such repository\. What .* is a web page"),
    ):
        obtain(dataclasses.replace(published, url=url))


def test_hub_that_does_not_answer_is_not_asked(home, published, weights, monkeypatch):
    """Its client would try again and again; the other address is tried at once."""

    def get(*_, **__):
        pytest.fail("the client was started")

    with serve(b"") as (closed, _):
        pass  # nobody listens there any more
    fake_hub(monkeypatch, get, closed)
    with pytest.raises(UserError, match=rf"The Hub \({closed}\) cannot be reached: Connection refused\. .*put it here"):
        obtain(dataclasses.replace(published, url=closed))
    with serve(weights) as (url, _):
        assert obtain(dataclasses.replace(published, url=url)).path.parent.name == NAME


@pytest.mark.parametrize(("kind", "places"), [("own", 1), ("package", 1), ("own", 2), ("package", 2), ("hub", 2)])
def test_file_that_is_not_the_published_one_is_loaded_with_a_warning(
    kind, places, home, published, weights, monkeypatch
):
    """With the digests, wherever it was found; not where the user names the file, nor where it is the one."""
    own = hashlib.sha256(weights).hexdigest()

    def publish(sha):
        hub = {"hub_sha256": "2" * 64} if places == 2 else {"hub": None}
        expected = Expected(sha256=sha, least=1000)
        monkeypatch.setitem(PUBLISHED, NAME, dataclasses.replace(published, expected=expected, **hub))

    publish("1" * 64)
    path = place(kind, home, published, weights)
    with pytest.warns(UserWarning, match=f"is not the published file: its SHA-256 is {own}, .* is {'1' * 64}"):
        assert load_generator(NAME).digest == own
    load_generator(NAME, weights=str(path))
    publish(own)
    load_generator(NAME)


def test_file_that_may_come_from_the_place_with_an_unknown_digest_is_not_warned_of(
    home, published, weights, monkeypatch
):
    """Unless its configuration is of other layers than the published ones."""
    path = place("own", home, published, weights)
    monkeypatch.setitem(PUBLISHED, NAME, dataclasses.replace(published, hub_sha256="2" * 64))
    load_generator(NAME)
    config = dict(published.config)
    put(path.parent / "config.json", json.dumps(config).encode())
    load_generator(NAME)
    other = dataclasses.replace(PUBLISHED[NAME], small=tuple((config | {"channel_width": 128}).items()))
    monkeypatch.setitem(PUBLISHED, NAME, other)
    with pytest.warns(UserWarning, match="is not the published file"):
        load_generator(NAME)


def test_hub_with_another_file_is_refused(home, published, weights, monkeypatch, hub_address):
    """Its digest is known."""

    def get(_, file, **__):
        folder = home / "hub"
        if file == "config.json":
            return str(put(folder / file, b"{}"))
        blob = put(folder / ("0" * 64), weights)
        (folder / file).symlink_to(blob)
        return str(folder / file)

    fake_hub(monkeypatch, get, hub_address)
    with (
        serve(b"<html>" * 200) as (url, _),
        pytest.raises(UserError, match="is not the published file: its SHA-256 is 000"),
    ):
        obtain(dataclasses.replace(published, url=url, hub_sha256="1" * 64))


def test_list_is_quick():
    """It neither imports torch nor reads a file of weights."""
    code = "import sys\nfrom directions.generators import registry\nregistry.list_generators()\n"
    code += "sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
