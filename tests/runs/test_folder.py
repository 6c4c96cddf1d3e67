"""Run folders: numbered, whole, and only resumed by what they were made with."""

from __future__ import annotations

import json
import threading
from types import SimpleNamespace

import pytest
import torch

from directions.config import DiscoverConfig
from directions.discovery.snapshots import Record
from directions.errors import UserError
from directions.runs.environment import describe_environment, environment_changes
from directions.runs.folder import RunFolder

CONFIG = DiscoverConfig(method="adam", steps=3)
GENERATOR = SimpleNamespace(name="toy", digest="abc" * 20)
STATE = {
    "A": torch.eye(2),
    "record": {"step": 1, "held_out": None},
    "optimizer": {"state": {0: {"step": torch.ones(())}}},
}


def record(step):
    return Record(step=step, penalty=0.5, held_out=None, learning_rate=0.1, seconds=1.0)


def test_create_numbers_folders(tmp_path):
    """The next free number, whatever the names, and gaps are not filled."""
    out = tmp_path / "new" / "outputs"
    assert RunFolder.create(out, "a", CONFIG).path == out / "00000-a"
    assert RunFolder.create(out, "b", CONFIG).path == out / "00001-b"
    (out / "00007-by-hand").mkdir()
    (out / "README.md").touch()
    assert RunFolder.create(out, "a", CONFIG).path == out / "00008-a"


def test_create_records_config_and_environment(tmp_path):
    """Both are there before anything else happens."""
    folder = RunFolder.create(tmp_path, "a", CONFIG)
    assert folder.read_config() == CONFIG
    environment = json.loads(folder.environment_path.read_text())
    assert environment["torch"] == torch.__version__
    assert environment["threads"] == torch.get_num_threads()
    assert environment_changes(folder.environment_path) == []


def test_create_gives_every_run_its_number(tmp_path):
    """Runs that start at the same moment, with other names, never share one."""
    barrier = threading.Barrier(6)
    made = []

    def start(name):
        barrier.wait()
        made.extend(RunFolder.create(tmp_path, name, CONFIG).path.name for _ in range(3))

    threads = [threading.Thread(target=start, args=(f"run{index}",)) for index in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    numbers = [name.split("-")[0] for name in made]
    assert len(set(numbers)) == len(made) == 18
    assert sorted(made) == sorted(entry.name for entry in tmp_path.iterdir())


@pytest.mark.parametrize("name", ["", "a/b", "..", "-x", "a b", "ö"])
def test_create_refuses_names(tmp_path, name):
    """A name becomes part of a path."""
    with pytest.raises(UserError, match="name must be letters, digits"):
        RunFolder.create(tmp_path, name, CONFIG)
    assert not list(tmp_path.iterdir())


def test_create_refuses_an_output_that_is_a_file(tmp_path):
    """Whoever the user is, a file cannot hold folders."""
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"Cannot write .*file: .* --out"):
        RunFolder.create(tmp_path / "file", "a", CONFIG)


def test_create_leaves_nothing_when_the_disk_is_full(tmp_path, monkeypatch):
    """A folder without configuration would be in the way."""

    def full(path, text):
        raise UserError("Cannot write: No space left on device.")

    monkeypatch.setattr("directions.runs.folder.write_text", full)
    with pytest.raises(UserError, match="No space left"):
        RunFolder.create(tmp_path, "a", CONFIG)
    assert not list(tmp_path.iterdir())


def test_open_refuses_what_is_no_run(tmp_path):
    """A missing folder and any other folder, each with its own reason."""
    with pytest.raises(UserError, match="nowhere is not a run folder: it does not exist"):
        RunFolder.open(tmp_path / "nowhere")
    with pytest.raises(UserError, match=r"is not a run folder: it has no config\.json"):
        RunFolder.open(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "it is not the JSON that was written"),
        ("[1]", "it is not the JSON that was written"),
        ('{"epsilon": -1}', "epsilon must be a finite number above 0"),
        ('{"speed": 1}', "speed is not a setting"),
    ],
)
def test_read_config_refuses_damage(tmp_path, content, message):
    """A damaged configuration is not guessed at."""
    folder = RunFolder.create(tmp_path, "a", CONFIG)
    folder.config_path.write_text(content)
    with pytest.raises(UserError, match=rf"config\.json cannot be used: {message}"):
        folder.read_config()


