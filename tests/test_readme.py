"""The README's commands and examples, run as they stand there, on less work."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from directions.cli.main import main

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
COMMANDS = [line for language, text in BLOCKS if not language for line in text.splitlines()]
COMMANDS = [
    line for line in COMMANDS if line.startswith("directions ") and "photos" not in line
]  # nobody's photos here
PYTHON = [text for language, text in BLOCKS if language == "python"]
LESS = {
    "discover": "--steps 2 --batch-size 2 --held-out 1 --held-out-probes 2 --final-samples 1 --base-points 1",
    "render": "--frames 4 --samples 1 --directions 0",
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the commands are run, one after the other."""
    return tmp_path_factory.mktemp("readme")


def test_the_commands_are_there() -> None:
    """So that the tests below are about something."""
    assert {"discover", "render", "inspect", "generators"} <= {line.split()[1] for line in COMMANDS}
    assert len(PYTHON) >= 2


@pytest.mark.parametrize("line", COMMANDS)
def test_a_command_runs(line: str, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the order of the README, from its root."""
    monkeypatch.chdir(place)
    words = shlex.split(line)[1:]
    if "--resume" in words:
        words[words.index("--steps") + 1] = "3"
    elif words[0] in ("discover", "render"):
        words += shlex.split(LESS[words[0]])
    assert main(words) == 0


@pytest.mark.parametrize("text", PYTHON)
def test_an_example_runs(text: str, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After the commands, whose file it loads."""
    monkeypatch.chdir(place)
    exec(compile(text, "README.md", "exec"), {})
