"""The direction file: what goes in comes out, to the byte; what is not one is refused, and the message says why."""

from __future__ import annotations

import hashlib
import json
import pickle
import re
import struct
import subprocess
import sys

import numpy as np
import pytest
import torch
from fakes import toy_generator
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from safetensors.numpy import save as save_tensors

from directions.direction_file import Directions, load_directions
from directions.direction_file.format import as_json, make_header, pack
from directions.errors import UserError


def orthonormal(ndirs, dim_z, seed=0):
    rng = np.random.default_rng(seed)
    return np.linalg.qr(rng.standard_normal((dim_z, ndirs)))[0].T


def header_for(**changes):
    settings = {
        "path_sizes": [3.0, 2.5, 5.0], "names": ["hue", "height", "size"], "activeness": [0.5, 0.25, None],
        "classes": "all", "truncation": 1.0, "space": (0, 4), "method": "adam", "steps": np.int64(400), "seed": 0,
        "config": {"epsilon": np.float32(0.125), "probes": (2, 3)}, "penalty": {"before": 20.0, "after": 14.0},
    }  # fmt: skip
    return make_header(toy_generator(), **(settings | changes))


@pytest.fixture
def directions():
    return Directions(orthonormal(3, 4), header_for())


@pytest.fixture
def path(tmp_path):
    return tmp_path / "directions.safetensors"


# What goes in comes out.


def test_save_then_load_gives_the_same(directions, path, tmp_path):
    """Matrix and header survive to the last bit, tuples and NumPy numbers as JSON has them; the same gives one file."""
    directions.save(path)
    loaded = load_directions(path)
    np.testing.assert_array_equal(loaded.matrix, orthonormal(3, 4).astype(np.float32))
    assert loaded.matrix.dtype == np.float32
    assert loaded.header == directions.header
    assert loaded.header["config"] == {"epsilon": 0.125, "probes": [2, 3]}
    assert loaded.header["steps"] == 400
    header = header_for()
    Directions(orthonormal(3, 4), dict(reversed(header.items()))).save(tmp_path / "turned")
    loaded.save(tmp_path / "again")
    assert path.read_bytes() == (tmp_path / "turned").read_bytes() == (tmp_path / "again").read_bytes()


def test_file_is_plain_safetensors_with_sorted_json(directions, path):
    """Others can read it with safetensors alone, as format 2 says."""
    directions.save(path)
    data = path.read_bytes()
    layout = json.loads(data[8 : 8 + struct.unpack("<Q", data[:8])[0]])
    assert layout["directions"]["dtype"] == "F32"
    assert layout["directions"]["shape"] == [3, 4]
    text = layout["__metadata__"]["directions"]
    header = json.loads(text)
    assert text == json.dumps(header, sort_keys=True, separators=(",", ":"))
    assert set(layout["__metadata__"]) == {"directions"}
    text = json.dumps({key: header[key] for key in header if key != "sha256"}, sort_keys=True, separators=(",", ":"))
    assert header.pop("sha256") == hashlib.sha256(text.encode() + directions.matrix.tobytes()).hexdigest()
    assert set(header) == {
        *("format_version", "tool_version", "generator", "classes", "truncation", "space", "layers", "method"),
        *("config", "steps", "seed", "penalty", "directions", "source", "order", "history"),
    }
    assert header["generator"] == {"name": "toy", "digest": "abc", "dim_z": 4, "resolution": 8}
    assert header["directions"][0] == {
        "name": "hue", "path_size": 3.0, "activeness": 0.5, "penalty_share": None,
        "note": "", "hidden": False, "starred": False,
    }  # fmt: skip


