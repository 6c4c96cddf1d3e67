"""``inspect`` and ``generators``, and wrong files for every verb that reads one."""

from __future__ import annotations

from pathlib import Path

import pytest
from fakes import blob_directions

from directions.generators.registry import GeneratorStatus


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


@pytest.mark.parametrize("verb", ["inspect", "render"])
def test_wrong_file_is_one_sentence(command, verb):
    """Exit status 2 and no traceback."""
    for content, message in {
        None: "no direction file",
        b"": "empty",
        b"<html>": "HTML",
        b"\x80\x02}q": "pickle",
    }.items():
        if content is not None:
            Path("x.safetensors").write_bytes(content)
        assert command(verb, "x.safetensors").refuses(message)


def test_generators_lists_what_there_is_and_what_is_missing(command, monkeypatch):
    """As a table, and as JSON."""
    ready = GeneratorStatus("builtin", "ready", "sha256 abc", 12, 3, 64)
    missing = GeneratorStatus("other", "missing", "Download it first.")
    monkeypatch.setattr("directions.generators.registry.list_generators", lambda: [ready, missing])
    lines = command("generators").out.splitlines()
    assert lines[1].split() == ["builtin", "ready", "12", "3", "64", "sha256", "abc"]
    assert lines[2].split() == ["other", "missing", "Download", "it", "first."]
    assert command("generators", "--json").json == [vars(ready), vars(missing)]
