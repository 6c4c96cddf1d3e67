"""Other programs' files become direction files: the right rows, orthonormal, in the right place, with their names."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from fakes import Evil
from naive import normal, textbook_gram_schmidt

from directions.basis import check_orthonormal
from directions.convert import PUBLISHED_FILES, convert
from directions.direction_file import load_directions
from directions.errors import UserError
from directions.generators.weights import sha256_of

BIGGAN = SimpleNamespace(name="biggan-128", digest="", dim_z=120, resolution=128)
SMALL = SimpleNamespace(name="small", digest="abc", dim_z=6, resolution=8)
ROOT = Path(__file__).parents[2]
OFFICIAL = next(
    (f for f in (ROOT / "data/official_directions", ROOT.parent / "shared/data/official_directions") if f.is_dir()),
    None,
)


def paper_file(key: str, folder: Path) -> Path:
    """One of the paper's files, or a twin of its form where it is not here."""
    known, file = PUBLISHED_FILES[key], "voynov.pt" if key == "voynov" else f"our_{key.replace('-', '_')}.pt"
    if OFFICIAL is not None and (OFFICIAL / file).is_file():
        return OFFICIAL / file
    size = known.space[1] - known.space[0]
    matrix = torch.linalg.qr(normal(size, size)).Q if key == "voynov" else 1.5 * normal(size, size)
    torch.save(matrix.float(), folder / file, _use_new_zipfile_serialization=size < 120)
    return folder / file


@pytest.mark.parametrize("key", PUBLISHED_FILES)
def test_paper_files_are_converted(key, tmp_path):
    """Rows by textbook Gram–Schmidt, in their part of z, with the paper's names and classes; and through the file."""
    path, known = paper_file(key, tmp_path), PUBLISHED_FILES[key]
    # The paper's own are recognised by their digests.
    directions = convert(path, BIGGAN, published=key if path.parent == tmp_path else None)
    start, stop = known.space
    raw = torch.load(path, weights_only=True).double()
    expected = torch.zeros(len(raw), 120, dtype=torch.float64)
    expected[:, start:stop] = textbook_gram_schmidt(raw)
    np.testing.assert_allclose(directions.matrix, expected.numpy(), rtol=0, atol=2e-6)
    assert check_orthonormal(directions.matrix) is None
    assert {index: directions.names[index] for index in known.names} == known.names
    assert directions.header["classes"] == (list(known.classes) if known.classes else "all")
    assert directions.header["source"]["published"] == key
    directions.save(tmp_path / "out.safetensors")
    assert load_directions(tmp_path / "out.safetensors").header == directions.header


def write(path: Path, content: object) -> Path:
    """Write a file as other programs do: an array, bytes, or what torch.save takes."""
    with path.open("wb") as file:
        if isinstance(content, np.ndarray):
            np.save(file, content, allow_pickle=True)
        else:
            file.write(content) if isinstance(content, bytes) else torch.save(content, file)
    return path


@pytest.fixture
def twin(tmp_path, monkeypatch):
    """A file that counts as the paper's goldens-mid, and one that does as its goldens."""
    for key, size in (("goldens-mid", 40), ("goldens", 120)):
        path = write(tmp_path / f"{key}.pt", normal(size, size))
        known = dataclasses.replace(PUBLISHED_FILES[key], sha256=sha256_of(path))
        monkeypatch.setitem(PUBLISHED_FILES, key, known)
    return tmp_path


def test_published_names_are_for_the_paper_s_generator(twin):
    """Recognised by its digest, a file has them with |z| = 120; with another |z| it is a file like any other."""
    directions = convert(twin / "goldens.pt", BIGGAN)
    assert (directions.names[5], directions.header["classes"]) == ("rotation", [207])
    deep = SimpleNamespace(name="biggan-deep-128", digest="", dim_z=128, resolution=128)
    with pytest.raises(UserError, match=r"have 120 components, but space 0:128 .* has 128\. Say .* such as 0:120"):
        convert(twin / "goldens.pt", deep)
    directions = convert(twin / "goldens.pt", deep, space="0:120")
    assert (directions.names[5], directions.header["classes"]) == ("d5", "all")
    assert directions.header["source"]["published"] is None
    with pytest.raises(UserError, match=r"published is for generators with \|z\| = 120, .* with \|z\| = 128"):
        convert(twin / "goldens.pt", deep, space="0:120", published="goldens")


