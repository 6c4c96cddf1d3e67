"""``directions discover``: what it makes, what it says, and what it refuses without leaving anything behind."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from closed import ClosedFormGenerator
from ranks import wait_until

from directions.direction_file import load_directions
from directions.errors import Interrupted, NonFiniteError
from directions.run import RunFolder
from directions.settings.discover import DiscoverConfig


def contents(folder):
    return {path: path.read_bytes() for path in Path(folder).iterdir()}


def test_discover_makes_a_run_folder_and_says_what_came_out(discover):
    """Numbers and the next command on stdout, progress on stderr; for scripts, one object and nothing else."""
    result = discover("--name", "a")
    assert result.code == 0, result.err
    file = Path("outputs/00000-a/directions.safetensors")
    assert load_directions(file).ndirs == 4
    assert f"directions render {file}" in result.out
    for line in ("after 3 steps", "before training", "random directions", "axes of z"):
        assert line in result.out
    assert "Run folder: outputs/00000-a" in result.err
    assert "Steps: 100%" in result.err
    result = discover("--quiet", "--json", "--out", "runs")
    assert result.err == ""
    assert result.json["directions"] == "runs/00000-builtin/directions.safetensors"
    assert set(result.json["penalty"]) == {"before", "after", "random", "axes", "hessians"}
    assert result.json["steps"] == 3
    warned = discover("--ndirs", "2", "--dry-run")
    assert warned.err.startswith("Warning: ndirs 2 is smaller than the searched space 0:4")
    assert ".py" not in warned.err


def test_discover_passes_every_option_on(command, loaded):
    """The resolved configuration of a dry run holds what was given, and nothing is written."""
    given = {
        "generator": "gen", "weights": "w", "classes": [1, "class 2"], "method": "joint+adam", "base_points": 7,
        "measurement": "gradients", "output_probes": 3, "starts": 2, "ndirs": 2, "space": "1:3", "layers": "0:1",
        "truncation": 0.5, "steps": 9, "batch_size": 6, "micro_batch": 3, "num_probes": 3, "epsilon": 0.2,
        "path_size": 4.0, "learning_rate": 0.3, "decay_steps": 7, "init": "identity", "reduction": "max",
        "seed": 5, "held_out": 8, "criterion": "both", "time": 600.0,
        "held_out_probes": 4, "eval_every": 11, "checkpoint_every": 13, "final_samples": 15, "device": "auto",
        "compile": False, "recompute": False, "precision": "bf16",
    }  # fmt: skip
    arguments = []
    for field, value in given.items():
        text = ",".join(map(str, value)) if isinstance(value, list) else str(value)
        arguments += [] if value is False else ["--" + field.replace("_", "-"), text]
    result = command("discover", *arguments, "--dry-run").json
    # The first two are no options, the others of another method.
    planned = {"hessian_points": None, "free": ["hessian_points"], "layer": None, "pca_of": "activations"}
    assert result["config"] == given | planned == DiscoverConfig.from_dict(given).to_dict()
    assert result["resolved"]["ndirs"] == 2
    assert result["resolved"]["layers"] is None  # the generator has only the one
    assert result["resolved"]["classes"] == [1, 2]
    assert result["name"] == "gen"
    assert loaded == [("gen", "w", "auto")]
    assert not list(Path().iterdir())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--epsilon", "0"], "Error: --epsilon must be a finite number above 0, got 0.0."),
        (["--truncation", "1.5"], "Error: --truncation must be a number above 0 and at most 1, got 1.5."),
        (["--batch-size", "16", "--micro-batch", "5"], "Error: --micro-batch must divide batch_size 16"),
        (["--ndirs", "5"], "Error: --ndirs must be at most 4, the size of the searched space 0:4, got 5"),
        (["--space", "2:9"], "Error: --space must be START:STOP"),
        (["--layers", "low"], "Error: --layers must be start:stop, such as 0:4, or coarse, mid or fine, got 'low'."),
        (["-y", "clas 2"], "Did you mean 'class 2'?"),
        (["--name", "../x"], "Error: --name must be letters, digits"),
        (["--compile"], "Error: --compile is for BigGANs, which 'closed-form' is not. Leave it out."),
        (["--precision", "tf32"], "Error: --precision tf32 is for CUDA GPUs, and generator 'closed-form' is on cpu."),
        (["--init", "zero"], "Error: --init must be random or identity, got 'zero'."),
        (["--out", "file"], "Error: Cannot write file: "),
        (["--resume", "nowhere"], "Error: nowhere is not a run folder: it does not exist."),
        (["--tensorboard"], "pip install 'biggan-directions[tensorboard]'"),
        (["--sede", "1"], "No such option: --sede"),
    ],
    ids=" ".join,
)
def test_discover_refuses_and_leaves_nothing(discover, arguments, message, monkeypatch):
    """Exit status 2, what was wrong, no traceback, no folder."""
    if "--tensorboard" in arguments:
        monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    Path("file").touch()
    result = discover(*arguments)
    assert result.refuses(message)
    assert result.out == ""
    assert [path.name for path in Path().iterdir()] == ["file"]


def test_discover_resume_extends_a_run(discover, command, loaded, monkeypatch):
    """--steps adds to the run, all else stays; with nothing left nothing is loaded or written, nor by other weights."""
    discover("--name", "a", "--seed", "4")
    folder = RunFolder(Path("outputs/00000-a"))
    result = command("discover", "--resume", folder.path, "--steps", 5)
    assert result.code == 0, result.err
    assert [line["step"] for line in folder.read_stats()] == [0, 1, 2, 3, 4, 5]
    assert (folder.read_config()["steps"], folder.read_config()["seed"]) == (5, 4)
    assert "Resumed after step 3" in (folder.path / "log.txt").read_text()
    assert len(list(Path("outputs").iterdir())) == 1

    assert command("name", folder.path, "1", "hue", "--star").code == 0
    before = contents(folder.path)
    loaded.clear()
    result = discover("--resume", folder.path, "--steps", 5)
    assert result.code == 0, result.err
    assert "Nothing is left to do." in result.err
    assert "after 5 steps" in result.out
    assert loaded == []
    other = ClosedFormGenerator(4, 8, seed=1)
    monkeypatch.setattr("directions.generators.registry.load_generator", lambda *args, **kwargs: other)
    result = command("discover", "--resume", folder.path, "--steps", "6")
    assert result.refuses("outputs/00000-a was made with generator 'closed-form' (digest")
    assert contents(folder.path) == before


def test_discover_resume_refuses_other_settings(discover, command):
    """The run is left as it was."""
    discover("--name", "a")
    before = contents("outputs/00000-a")
    for arguments, message in [
        ("--seed 1", "A resumed run keeps its settings: --seed is 0, got 1. Only --steps,"),
        ("--epsilon 0.2 --seed 0", "keeps its settings: --epsilon is 0.1, got 0.2. Only"),
        ("--classes 0", "keeps its settings: --classes is all, got [0]. Only"),
        ("--steps 2", "Error: --steps must be at least 3, the number already taken, got 2."),
        ("--out x --name b", "Error: --out and --name cannot be given with --resume"),
        ("--micro-batch 3", "Error: --micro-batch must divide batch_size 2"),
    ]:
        assert command("discover", "--resume", "outputs/00000-a", *arguments.split()).refuses(message)
        assert contents("outputs/00000-a") == before


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (
            Interrupted(signal.SIGTERM), 143,
            "Interrupted by SIGTERM. To go on: directions discover --resume 'my runs/00000-builtin'",
        ),
        (NonFiniteError("No number at step 7."), 1, "Error: No number at step 7. Run folder: my runs/00000-builtin"),
    ],
)  # fmt: skip
def test_discover_stopped_says_how_to_go_on(discover, monkeypatch, error, code, message):
    """A command that can be pasted into a shell; a failure that is not the user's has another status."""

    def stop(*arguments, **settings):
        raise error

    monkeypatch.setattr("directions.run.record_run", stop)
    result = discover("--out", "my runs")
    assert (result.code, result.out) == (code, "")
    assert message in result.err