def test_import_and_load_do_not_import_torch(directions, path):
    """Reading a file, moving a NumPy z, and listing generators and metrics must not cost seconds."""
    directions.save(path)
    code = (
        "import sys, numpy as np, directions.direction_file as f, directions.evaluation.metrics\n"
        "from directions.generators import registry; registry.list_generators()\n"
        "d = f.load_directions(sys.argv[1]); d.move(np.zeros((2, 4)), 0, 1.0)\n"
        "sys.exit('torch' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code, str(path)], check=True, timeout=60)


# Looking directions up.


def test_index_finds(directions):
    """By number (of any library, or as text), by name, and by the beginning of a name."""
    assert {directions.index(key) for key in (1, np.int64(1), torch.tensor(1), "1", "height", "he")} == {1}


def test_index_refuses(directions):
    """What does not exist is named, with what does."""
    for key, message in (
        (3, r"There is no direction 3: the indices go from 0 to 2\."),
        ("h", r"'h' begins 2 names: 'hue', 'height'\. Write more"),
        ("heigth", r"There is no direction 'heigth'\. Did you mean 'height'\?"),
        (1.0, r"A direction is an index or a name, or a sequence of them, got 1\.0"),
    ):
        with pytest.raises(UserError, match=message):
            directions[key]


def test_getitem_takes_some(directions):
    """Slices, lists in any order, and single directions keep each row with its entry."""
    for key, rows in [(slice(1, None), [1, 2]), (["size", 0], [2, 0]), ("height", [1])]:
        taken = directions[key]
        np.testing.assert_array_equal(taken.matrix, directions.matrix[rows])
        assert taken.names == tuple(directions.names[row] for row in rows)
        assert taken.path_sizes == tuple(directions.path_sizes[row] for row in rows)
    with pytest.raises(UserError, match="takes none of the 3 directions"):
        directions[5:]
    with pytest.raises(UserError, match=r"Each direction can be taken once only, got \[0, 'hue'\]"):
        directions[[0, "hue"]]


# Moving z.


@settings(deadline=None, max_examples=30)
@given(
    z=hnp.arrays(np.float64, hnp.array_shapes(min_dims=0, max_dims=3, max_side=3).map(lambda s: (*s, 4)),
                 elements=st.floats(-5, 5)),
    amount=st.floats(-5, 5),
    index=st.integers(0, 2),
)  # fmt: skip
def test_move_is_naive_addition_and_agrees_between_libraries(z, amount, index):
    """Whatever the batch shape, NumPy and torch give z + amount·q, and the way back gives z."""
    directions = Directions(orthonormal(3, 4), header_for())
    moved = directions.move(z, index, amount)
    np.testing.assert_allclose(moved, z + amount * directions.matrix[index].astype(np.float64), atol=1e-12)
    tensor = directions.move(torch.from_numpy(z), index, amount)
    np.testing.assert_allclose(tensor.numpy(), moved, atol=1e-12)
    np.testing.assert_allclose(directions.move(moved, index, -amount), z, atol=1e-12)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("amount", [2, 2.0, [1.0, 2.0], np.float64([1, 2]), torch.tensor([1.0, 2.0]), [[1.0], [3.0]]])
def test_move_keeps_type(directions, dtype, amount):
    """The dtype of z is kept, whatever the amount is made of; amounts broadcast over the batch as in NumPy."""
    array = np.ones((2, 4), dtype)
    moved = directions.move(array, 0, amount)
    tensor = directions.move(torch.from_numpy(array), 0, amount)
    assert moved.dtype == array.dtype
    assert tensor.dtype == getattr(torch, dtype)
    assert moved.shape == tensor.shape == (*np.broadcast_shapes((2,), np.shape(amount)), 4)
    np.testing.assert_allclose(tensor.numpy(), moved, rtol=1e-3 if dtype == "float16" else 1e-6)
    np.testing.assert_array_equal(array, np.ones((2, 4)))


def test_move_is_differentiable(directions):
    """The gradient of the sum of the squares follows from the chain rule, for z and for the amounts."""
    z = torch.zeros(2, 4, dtype=torch.float64, requires_grad=True)
    amount = torch.tensor([2.0, -1.0], dtype=torch.float64, requires_grad=True)
    directions.move(z, 0, amount).square().sum().backward()
    row = torch.tensor(directions.matrix[0], dtype=torch.float64)
    torch.testing.assert_close(z.grad, 2 * amount.detach()[:, None] * row)
    torch.testing.assert_close(amount.grad, 2 * amount.detach() * row.square().sum())


@pytest.mark.parametrize(
    ("z", "direction", "amount", "message"),
    [
        (np.zeros((2, 5)), 0, 1.0, r"z must have the shape \(…, 4\), got \(2, 5\)"),
        (np.zeros((2, 4), int), 0, 1.0, r"z must be of a floating-point type, got int64\. Convert it"),
        (np.zeros((2, 4)), 0, [1.0, 2.0, 3.0], r"An amount of shape \(3,\) does not fit z of shape \(2,\)"),
        (np.zeros((2, 4)), 0, "far", "An amount must be a number or an array of numbers, got 'far'"),
        (np.zeros((2, 4)), [0, 1], 1.0, r"2 directions need 2 amounts, one each, got the one number 1\.0"),
        (np.zeros((2, 4)), 0, np.inf, "An amount must be finite, got"),
    ],
)  # fmt: skip
def test_move_refuses(directions, z, direction, amount, message):
    """A z or an amount that does not fit is named with its shape."""
    with pytest.raises(UserError, match=message):
        directions.move(z, direction, amount)


def test_path_stacks_moves(directions):
    """The first axis goes along the path, with either library."""
    z, steps = np.random.default_rng(0).standard_normal((3, 2, 4)), [-2.0, 0.0, 2.0]
    path = directions.path(z, "hue", steps)
    np.testing.assert_array_equal(path, np.stack([directions.move(z, "hue", step) for step in steps]))
    np.testing.assert_allclose(directions.path(torch.from_numpy(z), "hue", steps).numpy(), path, atol=1e-12)


# How far an edit goes.


@settings(deadline=None, max_examples=20)
@given(
    amounts=hnp.arrays(np.float64, (2, 3), elements=st.floats(-5, 5)),
    rest=st.floats(-3, 3),
    order=st.permutations(range(3)),
)
def test_project_is_the_inverse_of_move(amounts, rest, order):
    """In any order of the directions, with either library; what is perpendicular to all of them does not count."""
    full = orthonormal(4, 4)
    directions = Directions(full[:3], header_for())[list(order)]
    z = np.random.default_rng(0).standard_normal((2, 4))
    edit = directions.move(z, list(range(3)), list(amounts.T)) - z + rest * full[3]
    np.testing.assert_allclose(directions.project(edit), amounts, atol=1e-5)
    np.testing.assert_allclose(directions.project(torch.from_numpy(edit)).numpy(), directions.project(edit), atol=1e-12)


# Where the rows are.


def test_to_keeps_rows_on_a_device(directions):
    """Tensors there use them (the meta device stands for any other); arrays are moved as before."""
    there = directions.to("meta")
    assert there.tensor.device.type == "meta"
    assert directions.tensor.device.type == "cpu"
    for amount in (1.0, torch.ones(2), np.ones(2)):
        assert there.move(torch.empty(2, 4, device="meta"), 0, amount).device.type == "meta"
    np.testing.assert_array_equal(there.move(np.zeros((2, 4)), 1, 2.0), directions.move(np.zeros((2, 4)), 1, 2.0))
    with pytest.raises(UserError, match="device 'cuda:99' is not there"):
        directions.to("cuda:99")


# Whose directions they are.


def test_require_fits_refuses(directions):
    """Another |z|, other weights, or another generator."""
    for generator, message in (
        (toy_generator(dim_z=5), r"found in 'toy' with \|z\| = 4, but 'toy' has \|z\| = 5"),
        (toy_generator(digest="xyz"), "found in 'toy' with the weights abc…, but 'toy' has the weights xyz…"),
        (toy_generator(name="other", digest=""), r"found in 'toy', not in 'other'\. Load 'toy'"),
    ):
        with pytest.raises(UserError, match=message):
            directions.require_fits(generator)


# What is not a direction file. Nothing here is ever unpickled.


class Bomb:
    def __reduce__(self):
        return (pytest.fail, ("a pickle was loaded",))


def good_bytes(header=None, matrix=None):
    return pack(orthonormal(3, 4) if matrix is None else matrix, as_json(header or header_for()))


def with_header(text):
    return save_tensors({"directions": np.eye(3, 4, dtype=np.float32)}, metadata={"directions": text})


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "it is empty"),
        (pickle.dumps(Bomb(), protocol=2), "it is a pickle; unpickling can run any code.*directions convert FILE"),
        (b"<!DOCTYPE html><html><body>404 not found", r"it is a web page .* Download the file itself"),
        (b'{"generator": "builtin", "steps": 400}', "it is JSON text"),
        (b"\x93NUMPY\x01\x00v\x00{'descr': '<f4'", "it is a NumPy array file"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "it is a Git LFS pointer"),
        (good_bytes()[:-1], "it is damaged, or a part is missing"),
        (good_bytes().replace(b"hue", b"hug"), "its checksum is not that of its content"),
        (save_tensors({"conv.weight": np.ones(3), "conv.bias": np.ones(3)}), "but holds: 'conv.bias', 'conv.weight'"),
        (save_tensors({"directions": np.eye(3, dtype=np.float32)}), "it has no header to say what they belong to"),
        (with_header('{"a": NaN}'), "its header is damaged .NaN is not a number"),
        (with_header("{}"), "its format_version must be 1 or 2, got None"),
        (good_bytes(header_for() | {"format_version": 3}), r"its format_version must be 1 or 2, got 3\. Upgrade"),
        (good_bytes(matrix=2 * np.eye(3, 4)), r"row 0 has length 2, not 1\. The rows must be orthonormal"),
        (good_bytes(matrix=np.eye(2, 4)), "its header describes 3 directions, but its matrix has 2 rows"),
    ],
)  # fmt: skip
def test_load_refuses_what_is_not_a_direction_file(path, data, message):
    """Each kind of wrong file has its own message, with the path."""
    path.write_bytes(data)
    with pytest.raises(UserError, match=f"^{re.escape(str(path))} is not a usable direction file: .*{message}"):
        load_directions(path)


