"""Directions to the Hub and back, against a Hub on the loopback interface: no real network."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from fake_hub import TOKEN, serve_hub
from fakes import blob_directions

from directions.cli.main import main
from directions.direction_file import load_directions
from directions.direction_file.format import pack
from directions.errors import UserError
from directions.hub import FILE_NAME, card_and_pictures, is_hub_id, push, write_card

ID = "owner/few"

# The Hub's client calls its HTTP library in a way that this deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """An empty Hub that this process takes for the real one, and a folder to work in."""
    constants = pytest.importorskip("huggingface_hub.constants")
    for name in ("HF_HUB_DISABLE_XET", "HF_HUB_DISABLE_PROGRESS_BARS"):
        monkeypatch.setattr(constants, name, True)
    for name in ("HF_HUB_OFFLINE", "DIRECTIONS_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    with serve_hub() as started:
        cache, address = str(tmp_path / "cache"), started.address
        for name, value in {"HF_TOKEN": TOKEN, "HF_HUB_CACHE": cache, "COLUMNS": "200", "HF_ENDPOINT": address}.items():
            monkeypatch.setenv(name, value)
        yield started


@pytest.fixture
def file(hub):
    """A run folder with a file and its pictures."""
    folder = Path("run")
    (folder / "pictures").mkdir(parents=True)
    for name in ("overview.gif", "contact_sheet.png", "000-hue.gif"):
        (folder / "pictures" / name).write_bytes(name.encode())
    blob_directions(config={"weights": "/home/somebody/weights"}).annotated("hue", note="a ring").save(
        folder / FILE_NAME
    )
    return folder / FILE_NAME


def put(hub, **files):
    """Commit to the Hub as a user would; then forget the requests."""
    found = blob_directions()
    made = {FILE_NAME: pack(found.matrix, found.header), **card_and_pictures(found.header, ID)} | files
    push(made, ID, message="first")
    hub.requests.clear()


def test_push_commits_file_card_and_pictures(hub, file, capsys):
    """In one commit; the pictures that show all directions; nothing of this machine; a dry run sends nothing."""
    assert main(["push", str(file), ID, "--dry-run", "--no-pictures"]) == 0
    captured = capsys.readouterr()
    assert captured.out.startswith("---\ntags:")
    assert "pictures/" not in captured.out
    assert "Nothing was sent" in captured.err
    for arguments, message in [
        ([str(file), "few"], "is called owner/name"),
        ([str(file), ID, "--license", "m it"], "--license must be one word as the Hub writes it"),
        ([str(file), ID, "--pictures", "nowhere"], "--pictures nowhere is not a folder"),
        (["nothing", ID], "There is no direction file"),
    ]:
        assert main(["push", *arguments]) == 2
        assert message in capsys.readouterr().err
    assert hub.requests == []

    assert main(["push", str(file.parent), ID, "--license", "mit", "--private"]) == 0
    out = capsys.readouterr().out
    assert re.fullmatch(rf"6 directions, 4 files: {hub.address}/{ID}/commit/[0-9a-f]{{40}}\n", out)
    files = hub.revisions[ID]["main"]
    assert set(files) == {FILE_NAME, "README.md", "pictures/overview.gif", "pictures/contact_sheet.png"}
    assert hub.private[ID]
    assert sum("/commit/" in request for request in hub.requests) == 1
    card = files["README.md"].decode()
    assert card.startswith("---\ntags:\n")
    assert "\nlicense: mit\n---\n" in card
    assert "![What each direction does to some samples](pictures/overview.gif)" in card
    assert b"somebody" not in files[FILE_NAME]
    hub.requests.clear()
    found = load_directions(ID)
    assert {request.rsplit("/", 1)[1] for request in hub.requests} == {FILE_NAME}  # nothing else is fetched
    assert found.notes[3] == "a ring"
    assert found.header == load_directions(file).header | {"config": {"weights": None}}


def test_load_takes_a_path_that_is_here(hub):
    """The Hub is asked only for what is not."""
    blob_directions().renamed(0, "mine").save("x.safetensors")
    Path("owner").mkdir()
    with pytest.raises(UserError, match="There is no direction file owner/few"):
        load_directions(ID)
    blob_directions().renamed(0, "mine").save(ID)
    assert load_directions(ID).names[0] == "mine"
    assert hub.requests == []
    with pytest.raises(UserError, match=r"revision is for repositories of the Hub, owner/name, not for the path"):
        load_directions("x.safetensors", revision="main")


def test_is_hub_id_knows_paths(tmp_path, monkeypatch):
    """What looks like a path is one."""
    monkeypatch.chdir(tmp_path)
    assert is_hub_id("owner/some-directions_1.0")
    for text in ("a/b/c", "x", "./a", "outputs/x.safetensors", "a b/c", "/a", "a/", Path("a/b"), "-a/b"):
        assert not is_hub_id(text)


def test_missing_things_and_wrong_content_are_told_apart(hub):
    """A repository, a revision, the file in it, and something else under its name."""

    def refuses(message, **where):
        with pytest.raises(UserError, match=message):
            load_directions(ID, **where)

    refuses(r"few cannot be fetched: .* knows no such repository, or you may not see it")
    put(hub)
    refuses("owner/few has no revision 'nope'", revision="nope")
    put(hub, **{FILE_NAME: b"\x80\x04" + bytes(100)})
    refuses("it is a pickle; unpickling can run any code")
    hub.revisions[ID]["main"].pop(FILE_NAME)
    refuses(r"owner/few holds no directions\.safetensors")


def test_offline_is_an_error_at_once(hub, monkeypatch):
    """Unless it has been fetched before; then what is in the cache is taken."""
    put(hub)
    monkeypatch.setenv("DIRECTIONS_OFFLINE", "1")
    with pytest.raises(UserError, match=r"neither a file here nor in the Hub's cache, and downloads are switched off"):
        load_directions(ID)
    assert hub.requests == []
    monkeypatch.delenv("DIRECTIONS_OFFLINE")
    load_directions(ID)
    monkeypatch.setenv("DIRECTIONS_OFFLINE", "1")
    hub.requests.clear()
    assert load_directions(ID).names == blob_directions().names
    assert hub.requests == []
    with pytest.raises(UserError, match="cannot be written: the network is switched off"):
        push({}, ID, message="")


def test_pull_writes_a_file(hub, capsys):
    """Named after the repository, or as asked; never over another."""
    put(hub)
    assert main(["pull", ID]) == 0
    assert capsys.readouterr().out == "6 directions of blob: few.safetensors\n"
    assert load_directions("few.safetensors").header == blob_directions().header
    assert main(["pull", ID]) == 2
    assert "few.safetensors is there already" in capsys.readouterr().err
    assert main(["pull", ID, "--to", "x.safetensors", "--revision", "main", "--json"]) == 0
    assert main(["pull", "few"]) == 2
    assert "A repository of the Hub is called owner/name" in capsys.readouterr().err


HOSTILE = "<script>|[x](y)`*_~$ \\ ---"


def test_card_shows_hostile_text_as_text():
    """A name becomes neither HTML nor a link nor another column; hidden directions are counted, not listed."""
    directions = blob_directions().annotated(0, name=HOSTILE, note="a\n| b").annotated(1, hidden=True, note="secret")
    card = write_card(directions.header, ID)
    row = next(line for line in card.splitlines() if line.startswith("| 0 |"))
    assert "<script" not in card
    assert len(re.findall(r"(?<!\\)\|", row)) == 6
    assert "secret" not in card
    assert "Hidden directions, which are in the file too: 1." in card
    assert card.count("\n---\n") == 1
