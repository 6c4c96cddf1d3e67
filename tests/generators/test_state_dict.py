"""Files of tensors are read in every format, and nothing in them is run."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path

import pytest
import safetensors.torch
import torch

from directions.errors import UserError
from directions.generators.weights import first_difference, read_state_dict, read_tensors, shapes

STATE = {"a.weight": torch.arange(6.0).reshape(2, 3), "b": torch.tensor(1.5)}


class Evil:
    """What must never be unpickled."""

    def __reduce__(self):
        return (print, ("this was run",))


def write(path: Path, kind: str, content: object = STATE) -> Path:
    if kind == "safetensors":
        safetensors.torch.save_file(content, path)
    else:
        torch.save(content, path, _use_new_zipfile_serialization=kind == "zip")
    return path


@pytest.mark.parametrize("kind", ["zip", "legacy", "safetensors"])
def test_state_dict_is_read_in_every_format(kind, tmp_path):
    """Values as they were written, whatever the file is called."""
    state = read_state_dict(write(tmp_path / "file", kind))
    assert shapes(state) == {"a.weight": (2, 3), "b": ()}
    torch.testing.assert_close(state, STATE)


@pytest.mark.parametrize(
    "content",
    [{"module." + name: tensor for name, tensor in STATE.items()}, OrderedDict(STATE), {"state_dict": STATE}],
    ids=["DataParallel", "ordered", "nested"],
)
def test_usual_wrappings_are_taken_off(content, tmp_path):
    """DataParallel's prefix, a dictionary around it."""
    torch.testing.assert_close(dict(read_state_dict(write(tmp_path / "file", "zip", content))), STATE)


@pytest.mark.parametrize("kind", ["zip", "legacy"])
@pytest.mark.parametrize("content", [Evil(), {"a": STATE["b"], "model": torch.nn.Linear(2, 2)}])
def test_code_is_refused_and_not_run(kind, content, tmp_path, capsys):
    """A whole model is code too; the error says what to save instead."""
    path = write(tmp_path / "file", kind, content)
    with pytest.raises(UserError, match=r"holds more than tensors: \S+\. .*never done.*state_dict"):
        read_state_dict(path)
    assert "this was run" not in capsys.readouterr().out


@pytest.mark.parametrize("kind", ["zip", "legacy", "safetensors"])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
def test_half_a_file_is_refused(kind, share, tmp_path):
    """Wherever it was cut."""
    path = write(tmp_path / "file", kind, {"a": torch.zeros(1000)})
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(UserError, match=r"half a file|damaged"):
        read_state_dict(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"<html>", "is a web page"),
        (b"version https://git-lfs.github.com/spec/v1", "Git LFS pointer"),
        (b"\x1f\x8b" + bytes(20), "is compressed"),
        (b"\x80\x02garbage", "is damaged or no file of tensors|half a file"),
        (b"PK\x03\x04garbage", "is half a file"),
        (b"hello world", "no safetensors file, nor one of torch.save"),
    ],
)
def test_something_else_is_named(content, message, tmp_path):
    """What it looks like instead."""
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(UserError, match=message):
        read_tensors(path)


def test_missing_file_and_folder_are_named(tmp_path):
    """With the reason."""
    with pytest.raises(UserError, match="cannot be read"):
        read_tensors(tmp_path / "none")
    with pytest.raises(UserError, match="is a folder"):
        read_tensors(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (torch.zeros(3), "but holds a Tensor"),
        ({}, "but holds a dict"),
        ({"epoch": 3}, "its entry 'epoch' is a int"),
        ({"optim": {"lr": 1.0}}, "its entry 'optim' is a dict"),
    ],
)
def test_what_is_no_state_dict_is_refused(content, message, tmp_path):
    """Tensors are fine, but not what is asked for."""
    with pytest.raises(UserError, match=message):
        read_state_dict(write(tmp_path / "file", "zip", content))


def test_differences_are_counted_and_shown():
    """The first of each kind: missing, too many, of another shape."""
    text = first_difference({"a": (1,), "b": (2, 3), "c": ()}, {"b": (3, 2), "c": (), "d": (4,)})
    assert text == (
        "1 tensors are missing, such as a (1,); 1 are not of this architecture, such as d (4,); "
        "1 have other shapes, such as b: (2, 3) is needed, got (3, 2)"
    )
    assert first_difference({"a": (1,)}, {"a": (1,)}) is None
