"""Changing a file while others do, on a full disk, and when something is in the way."""

from __future__ import annotations

import multiprocessing
import subprocess
import sys

import pytest
from edited import write_notes
from fakes import blob_directions
from filelock import FileLock

from directions.direction_file import edit_directions, load_directions
from directions.errors import UserError


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
    times = 5
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["edited", "filelock"])
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


@pytest.mark.parametrize("error", [KeyboardInterrupt("stop"), UserError("stop")], ids=["ctrl-c", "error"])
def test_interrupted_change_leaves_the_old_file_and_no_lock(path, error):
    """Ctrl-C or a wrong input in between; the next one gets through."""
    before = path.read_bytes()

    def change(found):
        found.renamed("hue", "colour")
        raise error

    with pytest.raises(type(error), match="stop"):
        edit_directions(path, change)
    assert path.read_bytes() == before
    edit_directions(path, lambda found: found.renamed("hue", "colour"), timeout=0.1)


def test_lock_left_by_a_dead_process_does_not_hang(path):
    """The system lets go of it when the process ends, however that ends."""
    lock = path.with_name(f".{path.name}.lock")
    code = (
        "import os, signal, sys, filelock\n"
        "filelock.FileLock(sys.argv[1]).acquire()\nos.kill(os.getpid(), signal.SIGKILL)"
    )
    assert subprocess.run([sys.executable, "-c", code, str(lock)], timeout=60, check=False).returncode == -9
    assert lock.exists()
    edit_directions(path, lambda found: found.renamed("hue", "colour"), timeout=1)


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
    with pytest.raises(UserError, match="is a folder"):
        edit_directions(tmp_path, lambda found: found)
    assert list(tmp_path.iterdir()) == []
