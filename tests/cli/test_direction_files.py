"""``name``, ``select``, ``merge``, ``inspect``, ``generators``, and wrong files for every verb that reads one."""

from __future__ import annotations

from pathlib import Path

import pytest
from fakes import blob_directions

from directions.direction_file import edit_directions, load_directions
from directions.generators.registry import GeneratorStatus


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "directions.safetensors"
    blob_directions().save(path)
    return path


def test_name_writes_everything_at_once(command, file):
    """By index or name; each option; --show and --unstar take marks away; what changed is printed."""
    assert command("name", file, "5", "rotation").out == "5 name: 'd5' -> 'rotation'\n"
    given = ["--path-size", "2.5", "--note", "a ring", "--hide", "--star"]
    changes = command("name", file, "hue", "colour", *given, "--json").json
    assert changes["written"]
    assert {(c["field"], c["before"], c["after"]) for c in changes["changes"]} == {
        ("name", "hue", "colour"), ("path_size", 5.0, 2.5), ("note", "", "a ring"),
        ("hidden", False, True), ("starred", False, True),
    }  # fmt: skip
    found = load_directions(file)
    assert (found.names[3], found.notes[3], found.hidden[3], found.starred[3]) == ("colour", "a ring", True, True)
    assert command("name", file, "colour", "--show", "--unstar", "--note", "").code == 0
    found = load_directions(file)
    assert (found.notes[3], found.hidden[3], found.starred[3]) == ("", False, False)


def test_name_undo_restores_the_bytes(command, file):
    """One change at a time, until there is none; the history is shown; a dry run writes nothing."""
    before = file.read_bytes()
    dry = command("name", file, "5", "rotation", "--dry-run")
    assert dry.out == "5 name: 'd5' -> 'rotation'\nNothing was written (--dry-run).\n"
    assert file.read_bytes() == before
    assert sorted(Path.cwd().iterdir()) == [file]  # no lock either

    assert command("inspect", file, "--history").out == "Nothing was changed in this file since it was made.\n"
    command("name", file, "0", "x")
    assert command("inspect", file, "--history").out.endswith("0 'left-right': name 'x'\n")
    assert command("inspect", file, "--history", "--json").json[0]["what"] == "0 'left-right': name 'x'"
    command("name", file, "--order", "hue,5")
    assert load_directions(file).order[:3] == (3, 5, 0)
    assert command("name", file, "--undo").out == "order: 3,5,0,1,2,4 -> as found\n"
    assert command("name", file, "--undo").out == "0 name: 'x' -> 'left-right'\n"
    assert file.read_bytes() == before
    assert command("name", file, "--undo").refuses("There is no change to undo: the file's history is empty.\n")


REFUSED_CSV = [
    (b"", "the first line must name the column index"),
    (b"index,nmae\n0,x\n", ", got 'nmae'. Did you mean 'name'?"),
    (b"name,note\nx,y\n", "must name the column index and at least one more, each once, got name, note"),
    (b"index,name\n", "names no direction"),
    (b"index,name\n0,a\n0,b\n", "t.csv, line 3: the index must be that of a direction, or its name, once, got '0'"),
    (b"index,name\n0,a\nleft,b\n", "Direction 0 ('left-right') is given twice"),
    (b"index,name\n0,a,b\n", "t.csv, line 2: 3 cells for 2 columns. Put ',' in quotes"),
    (b"index,path_size\n0,wide\n", "t.csv, line 2: path_size must be a positive number, got 'wide'"),
    (b"index,hidden\n0,maybe\n", "t.csv, line 2: hidden must be yes or no, got 'maybe'"),
    (b"index,name\n0,\xff\n", "t.csv is not text in UTF-8"),
    (b'index,name\n0,"x\n', "this is not CSV"),
]


def test_name_csv_is_all_or_nothing(command, file):
    """A wrong line anywhere leaves the file as it is; the message names the line."""
    before = file.read_bytes()
    for text, message in REFUSED_CSV:
        Path("t.csv").write_bytes(text)
        assert command("name", file, "--csv", "t.csv").refuses(message)
    assert file.read_bytes() == before


