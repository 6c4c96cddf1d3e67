"""The command line as a whole: quick help, exit statuses, one way in."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import directions
from directions.cli.main import EXAMPLES, main
from directions.cli.main import VERBS as DECLARED

VERBS = [
    *("discover", "render", "explore", "inspect", "evaluate", "measure", "name", "select", "merge", "push", "pull"),
    "convert",
    "generators",
]


@pytest.mark.parametrize("arguments", [[], *([verb] for verb in VERBS)], ids=" ".join)
def test_help_names_what_there_is(arguments, capsys, monkeypatch):
    """Each verb has help, the whole lists the verbs."""
    monkeypatch.setenv("COLUMNS", "160")
    assert main([*arguments, "--help"]) == 0
    out = capsys.readouterr().out
    assert f"directions {' '.join(arguments)}".strip() in out
    if not arguments:
        assert all(verb in out for verb in VERBS)


@pytest.mark.parametrize("verb", DECLARED)
def test_help_ends_with_examples_of_options_that_there_are(verb, capsys, monkeypatch):
    """Each verb has some, and each option in them is in the help."""
    monkeypatch.setenv("COLUMNS", "160")
    assert main([verb, "--help"]) == 0
    out = capsys.readouterr().out
    assert EXAMPLES[verb]
    for example in EXAMPLES[verb]:
        assert f"directions {verb} {example}".rstrip() in out
        if verb == "gan":
            assert main(["gan", example.split()[0], "--help"]) == 0
            out += capsys.readouterr().out
        options = out.partition("Examples:")[0] if verb != "gan" else out.rpartition("Usage:")[2]
        assert all(word in options for word in example.split() if word.startswith("--"))


@pytest.mark.parametrize(("typed", "offered"), [("re", "render"), ("render --ag", "--against")])
def test_completion_offers_verbs_and_options(typed, offered):
    """As the shell asks, once it was told by ``--install-completion``."""
    words = f"directions {typed}"
    asked = {"_DIRECTIONS_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
    command = [sys.executable, "-m", "directions"]
    answer = subprocess.run(command, check=False, env=os.environ | asked, capture_output=True, text=True, timeout=60)
    assert offered in answer.stdout.split()


@pytest.mark.parametrize("arguments", [["--help"], ["discover", "--help"], ["--version"]], ids=" ".join)
def test_help_does_not_import_torch(arguments):
    """It is there at once because nothing heavy is imported; the time itself is checked below."""
    code = f"import sys\nfrom directions.cli.main import main\nmain({arguments})\nsys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, timeout=60)


def test_help_is_instant():
    """Under 0.4 s of processor time: on a machine that does something else as well, the clock says nothing."""
    times = []
    for _ in range(3):
        before = os.times()
        subprocess.run([sys.executable, "-m", "directions", "--help"], check=True, capture_output=True, timeout=60)
        after = os.times()
        times.append(after.children_user + after.children_system - before.children_user - before.children_system)
    assert min(times) < 0.4


def test_version_is_the_package_s(capsys):
    """One line, for bug reports."""
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"directions {directions.__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["frobnicate"], "No such command 'frobnicate'"),
        (["inspect"], "Missing argument"),
        (["--frob"], "No such option"),
    ],
    ids=" ".join,
)
def test_usage_errors_exit_2(arguments, message, capsys):
    """What the parser itself refuses."""
    assert main(arguments) == 2
    assert message in capsys.readouterr().err


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux has a disk that is always full")
@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("arguments", [["--help"], ["generators"], ["generators", "--json"]], ids=" ".join)
def test_full_disk_behind_stdout_is_one_sentence(arguments, unbuffered):
    """Not a traceback, and Python does not complain once more when it ends."""
    with Path("/dev/full").open("w") as full:
        environment = os.environ | {"PYTHONUNBUFFERED": unbuffered}
        command = [sys.executable, "-m", "directions", *arguments]
        result = subprocess.run(
            command, check=False, stdout=full, stderr=subprocess.PIPE, text=True, env=environment, timeout=60
        )
    assert result.returncode == 2
    assert result.stderr == (
        "Error: Cannot write to standard output: No space left on device. Send it somewhere else.\n"
    )


@pytest.mark.parametrize("arguments", [["--help"], ["generators"]], ids=" ".join)
def test_a_reader_that_went_away_is_no_error(arguments):
    """As with | head: nothing is said."""
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "directions", *arguments]
    result = subprocess.run(command, check=False, stdout=writing, stderr=subprocess.PIPE, text=True, timeout=60)
    os.close(writing)
    assert result.stderr == ""


def test_ctrl_c_outside_a_run_exits_130(monkeypatch, capsys):
    """Without a traceback, wherever it comes."""

    def interrupt():
        raise KeyboardInterrupt

    monkeypatch.setattr("directions.generators.registry.list_generators", interrupt)
    assert main(["generators"]) == 130
    assert "Traceback" not in capsys.readouterr().err
