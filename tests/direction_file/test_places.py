"""Where files and generators are; changing a file while others do, and when something is in the way."""

from __future__ import annotations

import multiprocessing
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from edited import write_notes
from fakes import BlobGenerator, blob_directions
from filelock import FileLock

from directions import gram_schmidt
from directions.cli.main import main
from directions.direction_file import Directions, edit_directions, load_directions
from directions.errors import UserError
from directions.generators.registry import load_generator
from directions.hub import public_header


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "directions.safetensors"
    blob_directions().save(path)
    return path


def test_edit_follows_a_link(path, tmp_path):
    """A link and its target share one lock, and the link stays one."""
    link = tmp_path / "link.safetensors"
    link.symlink_to(path)
    edit_directions(link, lambda found: found.renamed("hue", "colour"))
    assert link.is_symlink()
    assert load_directions(path).names[3] == "colour"
    assert not (tmp_path / ".link.safetensors.lock").exists()


def test_processes_lose_nothing(path):
    """Three write on directions of one file at once: every change is in the history, and the last of each stands."""
    times = 4
    context = multiprocessing.get_context("spawn")  # the fork server of other tests has torch
    workers = [context.Process(target=write_notes, args=(path, number, times)) for number in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(120)
    assert [worker.exitcode for worker in workers] == [0] * 3
    found = load_directions(path)
    assert found.notes[:3] == (f"{times - 1}",) * 3
    assert len(found.history) == 3 * times
    for number in range(3):
        said = [change["what"] for change in found.history if change["what"].startswith(f"{number} ")]
        assert len(said) == times


def test_lock_held_by_another_is_waited_for_and_reported(path):
    """After the time that was given, with what to do."""
    before = path.read_bytes()
    message = r"another program has been changing it for more than 0\.1 seconds"
    with FileLock(path.with_name(f".{path.name}.lock")), pytest.raises(UserError, match=message):
        edit_directions(path, lambda found: found.renamed("hue", "colour"), timeout=0.1)
    assert path.read_bytes() == before


def test_edit_refuses_what_is_no_direction_file(tmp_path):
    """As reading does, and without a lock file for what is not there."""
    with pytest.raises(UserError, match="There is no direction file"):
        edit_directions(tmp_path / "x.safetensors", lambda found: found)
    assert list(tmp_path.iterdir()) == []


# Names of any bytes and length, other folders, ``~``


@pytest.mark.parametrize("kind", [torch.tensor, np.asarray, lambda Q: torch.tensor(Q, requires_grad=True)])
def test_from_basis_leads_to_a_file(tmp_path, kind):
    """A basis of any library, and the generator; nothing else has to be known."""
    generator = BlobGenerator()
    directions = Directions.from_basis(kind(np.eye(2, 6)), generator, names=["a", "b"], path_sizes=[1, 2.5])
    directions.save(tmp_path / "x.safetensors")
    found = load_directions(tmp_path / "x.safetensors")
    assert (found.names, found.path_sizes, found.header["classes"]) == (("a", "b"), (1.0, 2.5), "all")
    images = found.images(generator, generator.sample_z(2, seed=0), "b", 1.0)
    assert torch.equal(found.images(generator, generator.sample_z(2, seed=0).double().numpy(), "b", 1.0), images)
    Q = gram_schmidt(torch.randn(6, 6, dtype=torch.float64))
    assert Directions.from_basis(Q, generator).path_sizes == (5.0,) * 6
    with pytest.raises(UserError, match=r"row 0 has length 2.*directions\.gram_schmidt"):
        Directions.from_basis(2 * np.eye(6), generator)
    with pytest.raises(UserError, match=r"\|z\| = 6, but its rows have 5 numbers"):
        Directions.from_basis(np.eye(5), generator)


@pytest.mark.parametrize("name", ["方向", "a b\n'c", "~", "-x", "\udcff\udcfe"], ids=ascii)
def test_files_of_any_name(tmp_path, name):
    """Every legal one is written, read, changed; only the lock stays beside it."""
    path = tmp_path / name
    blob_directions().save(path)
    edit_directions(path, lambda found: found.renamed("hue", "colour"))
    assert load_directions(path).names[3] == "colour"
    assert len(list(tmp_path.iterdir())) == 2


def test_generator_is_found_from_another_folder(tmp_path, monkeypatch):
    """A file by its absolute path, a module by its own; what is found under its name keeps it; the Hub sees neither."""
    here, there = tmp_path / "here", tmp_path / "there"
    for folder in (here, there):
        folder.mkdir()
    (here / "G.pth").touch()
    module = type(sys)("conftest_of_nobody")
    module.__file__ = f"{here}/c.py"
    monkeypatch.setenv("HOME", str(tmp_path))
    generator = BlobGenerator()
    for name in (
        "G.pth",
        "c.py:load",
        "../here/c.py:load",
        "~/here/c.py:load",
        f"{here}/c.py:load",
        f"{module.__name__}:load",
    ):
        generator.name = name
        monkeypatch.chdir(here)
        with monkeypatch.context() as imported:
            imported.setitem(sys.modules, module.__name__, module)
            directions = blob_directions(generator)
        assert name != "G.pth" or directions.generator == name
        monkeypatch.chdir(there)
        assert directions.generator == f"{here}/{'G.pth' if name == 'G.pth' else 'c.py:load'}"
        assert "path" not in public_header(directions.header)["generator"]
    assert blob_directions().generator == "blob"
    assert "path" not in Directions.from_basis(np.eye(12), load_generator("builtin")).header["generator"]


def test_folders_of_runs_say_what_to_do(tmp_path):
    """One that is not finished is resumed; one of a GAN has a generator to search in."""
    (tmp_path / "a b").mkdir()
    (tmp_path / "a b" / "config.json").write_text("{}")
    with pytest.raises(UserError, match=r"run that is not finished.*directions discover --resume '.*/a b'"):
        load_directions(tmp_path / "a b")
    (tmp_path / "a b" / "config.json").write_text('{"arch": "progan", "training": {}}')
    with pytest.raises(UserError, match=r"holds a GAN, and no directions.*directions discover --generator '.*/a b'"):
        load_directions(tmp_path / "a b")


def test_tilde_is_the_home_folder(tmp_path, monkeypatch, capsys):
    """In an option that the shell does not expand, and in the library; no folder is called ~."""
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    blob_directions().save("~/x.safetensors")
    assert main(["select", "~/x.safetensors", "0", "--out=~/y.safetensors"]) == 0
    assert load_directions("~/y.safetensors").names == ("left-right",)
    assert main(["discover", "--out", "~/runs", "--dry-run"]) == 0
    assert f'"out": "{tmp_path}/runs"' in capsys.readouterr().out
    assert main(["name", "~/x.safetensors", "0", "--note", "~/"]) == 0
    assert load_directions("~/x.safetensors").notes[0] == "~/"
    assert list(Path().iterdir()) == []