def test_select_writes_some_and_merge_undoes_it(command, file):
    """In the order given; the old file stays; what is not perpendicular is refused with its way out."""
    result = command("select", file, "5,hue, left", "--out", "few.safetensors", "--json")
    assert result.json["names"] == ["d5", "hue", "left-right"]
    assert load_directions("few.safetensors").names == ("d5", "hue", "left-right")
    assert "(cannot be undone)" in command("inspect", "few.safetensors", "--history").out
    refused = command("select", file, "0", "--out", "few.safetensors")
    assert refused.refuses("--out few.safetensors is there already")
    assert command("select", file, "0", "--out", "few.safetensors", "--overwrite").code == 0
    assert len(load_directions("few.safetensors")) == 1

    command("select", file, "0,1,2", "-o", "a.safetensors")
    command("select", file, "3,4,5", "-o", "b.safetensors")
    result = command("merge", "a.safetensors", "b.safetensors", "--out", "c.safetensors")
    assert result.out == "6 directions of blob: c.safetensors (left-right, up-down, size, hue, light, d5)\n"
    assert load_directions("c.safetensors").names == blob_directions().names
    assert (load_directions("c.safetensors").matrix == blob_directions().matrix).all()
    for second, message in ((file, "These are 9 directions"), ("a.safetensors", "is given twice")):
        assert command("merge", "a.safetensors", second, "--out", "d.safetensors").refuses(message)
    assert not Path("d.safetensors").exists()


CSV = 'index,name,path_size,note,hidden\n0,to and fro,2.5,,yes\nhue,colour,,"red, then\nblue",\n\n4,,,,no\n'


@pytest.mark.parametrize("text", [CSV, "\ufeff" + CSV, CSV.replace("\n", "\r\n")], ids=["plain", "excel", "windows"])
def test_name_csv_writes_all_lines(command, file, text):
    """Empty cells leave what there is; one line of history, undone at once."""
    Path("t.csv").write_text(text, encoding="utf-8", newline="")
    assert command("name", file, "--csv", "t.csv").code == 0
    found = load_directions(file)
    assert found.names == ("to and fro", "up-down", "size", "colour", "light", "d5")
    assert found.path_sizes[:4] == (2.5, 2.5, 4.0, 5.0)
    assert found.notes[3] == "red, then\nblue"
    assert found.hidden == (True, False, False, False, False, False)
    assert len(found.history) == 1
    command("name", file, "--undo")
    assert load_directions(file).header == blob_directions().header


def test_inspect_shows_notes_marks_and_order(command, file):
    """In the file's order, with indices as they were; a long note is cut."""
    edit_directions(file, lambda found: found.annotated("hue", note="first line\nsecond", starred=True))
    edit_directions(file, lambda found: found.annotated(5, hidden=True, note="x" * 80).reordered(["hue"]))
    lines = command("inspect", file).out.splitlines()[-7:]
    assert lines[0].split() == ["name", "activeness", "path", "size", "penalty", "share", "note"]
    assert [line.split()[0] for line in lines[1:]] == ["3", "0", "1", "2", "4", "5"]
    assert lines[1].endswith("★       first line…") or lines[1].endswith("*       first line...")
    assert "hidden  xxx" in lines[-1]
    assert len(lines[-1]) < 120


def test_inspect_shows_origin_and_every_direction(command, discover):
    """For the file, and for the run folder that it is in; what was not measured is left empty."""
    assert discover("--name", "a", "-y", "2,0", "--truncation", "0.5").code == 0
    run = Path("outputs/00000-a")
    shown = command("inspect", run).out
    assert command("inspect", run / "directions.safetensors").out == shown
    assert "4 directions of closed-form (|z| 4, 8 pixels" in shown
    assert "steps 3, seed 0, truncation 0.5, classes 2,0, z components 0:4" in shown
    assert "held-out penalty: before" in shown
    lines = [line.split() for line in shown.splitlines()[-4:]]
    assert [line[1] for line in lines] == ["d0", "d1", "d2", "d3"]
    assert all(line[-1].endswith("%") for line in lines)
    blob_directions(activeness=[None] * 6, penalty=None, classes=None, seed=None, steps=None).save("x.safetensors")
    result = command("inspect", "x.safetensors")
    assert "left-right" in result.out
    assert "None" not in result.out


def test_generators_lists_what_there_is_and_what_is_missing(command, monkeypatch):
    """As a table, and as JSON."""
    ready = GeneratorStatus("builtin", "ready", "sha256 abc", 12, 3, 64)
    missing = GeneratorStatus("other", "missing", "Download it first.")
    monkeypatch.setattr("directions.generators.registry.list_generators", lambda: [ready, missing])
    lines = command("generators").out.splitlines()
    assert lines[1].split() == ["builtin", "ready", "12", "3", "64", "sha256", "abc"]
    assert lines[2].split() == ["other", "missing", "Download", "it", "first."]
    assert command("generators", "--json").json == [vars(ready), vars(missing)]
