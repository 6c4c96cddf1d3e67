"""The command line as a whole: quick help, exit statuses, one way in."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from unittest.mock import Mock

import pytest
from fakes import blob_directions
from program import ENVIRONMENT, PROGRAM

import directions
from directions.cli.main import EXAMPLES, main
from directions.cli.main import VERBS as DECLARED


def program(*arguments, stderr=subprocess.PIPE, **options):
    """``directions …`` in a process of its own."""
    return subprocess.run([*PROGRAM, *arguments], check=False, stderr=stderr, text=True, timeout=120, **options)


@pytest.mark.parametrize("verb", ["", *DECLARED])
def test_help_names_what_there_is(verb, capsys, monkeypatch):
    """The whole lists the verbs; each verb has examples, and each option in them is in the help."""
    monkeypatch.setenv("COLUMNS", "160")
    assert main([*verb.split(), "--help"]) == 0
    out = capsys.readouterr().out
    assert f"directions {verb}".strip() in out
    if not verb:
        assert all(name in out for name in DECLARED)
        return
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
    assert offered in program(env=os.environ | asked, stdout=subprocess.PIPE).stdout.split()


@pytest.mark.parametrize("arguments", [["discover", "--help"], ["--version"]], ids=" ".join)
def test_help_does_not_import_torch(arguments):
    """It is there at once because nothing heavy is imported; the time itself is checked below."""
    code = f"import sys\nfrom directions.cli.main import main\nmain({arguments})\nsys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, timeout=60)


def test_help_is_instant():
    """Under 0.4 s of processor time: on a machine that does something else as well, the clock says nothing."""
    times = []
    for _ in range(3):
        before = os.times()
        program("--help", stdout=subprocess.DEVNULL)
        after = os.times()
        times.append(after.children_user + after.children_system - before.children_user - before.children_system)
        if times[-1] < 0.4:
            return
    pytest.fail(f"took {times} seconds")


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ("--version", 0, f"directions {directions.__version__}\n"),
        ("frobnicate", 2, "No such command 'frobnicate'"),
        ("inspect", 2, "Missing argument"),
    ],
)
def test_parser_exits_as_programs_do(arguments, code, message, capsys):
    """One line for bug reports; what the parser itself refuses."""
    assert main([arguments]) == code
    captured = capsys.readouterr()
    assert message in (captured.err if code else captured.out)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux has a disk that is always full")
@pytest.mark.parametrize(("arguments", "unbuffered"), [(["--help"], ""), (["generators", "--json"], "1")])
def test_full_disk_behind_stdout_is_one_sentence(arguments, unbuffered):
    """Not a traceback, and Python does not complain once more when it ends."""
    with Path("/dev/full").open("w") as full:
        result = program(*arguments, stdout=full, env=os.environ | {"PYTHONUNBUFFERED": unbuffered})
    assert result.returncode == 2
    assert result.stderr == (
        "Error: Cannot write to standard output: No space left on device. Send it somewhere else.\n"
    )


def test_a_reader_that_went_away_is_no_error():
    """As with | head: nothing is said."""
    reading, writing = os.pipe()
    os.close(reading)
    assert program("generators", stdout=writing).stderr == ""
    os.close(writing)


def test_what_comes_from_outside_is_one_sentence(monkeypatch, capsys):
    """Also where nobody has foreseen it: what the system refuses, Ctrl-C."""
    refused = PermissionError(13, "Permission denied", "/x")
    for error, code, message in (
        (refused, 2, "Error: /x cannot be used: Permission denied. Check"), (KeyboardInterrupt(), 130, "")
    ):  # fmt: skip
        monkeypatch.setattr("directions.generators.registry.list_generators", Mock(side_effect=error))
        assert main(["generators"]) == code
        said = capsys.readouterr().err
        assert said.startswith(message)
        assert "Traceback" not in said


@pytest.mark.parametrize(("encoding", "shown"), [("latin-1", b"\\u65b9"), ("utf-8", "方".encode())])
def test_names_of_any_script_and_bytes_are_printed(tmp_path, encoding, shown):
    """Whatever the terminal can show; a file name's odd bytes come out as they are in UTF-8."""
    blob_directions().renamed(0, "方").save(tmp_path / "d")
    environment = ENVIRONMENT | {"PYTHONIOENCODING": encoding}
    command = [*PROGRAM, "select", "d", "0", "--out", b"\xff"]
    result = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, timeout=60, check=False)
    assert (result.returncode, result.stderr) == (0, b"")
    assert shown in result.stdout
    assert (b"\xff" if encoding == "utf-8" else b"\\udcff") in result.stdout