FAST = "--method adam --steps 3 --batch-size 2 --held-out 3 --held-out-probes 2 --eval-every 2 --final-samples 2"
CLOSED = ["--generator", "closed:DoubleGenerator", *FAST.split(), "--quiet", "--out", "runs"]


def test_nothing_that_is_said_stops_what_is_done(tmp_path):
    """A stdout or stderr that is closed or full: the file is there."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    command = shlex.join([sys.executable, "-m", "directions", "discover", *CLOSED]) + " >&- 2>/dev/full <&-"
    subprocess.run(["bash", "-c", command], cwd=tmp_path, env=environment, timeout=300, check=False)
    assert load_directions(tmp_path / "runs" / "00000-closed-DoubleGenerator" / "directions.safetensors").ndirs == 4


def test_a_signal_after_the_terminal_is_gone_leaves_a_checkpoint(tmp_path):
    """Its output dropped, a run still obeys SIGTERM and can be resumed."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "directions", "discover", *CLOSED, "--steps", "1000000"]
    with subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=writing, stderr=writing) as process:
        stats = tmp_path / "runs" / "00000-closed-DoubleGenerator" / "stats.jsonl"
        wait_until(lambda: stats.exists() and len(stats.read_text().splitlines()) >= 4, process)
        process.terminate()
        assert process.wait(60) == 128 + signal.SIGTERM
    os.close(writing)
    last = json.loads(stats.read_text().splitlines()[-1])["step"]
    assert RunFolder(stats.parent).read_checkpoint()["state"]["record"]["step"] == last
