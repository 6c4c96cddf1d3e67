"""``directions discover``: what it makes, what it says, and what it refuses without leaving anything behind."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from closed import ClosedFormGenerator

from directions.direction_file import load_directions
from directions.errors import Interrupted, NonFiniteError
from directions.run import RunFolder
from directions.settings.discover import DiscoverConfig


def test_discover_makes_a_run_folder_and_says_what_came_out(discover):
    """Numbers and the next command on stdout, progress on stderr."""
    result = discover("--name", "a")
    assert result.code == 0, result.err
    file = Path("outputs/00000-a/directions.safetensors")
    assert load_directions(file).ndirs == 4
    assert f"directions render {file}" in result.out
    for line in ("after 3 steps", "before training", "random directions", "axes of z"):
        assert line in result.out
    assert "Run folder: outputs/00000-a" in result.err
    assert "Steps: 100%" in result.err


def test_discover_quiet_json_is_json_alone(discover):
    """For scripts: one object on stdout, nothing on stderr."""
    result = discover("--quiet", "--json", "--out", "runs")
    assert result.err == ""
    assert result.json["directions"] == "runs/00000-builtin/directions.safetensors"
    assert set(result.json["penalty"]) == {"before", "after", "random", "axes", "hessians"}
    assert result.json["steps"] == 3


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


def test_discover_warns_in_a_sentence(discover):
    """A warning is for the user, not for the programmer."""
    result = discover("--ndirs", "2", "--dry-run")
    assert result.code == 0
    assert result.err.startswith("Warning: ndirs 2 is smaller than the searched space 0:4")
    assert ".py" not in result.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--epsilon", "0"], "Error: --epsilon must be a finite number above 0, got 0.0."),
        (["--epsilon", "small"], "Invalid value for '--epsilon'"),
        (["--truncation", "1.5"], "Error: --truncation must be a number above 0 and at most 1, got 1.5."),
        (["--steps", "0"], "Error: --steps must be a whole number, at least 1, got 0."),
        (["--batch-size", "16", "--micro-batch", "5"], "Error: --micro-batch must divide batch_size 16"),
        (["--ndirs", "5"], "Error: --ndirs must be at most 4, the size of the searched space 0:4, got 5"),
        (["--space", "2:9"], "Error: --space must be START:STOP"),
        (["--layers", "0:2"], "Error: --layers must be START:STOP with 0 <= START < STOP <= 1 (the number of layers)"),
        (["--layers", "low"], "Error: --layers must be start:stop, such as 0:4, or coarse, mid or fine, got 'low'."),
        (["-y", "clas 2"], "Did you mean 'class 2'?"),
        (["-y", "0,,1"], "Error: --classes must be 'all' or one or more class indices or names"),
        (["--name", "../x"], "Error: --name must be letters, digits"),
        (["--compile"], "Error: --compile is for BigGANs, which 'closed-form' is not. Leave it out."),
        (["--recompute"], "Error: --recompute is for BigGANs, which 'closed-form' is not. Leave it out."),
        (["--precision", "tf32"], "Error: --precision tf32 is for CUDA GPUs, and generator 'closed-form' is on cpu."),
        (["--precision", "half"], "Error: --precision must be float32 or tf32 or bf16, got 'half'."),
        (["--init", "zero"], "Error: --init must be random or identity, got 'zero'."),
        (["--out", "file"], "Error: Cannot write file: "),
        (["--out", "file/runs"], "Error: Cannot write file/runs: "),
        (["--resume", "nowhere"], "Error: nowhere is not a run folder: it does not exist."),
        (["--sede", "1"], "No such option: --sede"),
    ],
    ids=" ".join,
)
def test_discover_refuses_and_leaves_nothing(discover, arguments, message):
    """Exit status 2, what was wrong, no traceback, no folder."""
    Path("file").touch()
    result = discover(*arguments)
    assert result.code == 2
    assert message in result.err
    assert "Traceback" not in result.err
    assert result.out == ""
    assert [path.name for path in Path().iterdir()] == ["file"]


@pytest.mark.parametrize("logger", ["tensorboard", "wandb"])
def test_discover_refuses_a_logger_without_the_extra(discover, monkeypatch, logger):
    """Before anything is made."""
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    result = discover(f"--{logger}")
    assert result.code == 2
    assert f"pip install 'biggan-directions[{logger}]'" in result.err
    assert not list(Path().iterdir())


def test_discover_resume_extends_a_run(discover, command):
    """--steps adds to the run; everything else stays, and the folder is the same."""
    discover("--name", "a", "--seed", "4")
    folder = RunFolder(Path("outputs/00000-a"))
    result = command("discover", "--resume", folder.path, "--steps", 5)
    assert result.code == 0, result.err
    assert [line["step"] for line in folder.read_stats()] == [0, 1, 2, 3, 4, 5]
    assert (folder.read_config()["steps"], folder.read_config()["seed"]) == (5, 4)
    assert "Resumed after step 3" in (folder.path / "log.txt").read_text()
    assert len(list(Path("outputs").iterdir())) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--seed", "1"], "A resumed run keeps its settings: --seed is 0, got 1. Only --steps,"),
        (["--epsilon", "0.2", "--seed", "0"], "keeps its settings: --epsilon is 0.1, got 0.2. Only"),
        (["--classes", "0"], "keeps its settings: --classes is all, got [0]. Only"),
        (["--steps", "2"], "Error: --steps must be at least 3, the number already taken, got 2."),
        (["--name", "b"], "Error: --name cannot be given with --resume"),
        (["--out", "x", "--name", "b"], "Error: --out and --name cannot be given with --resume"),
        (["--micro-batch", "3"], "Error: --micro-batch must divide batch_size 2"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_discover_resume_refuses_other_settings(discover, command, arguments, message):
    """The run is left as it was."""
    discover("--name", "a")
    before = {path: path.read_bytes() for path in Path("outputs/00000-a").iterdir()}
    result = command("discover", "--resume", "outputs/00000-a", *arguments)
    assert result.code == 2
    assert message in result.err
    assert {path: path.read_bytes() for path in Path("outputs/00000-a").iterdir()} == before


def test_discover_resume_with_nothing_left_writes_nothing(discover, command, loaded):
    """The result is printed again, nothing is loaded or measured, and what people wrote stays."""
    discover("--name", "a")
    assert command("name", "outputs/00000-a", "1", "hue", "--star").code == 0
    before = {path: path.read_bytes() for path in Path("outputs/00000-a").iterdir()}
    loaded.clear()
    result = discover("--resume", "outputs/00000-a")
    assert result.code == 0, result.err
    assert "Nothing is left to do." in result.err
    assert "after 3 steps" in result.out
    assert loaded == []
    assert {path: path.read_bytes() for path in Path("outputs/00000-a").iterdir()} == before


def test_discover_resume_draws_a_missing_overview(discover, command, monkeypatch):
    """Such as a signal leaves out; nothing else changes, and a generator that is gone is no fault."""
    overview = Path("outputs/00000-a/overview.png")
    with monkeypatch.context() as patch:
        patch.setattr("directions.rendering.stills._save", lambda *_: os.kill(os.getpid(), signal.SIGTERM))
        result = discover("--name", "a")
    assert (result.code, overview.exists()) == (143, False)
    assert "To go on: " in result.err
    before = {path: path.read_bytes() for path in Path("outputs/00000-a").iterdir()}
    assert "Beside random: " in command("discover", "--resume", "outputs/00000-a").out
    assert {path: path.read_bytes() for path in Path("outputs/00000-a").iterdir() if path != overview} == before
    overview.unlink()
    monkeypatch.setattr(
        "directions.generators.registry.load_generator", lambda *args, **kwargs: ClosedFormGenerator(4, 8, seed=1)
    )
    result = command("discover", "--resume", "outputs/00000-a")
    assert (result.code, overview.exists()) == (0, False)
    assert "No overview.png: These directions were found in" in result.err


def test_discover_resume_refuses_another_generator(discover, command, monkeypatch):
    """Other weights under the same name are another generator."""
    discover("--name", "a")
    monkeypatch.setattr(
        "directions.generators.registry.load_generator", lambda *args, **kwargs: ClosedFormGenerator(4, 8, seed=1)
    )
    result = command("discover", "--resume", "outputs/00000-a", "--steps", "4")
    assert result.code == 2
    assert "outputs/00000-a was made with generator 'closed-form' (digest" in result.err


def test_discover_interrupted_says_how_to_go_on(discover, monkeypatch):
    """The command can be pasted into a shell."""

    def stop(*arguments, **settings):
        raise Interrupted(signal.SIGTERM)

    monkeypatch.setattr("directions.run.record_run", stop)
    result = discover("--out", "my runs")
    assert result.code == 143
    assert "Interrupted by SIGTERM. To go on: directions discover --resume 'my runs/00000-builtin'" in result.err
    assert result.out == ""


def test_discover_stopped_by_nan_exits_1(discover, monkeypatch):
    """Not the user's input: another status, no traceback, and where the checkpoint is."""

    def fail(*arguments, **settings):
        raise NonFiniteError("The penalty became nan at step 7.")

    monkeypatch.setattr("directions.run.record_run", fail)
    result = discover()
    assert result.code == 1
    assert "Error: The penalty became nan at step 7. Run folder: outputs/00000-builtin" in result.err


