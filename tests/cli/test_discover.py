"""``directions discover``, by steps and jointly: what it makes, says, refuses; where the memory does not suffice."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
from pathlib import Path
from unittest.mock import Mock

import naive_biggan
import pytest
import torch
from closed import ClosedFormGenerator
from commands import DISCOVER
from program import ENVIRONMENT, PROGRAM

from directions.direction_file import load_directions
from directions.discovery import too_large
from directions.errors import Interrupted, NonFiniteError
from directions.run import RunFolder
from directions.settings.discover import DiscoverConfig

SMALL = "--held-out 3 --held-out-probes 2 --final-samples 2"


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


def test_discover_passes_options_on(command, loaded):
    """The resolved configuration of a dry run holds what was given, and nothing is written."""
    given = {
        "generator": "gen", "weights": "w", "classes": [1, "class 2"], "method": "joint+adam", "ndirs": 2,
        "space": "1:3", "layers": "0:1", "truncation": 0.5, "steps": 9, "reduction": "max", "time": 600.0,
        "device": "auto",
    }  # fmt: skip
    arguments = []
    for field, value in given.items():
        text = ",".join(map(str, value)) if isinstance(value, list) else str(value)
        arguments += [f"--{field}", text]
    result = command("discover", *arguments, "--dry-run").json
    assert result["config"] == DiscoverConfig(**given).to_dict()
    assert result["resolved"]["ndirs"] == 2
    assert result["resolved"]["layers"] is None  # the generator has only the one
    assert result["resolved"]["classes"] == [1, 2]
    assert result["name"] == "gen"
    assert loaded == [("gen", "w", "auto")]
    assert not list(Path().iterdir())


def test_discover_resume_extends_a_run(discover, command, loaded, monkeypatch):
    """--steps adds to the run, all else stays; with nothing left nothing is loaded or written, nor by other weights."""
    discover("--name", "a", "--seed", "4")
    folder = RunFolder(Path("outputs/00000-a"))
    before = contents(folder.path)
    for arguments, message in [
        ("--seed 1", "A resumed run keeps its settings: --seed is 4, got 1. Only --steps,"),
        ("--epsilon 0.2 --seed 4", "keeps its settings: --epsilon is 0.1, got 0.2. Only"),
        ("--classes 0", "keeps its settings: --classes is all, got [0]. Only"),
        ("--steps 2", "Error: --steps must be at least 3, the number already taken, got 2."),
        ("--out x --name b", "Error: --out and --name cannot be given with --resume"),
        ("--micro-batch 3", "Error: --micro-batch must divide batch_size 2"),
    ]:
        assert command("discover", "--resume", folder.path, *arguments.split()).refuses(message)
        assert contents(folder.path) == before
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


def test_discover_resume_draws_a_missing_overview(discover, command, monkeypatch):
    """Such as a signal leaves out; nothing else changes."""
    overview = Path("outputs/00000-a/overview.png")
    with monkeypatch.context() as patch:
        patch.setattr("directions.rendering.stills._save", lambda *_: os.kill(os.getpid(), signal.SIGTERM))
        result = discover("--name", "a")
    assert (result.code, overview.exists()) == (143, False)
    assert "To go on: " in result.err
    before = contents("outputs/00000-a")
    assert "Beside random: " in command("discover", "--resume", "outputs/00000-a").out
    assert {path: data for path, data in contents("outputs/00000-a").items() if path != overview} == before


def test_discover_stopped_says_how_to_go_on(discover, monkeypatch):
    """A command that can be pasted into a shell; a failure that is not the user's has another status."""
    for error, code, message in [
        (Interrupted(signal.SIGTERM), 143, "To go on: directions discover --resume 'my runs/00000-builtin'"),
        (NonFiniteError("No number at step 7."), 1, "Error: No number at step 7. Run folder: my runs/00001-builtin"),
    ]:
        monkeypatch.setattr("directions.run.record_run", Mock(side_effect=error))
        result = discover("--out", "my runs")
        assert (result.code, result.out) == (code, "")
        assert message in result.err


def test_a_generator_that_does_not_do_is_refused(real_command):
    """In the sentence of whoever loads it, and no run folder is made; classes and layers by name of one that does."""
    made = "def without_classes(): return ClosedFormGenerator(num_classes=0)\n"
    failing = "def failing(): raise FileNotFoundError('no weights.pt')\n"
    Path("faulty_gan.py").write_text("from closed import ClosedFormGenerator\n" + made + failing)
    torch.save({"conv.weight": torch.zeros(3, 3)}, "other.pth")
    torch.save(naive_biggan.random_state(widths=(8, 8, 8), num_classes=1000, attention=()), "G_ema.pth")
    for arguments, message in [
        ("other.pth", "Error: other.pth is no plain BigGAN's generator: it has no linear.weight"),
        ("faulty_gan.py:failing", "Error: faulty_gan.py:failing raised FileNotFoundError: no weights.pt."),
        ("G_ema.pth --layers 2:9", "Generator 'G_ema.pth' has 3 layers: 0 is the first linear one (4 pixels)"),
        ("faulty_gan.py:without_classes --classes 3", "--classes must be 'all': generator 'faulty_gan.py:without_cl"),
    ]:
        assert real_command("discover", "--generator", *arguments.split()).refuses(message)
    assert not Path("outputs").exists()
    given = ["--generator", "G_ema.pth", "--layers", "fine", "--classes", "golden retriever,497,goldfish"]
    resolved = real_command("discover", *given, "--dry-run").json["resolved"]
    assert (resolved["classes"], resolved["layers"], resolved["space"]) == ([207, 497, 1], "2:3", "6:9")