def test_load_takes_a_run_folder_and_refuses_other_paths(directions, tmp_path):
    """Of a run folder the file in it; a missing file and any other folder are refused."""
    with pytest.raises(UserError, match=r"There is no direction file .*nothing\.safetensors\. Check the path"):
        load_directions(tmp_path / "nothing.safetensors")
    with pytest.raises(UserError, match=r"is a folder, not a direction file\. Give the path of a file in it"):
        load_directions(tmp_path)
    directions.save(tmp_path / "directions.safetensors")
    assert load_directions(tmp_path).header == directions.header
    with pytest.raises(UserError, match=r"There is no direction file"):
        load_directions(tmp_path / "directions.safetensors" / "x")


def test_header_has_a_longest_size(path):
    """Neither written nor read beyond it: reading must not take much memory."""
    with pytest.raises(UserError, match=r"The header must have at most 8,000,000 bytes, got 9,\d+,\d+"):
        Directions(orthonormal(3, 4), header_for(config={"text": "x" * 9_000_000})).save(path)
    path.write_bytes(struct.pack("<Q", 9_000_000) + b"{" + b" " * 9_000_000)
    with pytest.raises(UserError, match=r"its header has 9,000,000 bytes, more than 8,000,000"):
        load_directions(path)


def test_format_1_is_read_as_format_2(path):
    """A file from before there were annotations: as it was, with none of them; written again, it is of format 2."""
    header = as_json(header_for()) | {"format_version": 1}
    for key in ("order", "history"):
        del header[key]
    for entry in header["directions"]:
        for key in ("note", "hidden", "starred"):
            del entry[key]
    path.write_bytes(with_header(json.dumps(header, indent=1)))
    loaded = load_directions(path)
    assert loaded.header == as_json(header_for())
    loaded.save(path)
    assert path.read_bytes() == good_bytes(matrix=np.eye(3, 4))


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ({key: value for key, value in header_for().items() if key != "seed"}, "its header lacks 'seed'"),
        (header_for() | {"truncation": 1.5}, r"'truncation' must be a number in \(0, 1\] or null, got 1\.5"),
        (header_for() | {"space": [2, 2]}, r"search space 2:2 must lie in 0:4 and not be empty"),
        (header_for() | {"space": [0, 2]}, "only z components 0:2 move, but its rows are not zero elsewhere"),
        (header_for() | {"order": [0, 1]}, "'order' must name each index from 0 to 2 once, or be null"),
        (header_for(names=["a", "12", "c"]), r"direction 1 must be .* not be a number \(that is an index\), got '12'"),
        (header_for(path_sizes=[1.0, 0.0, 1.0]), r"the path_size of direction 1 must be a positive number, got 0\.0"),
        (header_for(activeness=["much", None, None]), "activeness of direction 0 must be a number or null, got 'much'"),
    ],
)  # fmt: skip
def test_header_is_checked_when_made_and_when_read(path, header, message):
    """A header that is not sound cannot be made, and a file with one cannot be read."""
    with pytest.raises(UserError, match=f"These directions are not usable: .*{message}"):
        Directions(orthonormal(3, 4), header)
    path.write_bytes(good_bytes(header))
    with pytest.raises(UserError, match=f"is not a usable direction file: .*{message}"):
        load_directions(path)
