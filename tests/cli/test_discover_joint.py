"""``directions discover --method joint``: what it says, what it refuses, and what ``inspect`` shows of it."""

from __future__ import annotations

import re
import signal
from pathlib import Path

import pytest

from directions.direction_file import load_directions
from directions.run import RunFolder

SMALL = "--held-out 3 --held-out-probes 2 --final-samples 2 --base-points 4 --starts 2"


@pytest.fixture
def joint(command):
    """Run ``directions discover --method joint`` with settings that take no time."""
    return lambda *arguments: command("discover", "--method", "joint", *SMALL.split(), *arguments)


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


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--method joint --steps 5", "--steps has no effect with method joint. .* --method adam or joint"),
        ("--starts 5 --method adam", "--starts has no effect with method adam. .* --method joint or joint"),
        ("--method joint --reduction max", "--reduction must be mean with method joint"),
        ("--method joint --base-points 0", "--base-points must be a whole number, at least 1"),
        ("--method jiont", "jiont"),
    ],
)
def test_joint_refuses_and_leaves_nothing(command, arguments, message):
    """Options without effect are refused rather than passed over."""
    result = command("discover", *arguments.split())
    assert result.code == 2
    assert re.search(message, result.err), result.err
    assert not list(Path().iterdir())


def test_joint_interrupted_while_measuring_goes_on(joint, command, monkeypatch):
    """The command that is printed ends with the same file."""
    joint("--name", "whole")

    def interrupted(self, phase, done, total, note):
        if done == 2:
            signal.raise_signal(signal.SIGINT)

    with monkeypatch.context() as patch:
        patch.setattr("directions.cli.common.ProgressBar.__call__", interrupted)
        result = joint("--name", "broken")
    assert result.code == 130
    assert "directions discover --resume outputs/00001-broken" in result.err
    command("discover", "--resume", "outputs/00001-broken")
    log = (RunFolder.open("outputs/00001-broken").path / "log.txt").read_text()
    assert "Resumed after base point 2" in log
    files = [Path(f"outputs/{name}/directions.safetensors").read_bytes() for name in ("00000-whole", "00001-broken")]
    assert files[0] == files[1]