FAST = "--method adam --steps 3 --batch-size 2 --held-out 3 --held-out-probes 2 --eval-every 2 --final-samples 2"
CLOSED = ["--generator", "closed:DoubleGenerator", *FAST.split(), "--quiet", "--out", "runs"]


@pytest.mark.parametrize(
    "redirection", [">&-", "2>&-", ">/dev/full 2>/dev/full", "2>&1 | true", ">&- 2>&- <&-"], ids=str
)
def test_nothing_that_is_said_stops_what_is_done(tmp_path, redirection):
    """A stdout or stderr that is closed, full or without a reader: the file is there."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    program = shlex.join([sys.executable, "-m", "directions", "discover", *CLOSED])
    subprocess.run(["bash", "-c", f"{program} {redirection}"], cwd=tmp_path, env=environment, timeout=300, check=False)
    assert load_directions(tmp_path / "runs" / "00000-closed-DoubleGenerator" / "directions.safetensors").ndirs == 4


def test_a_signal_after_the_terminal_is_gone_leaves_a_checkpoint(tmp_path):
    """Its output dropped, a run still obeys SIGTERM and can be resumed."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "directions", "discover", *CLOSED, "--steps", "1000000"]
    with subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=writing, stderr=writing) as process:
        stats = tmp_path / "runs" / "00000-closed-DoubleGenerator" / "stats.jsonl"
        deadline = time.monotonic() + 200
        while not stats.exists() or len(stats.read_text().splitlines()) < 4:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        process.terminate()
        assert process.wait(60) == 128 + signal.SIGTERM
    os.close(writing)
    last = json.loads(stats.read_text().splitlines()[-1])["step"]
    assert RunFolder(stats.parent).read_checkpoint()["state"]["record"]["step"] == last