def test_published_names_belong_to_the_published_space(twin):
    """In another space the classes are kept, and the names are not; the user's own always are."""
    assert convert(twin / "goldens-mid.pt", BIGGAN, space="mid").names[5] == "colorization"
    directions = convert(twin / "goldens-mid.pt", BIGGAN, space="0:40", names={1: "mine"})
    assert directions.names[:6] == ("d0", "mine", "d2", "d3", "d4", "d5")
    assert (directions.header["classes"], directions.header["space"]) == ([207], [0, 40])
    assert directions.header["source"]["published"] == "goldens-mid"


def test_deformator_gives_what_it_makes_of_unit_vectors(tmp_path):
    """The columns of the exponential of M − Mᵀ, here by its series; or those of a linear map, and not its bias."""
    half = 0.3 * normal(6, 6)
    skew = half - half.T
    exponential = sum(torch.linalg.matrix_power(skew, power) / math.factorial(power) for power in range(19))
    directions = convert(write(tmp_path / "deformator.pt", {"log_mat_half": half}), SMALL)
    np.testing.assert_allclose(directions.matrix, exponential.T.numpy(), atol=1e-6)
    assert directions.header["source"]["form"] == "deformator, orthogonal"
    state = {"linear.weight": normal(6, 4), "linear.bias": normal(6)}  # fewer directions than components
    directions = convert(write(tmp_path / "deformator.pt", state), SMALL)
    expected = textbook_gram_schmidt(state["linear.weight"].T)
    np.testing.assert_allclose(directions.matrix, expected.numpy(), atol=1e-6)


def test_arrays_are_converted(tmp_path):
    """Rows of a .npy of any real type; two at 45 degrees: the second is turned by 45, which is recorded."""
    path = write(tmp_path / "a.npy", np.array([[1, 1, 0, 0, 0, 0], [0, 2, 0, 0, 0, 0]]))
    directions = convert(path, SMALL, names={1: "up"}, classes=[3], path_size=2)
    np.testing.assert_allclose(directions.matrix[0, :2], [0.5**0.5, 0.5**0.5], atol=1e-6)
    np.testing.assert_allclose(directions.matrix[1, :2], [-(0.5**0.5), 0.5**0.5], atol=1e-6)
    assert directions.header["source"]["largest_turn_degrees"] == pytest.approx(45, abs=1e-3)
    assert directions.names == ("d0", "up")
    assert directions.path_sizes == (2, 2)
    header = directions.header
    assert header["generator"] == {"name": "small", "digest": "abc", "dim_z": 6, "resolution": 8}
    assert (header["classes"], header["method"], header["source"]["form"]) == ([3], "converted", "array (.npy)")


AXES = np.eye(2, 6)


@pytest.mark.parametrize(
    ("content", "settings", "message"),
    [
        (Evil(), {}, "holds more than tensors: .*never done"),
        (np.array([Evil()], dtype=object), {}, "holds Python objects. .*never done"),
        (b"\x93NUMPY\x01\x00half", {}, "is damaged or half a file"),
        ({"fc1.weight": normal(2, 2)}, {}, "deformator with hidden layers"),
        ({"shared.weight": normal(2, 2)}, {}, r"no deformator: .* got shared.weight \(2, 2\).* a generator"),
        (normal(7, 6), {}, "7 directions of 6 components: .* transpose it"),
        (torch.ones(2, 6), {}, "holds no basis. Row 1 of A"),
        (normal(2, 4), {}, "have 4 components, but space 0:6 of 'small' has 6. Say .* --space, such as 0:4"),
        (normal(2, 8), {}, "have 8 components, but space 0:6 of 'small' has 6. They belong to another generator"),
        (AXES, {"space": "0:5"}, "have 6 components, but space 0:5 of 'small' has 5"),
        (AXES, {"published": "golden"}, "published must be one of .* Did you mean 'goldens'"),
        (AXES, {"names": {2: "hue"}}, "index from 0 to 1, got 2=hue"),
        (AXES, {"names": {0: "hue", 1: "hue"}}, "the same name, 'hue'"),
        (AXES, {"names": {0: "hue, size"}}, "must have no comma"),
    ],
)
def test_what_cannot_be_converted_is_refused(content, settings, message, tmp_path, capsys):
    """And nothing in it is run."""
    with pytest.raises(UserError, match=message):
        convert(write(tmp_path / "file", content), SMALL, **settings)
    assert "this was run" not in capsys.readouterr().out


def test_direction_file_needs_no_conversion(tmp_path):
    """It is said."""
    convert(write(tmp_path / "a.npy", AXES), SMALL).save(tmp_path / "a.safetensors")
    with pytest.raises(UserError, match="is a direction file already"):
        convert(tmp_path / "a.safetensors", SMALL)
