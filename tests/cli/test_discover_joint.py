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

    def run(*arguments):
        return command("discover", "--method", "joint", *SMALL.split(), *arguments)

    return run


def test_joint_says_what_came_out(joint):
    """The penalty, how many starts agree, and where the directions are; progress by base points on stderr."""
    result = joint()
    assert result.code == 0, result.err
    assert "joint solution" in result.out
    assert "2 of 2 starts reached the same joint solution." in result.out
    assert "4/4" in result.err
    assert "Measuring Hessians" in result.err
    assert "Diagonalising" in result.err
    header = load_directions("outputs/00000-builtin/directions.safetensors").header
    assert (header["method"], header["steps"]) == ("joint", None)


def test_joint_json_has_the_report(joint):
    """For scripts: what is known about the solution, and the notes."""
    result = joint("--json", "--quiet")
    assert result.err == ""
    assert result.json["joint"]["starts"] == 2
    assert isinstance(result.json["notes"], list)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--method", "joint", "--steps", "5"), "--steps has no effect with method joint. .* --method adam or joint"),
        (("--method", "joint", "--learning-rate", "0.1"), "--learning-rate has no effect with method joint"),
        (("--starts", "5", "--method", "adam"), "--starts has no effect with method adam. .* --method joint or joint"),
        (("--method", "joint", "--reduction", "max"), "--reduction must be mean with method joint"),
        (("--method", "joint", "--base-points", "0"), "--base-points must be a whole number, at least 1"),
        (("--method", "jiont"), "jiont"),
        (("--method", "joint", "--measurement", "hessians"), "hessians"),
    ],
)
def test_joint_refuses_and_leaves_nothing(command, arguments, message):
    """Options without effect are refused rather than passed over."""
    result = command("discover", *arguments)
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


def test_joint_resume_refuses_steps(joint, command):
    """There are none to add."""
    joint()
    result = command("discover", "--resume", "outputs/00000-builtin", "--steps", "9")
    assert result.code == 2
    assert "--steps has no effect with method joint" in result.err


def test_inspect_shows_how_sure_directions_are(joint, command):
    """The measurement, the starts, and the halves for each direction."""
    joint()
    out = command("inspect", "outputs/00000-builtin").out
    assert "method joint, seed 0" in out
    assert "joint start: 4 base points by differences, 2 of 2 starts agree" in out
    assert "halves agree" in out


def test_a_time_too_short_leaves_nothing(joint):
    """The least is said; no empty run folder stays."""
    result = joint("--time", "0.001s")
    assert result.code == 2
    assert "Error: --time must be at least" in result.err
    assert not list(Path("outputs").iterdir())