def test_nothing_that_is_said_stops_what_is_done(tmp_path):
    """A stdout or stderr that is closed or full: the file is there."""
    command = f"{shlex.join(PROGRAM)} {DISCOVER} --generator closed:DoubleGenerator --name a --quiet"
    command = ["bash", "-c", f"{command} >&- 2>/dev/full <&-"]
    subprocess.run(command, cwd=tmp_path, env=ENVIRONMENT, timeout=300, check=False)
    assert load_directions(tmp_path / "outputs" / "00000-a" / "directions.safetensors").ndirs == 4


@pytest.fixture
def joint(command):
    """Run ``directions discover --method joint`` with settings that take no time."""
    settings = f"--method joint {SMALL} --base-points 4 --starts 2".split()
    return lambda *arguments: command("discover", *settings, *arguments)


def test_joint_says_what_came_out(joint, command):
    """The penalty, how many starts agree, where the directions are; progress by base points; as JSON; by inspect."""
    result = joint()
    assert result.code == 0, result.err
    assert "joint solution" in result.out
    assert "2 of 2 starts reached the same joint solution." in result.out
    for text in ("4/4", "Measuring Hessians", "Diagonalising"):
        assert text in result.err
    header = load_directions("outputs/00000-builtin/directions.safetensors").header
    assert (header["method"], header["steps"]) == ("joint", None)
    shown = command("inspect", "outputs/00000-builtin").out
    assert "method joint, seed 0" in shown
    assert "joint start: 4 base points by differences, 2 of 2 starts agree" in shown
    assert "halves agree" in shown
    resumed = command("discover", "--resume", "outputs/00000-builtin", "--json", "--quiet")
    assert resumed.err == ""
    assert resumed.json["joint"]["starts"] == 2
    assert isinstance(resumed.json["notes"], list)
    more = command("discover", "--resume", "outputs/00000-builtin", "--steps", "9")
    assert more.refuses("--steps has no effect with method joint")
    assert joint("--time", "0.001s", "--out", "new").refuses("Error: --time must be at least")
    assert not list(Path("new").iterdir())  # no empty run folder stays


ALLOCATOR = "[enforce fail at alloc_cpu.cpp:121] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to"


class Narrow(ClosedFormGenerator):
    """Has room for nine images at once, from some call on."""

    remaining = 23

    def forward(self, z, y=0, *, truncation=1.0):
        self.remaining -= 1
        if len(z) > 9 and self.remaining < 0:
            raise RuntimeError(ALLOCATOR)
        return super().forward(z, y, truncation=truncation)


def test_discover_out_of_memory_goes_on_with_the_micro_batch_named(discover, command, monkeypatch):
    """What was learned is kept; the resume command works as it is printed."""
    settings = ["--batch-size", "6", "--checkpoint-every", "50"]
    discover(*settings, "--name", "whole")
    monkeypatch.setattr("directions.generators.registry.load_generator", Mock(return_value=Narrow(4, 8)))
    result = discover(*settings, "--name", "narrow")
    assert result.refuses("Error: Out of memory with 24 images at once, 4 for each sample of a micro-batch of 6. ")
    assert "Try --micro-batch 3 (or 2, 1): a step keeps its 6 samples" in result.err
    resume = shlex.split(re.search(r"To go on: directions (.*)", result.err)[1])
    assert resume == ["discover", "--resume", "outputs/00001-narrow", "--micro-batch", "3"]
    narrow, whole = RunFolder.open("outputs/00001-narrow"), RunFolder.open("outputs/00000-whole")
    assert "Out of memory" in narrow.log_path.read_text()
    assert narrow.read_checkpoint()["state"]["record"]["step"] == narrow.read_stats()[-1]["step"] > 0

    assert command(*resume).code == 2  # three samples are 12 images: still too many
    assert command(*resume[:-1], "2").code == 0
    ends = [folder.read_stats() for folder in (narrow, whole)]
    assert [line["step"] for line in ends[0]] == [line["step"] for line in ends[1]]
    assert ends[0][-1]["penalty"] == pytest.approx(ends[1][-1]["penalty"], rel=1e-4)
    assert narrow.directions_path.exists()


def test_too_large_has_nothing_smaller_than_one():
    """Then the generator, the probes or the device must change."""
    error = too_large(DiscoverConfig(batch_size=4, micro_batch=1, num_probes=4))
    assert error.micro_batch is None
    assert "micro-batch of 1, which cannot be made smaller. A new run may take --num-probes 2. A BigGAN" in str(error)


def test_command_line_explains_memory_that_runs_out_anywhere(command, monkeypatch):
    """Such as while weights are loaded; other errors of the program are not hidden."""
    full = torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 MiB.\nMore lines.")
    monkeypatch.setattr("directions.generators.registry.load_generator", Mock(side_effect=full))
    result = command("discover")
    assert result.code == 2
    assert result.err.startswith("Error: Out of memory. Close other programs, use a smaller generator")
    monkeypatch.setattr("directions.generators.registry.load_generator", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        command("discover")