def test_checkpoint_round_trip(tmp_path):
    """Tensors and plain types come back as they were."""
    folder = RunFolder.create(tmp_path, "a", CONFIG)
    assert folder.read_checkpoint(GENERATOR) is None
    folder.write_checkpoint(STATE, GENERATOR)
    state = folder.read_checkpoint(GENERATOR)
    assert torch.equal(state["A"], STATE["A"])
    assert state["record"] == STATE["record"]
    assert torch.equal(state["optimizer"]["state"][0]["step"], torch.ones(()))


def test_checkpoint_of_another_generator_is_refused(tmp_path):
    """The weights decide, not the name."""
    folder = RunFolder.create(tmp_path, "a", CONFIG)
    folder.write_checkpoint(STATE, GENERATOR)
    other = SimpleNamespace(name="toy", digest="def" * 20)
    with pytest.raises(
        UserError, match=r"made with generator 'toy' \(digest abcabcabcabc\), got 'toy' \(digest defdef"
    ):
        folder.read_checkpoint(other)
    renamed = SimpleNamespace(name="elsewhere", digest=GENERATOR.digest)
    assert folder.read_checkpoint(renamed) is not None


@pytest.mark.parametrize("damage", ["truncate", "garbage", "empty", "pickle"])
def test_checkpoint_damaged_is_refused(tmp_path, damage):
    """Nothing but tensors and plain types is ever loaded."""
    folder = RunFolder.create(tmp_path, "a", CONFIG)
    folder.write_checkpoint(STATE, GENERATOR)
    data = folder.checkpoint_path.read_bytes()
    if damage == "pickle":
        torch.save({"version": 1, "state": SimpleNamespace()}, folder.checkpoint_path)
    else:
        folder.checkpoint_path.write_bytes({"truncate": data[:-100], "garbage": b"x" * 50, "empty": b""}[damage])
    with pytest.raises(UserError, match=r"checkpoint\.pt is damaged or not a checkpoint \(\w+\)\. Start a new run"):
        folder.read_checkpoint(GENERATOR)


def test_checkpoint_of_another_version_is_refused(tmp_path):
    """Also a torch file that is something else altogether."""
    folder = RunFolder.create(tmp_path, "a", CONFIG)
    torch.save({"version": 99}, folder.checkpoint_path)
    with pytest.raises(UserError, match="must be a checkpoint of version 1, got 99"):
        folder.read_checkpoint(GENERATOR)
    torch.save(torch.eye(2), folder.checkpoint_path)
    with pytest.raises(UserError, match="must be a checkpoint of version 1, got 'Tensor'"):
        folder.read_checkpoint(GENERATOR)


def test_truncate_stats_drops_later_and_broken_lines(tmp_path):
    """What a kill left half written, and what will be written again."""
    folder = RunFolder.create(tmp_path, "a", CONFIG)
    for step in range(5):
        folder.append_stats(record(step))
    whole = folder.stats_path.read_text().splitlines(keepends=True)
    with folder.stats_path.open("a") as file:
        file.write('{"step": 5, "pen')
    folder.truncate_stats(record(3))
    assert folder.stats_path.read_text() == "".join(whole[:3])
    folder.truncate_stats(record(0))
    assert folder.read_stats() == []


def test_log_has_a_time_on_each_line(tmp_path):
    """Lines are added, not replaced."""
    folder = RunFolder.create(tmp_path, "a", CONFIG)
    folder.log("one")
    folder.log("two")
    lines = (folder.path / "log.txt").read_text().splitlines()
    assert [line.rsplit(maxsplit=1)[-1] for line in lines] == ["one", "two"]
    assert all(line[4] == "-" and line[13] == ":" for line in lines)


def test_environment_changes_names_what_moved_the_last_digits(tmp_path):
    """Threads and versions count, the host's name does not."""
    path = tmp_path / "environment.json"
    path.write_text(json.dumps(describe_environment() | {"threads": 77, "system": "other"}))
    assert environment_changes(path) == [f"threads was 77, is {torch.get_num_threads()}"]
    path.write_text("{")
    assert environment_changes(path) == ["environment.json is missing or damaged"]
