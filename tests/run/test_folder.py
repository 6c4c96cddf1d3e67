"""Run folders are numbered, whole, and refused when damaged; signals are obeyed where nothing is left half done."""

from __future__ import annotations

import os
import signal
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest
import torch

from directions.errors import Interrupted, UserError
from directions.run import RunFolder, StopSignals

CONFIG = {"method": "adam", "steps": 3}
STATE = {"A": torch.eye(2), "record": {"step": 1}, "optimizer": {"state": {0: {"step": torch.ones(())}}}}
BOTH = pytest.mark.parametrize(("signum", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])


@pytest.fixture(autouse=True)
def _listening():
    """SIGHUP is obeyed even where these tests run under ``nohup``."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.fixture
def folder(tmp_path):
    return RunFolder.create(tmp_path, "a", CONFIG, facts={"generator": {"digest": "abc"}})


def test_create_gives_every_run_its_number(tmp_path):
    """The next free one, gaps are not filled; runs of one name that start at the same moment never share one."""
    out = tmp_path / "new" / "outputs"
    assert RunFolder.create(out, "a", CONFIG).path == out / "00000-a"
    (out / "00007-by-hand").mkdir()
    (out / "README.md").touch()
    assert RunFolder.create(out, "a", CONFIG).path == out / "00008-a"
    with ThreadPoolExecutor(6) as pool:
        made = list(pool.map(lambda _: RunFolder.create(tmp_path / "many", "a", CONFIG).path, range(18)))
    assert sorted(path.name for path in made) == [f"{number:05d}-a" for number in range(18)]


def test_create_leaves_nothing_where_it_cannot_write(tmp_path, monkeypatch):
    """A folder without configuration would be in the way; a file cannot hold folders."""

    def full(path, text):
        raise UserError("Cannot write: No space left on device.")

    monkeypatch.setattr("directions.run.write_text", full)
    with pytest.raises(UserError, match="No space left"):
        RunFolder.create(tmp_path, "a", CONFIG)
    assert not list(tmp_path.iterdir())
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"Cannot write .*file"):
        RunFolder.create(tmp_path / "file", "a", CONFIG)


@BOTH
def test_a_signal_raises_at_once_or_at_the_end_of_a_block(signum, code, capfd):
    """Wherever the program is; deferred, it is noted and said, and a second one raises where it comes."""
    with StopSignals() as stop:
        with pytest.raises(Interrupted, match=f"Interrupted by {signal.Signals(signum).name}") as caught:
            os.kill(os.getpid(), signum)
        os.kill(os.getpid(), signum)  # further ones do not disturb what is then written
        with stop.deferred():
            os.kill(os.getpid(), signum)
    assert caught.value.exit_code == code
    done = []

    def finish(again):
        with StopSignals() as stop, stop.deferred():
            os.kill(os.getpid(), signum)
            assert stop.requested
            done.append("first")
            if again:
                os.kill(os.getpid(), signum)
            done.append("second")

    for again in (False, True):
        with pytest.raises(Interrupted) as caught:
            finish(again)
        assert caught.value.exit_code == code
    assert done == ["first", "second", "first"]
    assert "once more to stop at once" in capfd.readouterr().err


def test_open_refuses_what_is_no_run(tmp_path, folder):
    """Any other folder, a damaged configuration, each with its own reason."""
    assert RunFolder.open(folder.path).read_config() == CONFIG
    with pytest.raises(UserError, match=r"is not a run folder: it has no config\.json"):
        RunFolder.open(tmp_path)
    for damaged in ("{", "[1]"):
        folder.config_path.write_text(damaged)
        with pytest.raises(UserError, match=r"config\.json cannot be used: it is not the JSON that was written"):
            folder.read_config()


@pytest.mark.parametrize("damage", ["truncate", "garbage", "empty", "pickle"])
def test_checkpoint_damaged_is_refused(folder, damage):
    """Nothing but tensors and plain types is ever loaded."""
    folder.write_checkpoint(STATE)
    data = folder.checkpoint_path.read_bytes()
    if damage == "pickle":
        torch.save({"version": 1, "state": SimpleNamespace()}, folder.checkpoint_path)
    else:
        folder.checkpoint_path.write_bytes({"truncate": data[:-100], "garbage": b"x" * 50, "empty": b""}[damage])
    with pytest.raises(UserError, match=r"checkpoint\.pt is damaged or not a checkpoint \(\w+\)\. Start a new run"):
        folder.read_checkpoint()


def test_other_threads_run_without_handlers():
    """Python allows handlers in the main thread only; a run in another one must not fail."""

    def run():
        with StopSignals() as stop:
            return stop.requested

    with ThreadPoolExecutor() as pool:
        assert pool.submit(run).result() is False
