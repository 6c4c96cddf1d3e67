"""directions.files: a file is the old one or the whole new one."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

import pytest

from directions.errors import UserError
from directions.files import atomic_folder, atomic_write, require_writable, write_text


def contents(folder: Path) -> dict[str, str]:
    """Every file in a folder, by its path in it: nothing temporary may be left."""
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def old(tmp_path):
    """A file that is already there."""
    path = tmp_path / "stats.txt"
    path.write_text("old")
    return path


@pytest.mark.parametrize("error", [RuntimeError("encoder"), KeyboardInterrupt("Ctrl-C"), OSError(2, "no file", "/x")])
def test_atomic_write_failure_leaves_the_old_file(old, error):
    """Readers see the old file until the end; any exception in the block passes through; the temporary file goes."""

    def write(text, error=None):
        with atomic_write(old) as partial:
            partial.write_text(text)
            assert old.read_text() == "old"
            if error:
                raise error

    with pytest.raises(type(error), match=re.escape(str(error))):
        write("half", error)
    assert contents(old.parent) == {"stats.txt": "old"}
    write("new")
    assert contents(old.parent) == {"stats.txt": "new"}


def fill(path, text, *, replaces=True, then=None):
    """Write a folder with a file in a folder of its own, and then perhaps fail."""
    with atomic_folder(path, replaces=lambda folder: replaces) as partial:
        partial.joinpath("inside").mkdir()
        partial.joinpath("inside", "a.txt").write_text(text)
        assert partial.parent == path.parent
        if then is not None:
            raise then


def test_atomic_folder_appears_and_is_replaced_whole(tmp_path):
    """A new one, and one over an older one whose files are all gone; not over what it may not; no parent is made."""
    (tmp_path / "g").mkdir()
    fill(tmp_path / "g", "old", replaces=False)  # an empty folder is taken
    (tmp_path / "g" / "more.txt").write_text("more")
    fill(tmp_path / "g", "new")
    assert contents(tmp_path) == {"g/inside/a.txt": "new"}
    assert [path.name for path in tmp_path.iterdir()] == ["g"]
    (tmp_path / "file").touch()
    for name, message in (("g", "it holds other files"), ("file", "there is a file"), ("no/g", "no does not exist")):
        with pytest.raises(UserError, match=message):
            fill(tmp_path / name, "newer", replaces=False)
    assert contents(tmp_path) == {"g/inside/a.txt": "new", "file": ""}


def test_atomic_folder_failure_leaves_the_old_one(tmp_path):
    """Any exception in the block passes; what was there stays, also if it was nothing."""
    fill(tmp_path / "g", "old")
    for name in ("new", "g"):
        with pytest.raises(KeyboardInterrupt, match="stop"):
            fill(tmp_path / name, "x", then=KeyboardInterrupt("stop"))
    assert contents(tmp_path) == {"g/inside/a.txt": "old"}
    assert [path.name for path in tmp_path.iterdir()] == ["g"]


def test_who_may_use_a_file_stays_and_a_protected_one_is_refused(old, monkeypatch):
    """As readable as any other the user makes; replacing needs no permission on the file itself, which may be meant.

    So are a folder, and what is in a folder that is not there.
    """
    before = os.umask(0o022)
    try:
        write_text(old.with_name("b"), "b")
        assert stat.S_IMODE(old.with_name("b").stat().st_mode) == 0o644
    finally:
        os.umask(before)
    old.with_name("b").unlink()
    old.chmod(0o640)
    write_text(old, "new")
    assert stat.S_IMODE(old.stat().st_mode) == 0o640
    for path, message in ((old.parent, "it is a folder"), (old.parent / "no" / "x", "the folder .*no does not exist")):
        with pytest.raises(UserError, match=message):
            require_writable(path)
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK)  # tests may run as root, who may do all
    for write in (require_writable, lambda path: write_text(path, "newer")):
        with pytest.raises(UserError, match="it is write-protected"):
            write(old)
    assert contents(old.parent) == {"stats.txt": "new"}
