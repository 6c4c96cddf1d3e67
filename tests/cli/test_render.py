"""``directions render``: options, what they fall back to, nonsense, dry runs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from closed import ClosedFormGenerator
from pictures import shown

SMALL = ["--samples", "2", "--scale", "1", "--quiet", "--json"]


def test_render_writes_pictures_beside_the_file(command, run):
    """By default into the run folder, all directions; else one file, in the format of its ending."""
    result = command("render", run, "--frames", "4", *SMALL)
    assert sorted(map(str, (run / "pictures").iterdir())) == sorted(result.json)
    assert len(result.json) == 6
    assert result.err == ""
    for ending, expected in {"gif": b"GIF89a", "webp": b"WEBP", "mp4": b"ftyp", "png": b"PNG"}.items():
        assert command("render", run, "--frames", "4", "--out", f"x.{ending}", *SMALL).json == [f"x.{ending}"]
        assert expected in Path(f"x.{ending}").read_bytes()[:12]


def test_render_gallery_goes_beside_the_file_with_the_runs_curve(command, run):
    """A folder of its own; the page is printed, JSON has every file, as the dry run says."""
    (run / "stats.jsonl").write_text('{"step": 0, "held_out": 2.0}\n{"step": 5, "held_out": 1.0}\n')
    arguments = ["render", run, "--format", "gallery", "-d", "0,1", "--frames", "3", "--samples", "2", "--scale", "1"]
    dry = command(*arguments, "--dry-run").json
    assert dry["evaluations"] == 2 * 3 * 2
    result = command(*arguments, "--quiet")
    assert result.out.split() == [str(run / "gallery" / "index.html")]
    assert "over 5 steps: 2 at the start, 1 at the end" in (run / "gallery" / "index.html").read_text()
    assert command(*arguments, "--quiet", "--json").json == dry["files"]
    assert sorted(dry["files"]) == sorted(str(path) for path in (run / "gallery").rglob("*") if path.is_file())


def test_render_passes_every_option_on(command, run, monkeypatch):
    """Classes are spread over the columns; what is not given comes from the file; a shell leaves --out=~/x as it is."""
    dry = command("render", run, "--dry-run").json
    assert dry["classes"] == [2, 0, 2, 0]
    assert dry["settings"]["truncation"] == 0.5
    assert dry["directions"] == ["d0", "d1", "d2", "d3"]
    assert dry["files"][0] == str(run / "pictures" / "000-d0.gif")
    given = (
        "-d d2,1 --samples 3 --frames 8 --fps 10 --scale 2 --path-size 2.5 --seed 7 -y all --truncation 0.9"
        " --format webp --motion linear --no-loop --captions amount --remove-projection --layers 0:1 --out x --dry-run"
    )
    dry = command("render", run, *given.split()).json
    assert dry["directions"] == ["d2", "d1"]
    assert dry["classes"] == [0, 1, 2]
    assert dry["files"][0] == "x/002-d2.webp"
    assert dry["settings"] == {
        "format": "webp", "plane": None, "samples": 3, "frames": 8, "fps": 10.0, "scale": 2, "path_size": 2.5,
        "seed": 7, "truncation": 0.9, "remove_projection": True, "motion": "linear", "loop": False,
        "captions": "amount", "layers": "0:1", "against": None, "one_z": False,
    }  # fmt: skip
    monkeypatch.setenv("HOME", str(run.resolve()))
    assert command("render", run, "--out=~/x.gif", "--dry-run").json["files"] == [str(run.resolve() / "x.gif")]


def test_render_does_what_the_dry_run_said(command, run):
    """The files and the images that a run then makes; of very many classes, twenty and how many more."""
    arguments = ["-d", "0,d2", "--frames", "5", "--samples", "2", "--scale", "1", "--format", "webp", "--out", "new"]
    dry = command("render", run, *arguments, "--dry-run").json
    assert not Path("new").exists()
    assert dry["directions"] == ["d0", "d2"]
    assert dry["evaluations"] == 2 * 2 * (5 + 7)
    result = command("render", run, *arguments, "--json")
    assert result.json == dry["files"]
    assert f"{dry['evaluations']}/{dry['evaluations']}" in result.err
    arguments = ["render", run, "--classes", "0,2", "--format", "strip", "--dry-run"]
    assert command(*arguments, "--samples", "20").json["classes"] == [0, 2] * 10
    assert command(*arguments, "--samples", "1000").json["classes"] == [*[0, 2] * 10, "and 980 more"]


def test_render_leaves_hidden_directions_out_of_all(command, run):
    """Unless --all asks for them, or they are named."""
    command("name", run / "directions.safetensors", "1", "--hide")
    for asked, names in (([], ["d0", "d2", "d3"]), (["--all"], ["d0", "d1", "d2", "d3"]), (["-d", "1"], ["d1"])):
        assert command("render", run, "--dry-run", *asked).json["directions"] == names


def test_render_writes_a_word_of_one_z(command, run, monkeypatch):
    """Its letters are the classes, in a column each; one that occurs twice looks the same."""
    generator = ClosedFormGenerator(dim_z=4, resolution=8, class_names=("A", "B", "C"))
    monkeypatch.setattr("directions.generators.registry.load_generator", lambda *_, **__: generator)
    arguments = ["render", run, "--word", "abCA", "--scale", "1", "--captions", "none", "-d", "0", "--out", "x.png"]
    dry = command(*arguments, "--dry-run").json
    assert dry["classes"] == [0, 1, 2, 0]
    assert dry["settings"]["samples"] == 4
    assert dry["settings"]["frames"] == 3
    assert dry["evaluations"] == 3 * 4
    assert dry["settings"]["one_z"]
    assert command(*arguments, "--quiet").code == 0
    picture = shown("x.png")[0][0]
    np.testing.assert_array_equal(picture[:, :8], picture[:, 24:])
    assert (picture[:, :8] != picture[:, 8:16]).any()
